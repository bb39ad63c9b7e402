"""What labelling costs, estimated before any work."""

import gc
import time
from pathlib import Path

import pytest

from toco.model.cost import Cost, TooCostly, encoder_shape, photo_cost, photos_at_once, require_affordable
from toco.model.options import PRESETS, preset_options
from toco.model.spec import DEFAULT_MODEL, BackboneSpec, read_spec

LIMITS = {"memory_bytes": 4 * 2**30, "seconds": 300.0}  # the service's defaults


@pytest.fixture(scope="module")
def spec():
    return read_spec(DEFAULT_MODEL)


def backbone(spec, name):
    return spec.model_copy(update={"backbone": BackboneSpec(name=name)})


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_base_patch16_224", "deit_base_patch16_224"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tags", [None, 0, 1, 8])
def test_every_preset_is_affordable_with_the_usual_models(spec, name, preset, tags):
    require_affordable(photo_cost(backbone(spec, name), preset_options(preset), tags=tags), **LIMITS)


@pytest.mark.parametrize(
    "changes",
    [
        {"cam": {"size": 2048, "scales": [4.0]}},
        {"cam": {"size": 2048, "scales": [1.0] * 8, "flip": True}},
        {"cam": {"size": 2048, "scales": [1.5], "affinity": {"rounds": 1}}},
        {"long_side": 8192},
        {"long_side": 4096, "crf": {"iterations": 1000}},
        {"long_side": 2048, "crf": {"iterations": 1000}},
        {"segmentation": {"scales": [4.0]}},
        {"batch_pixels": 10**12},
    ],
)
def test_what_would_fill_a_machine_is_refused_whatever_the_preset(spec, changes):
    for preset in PRESETS:
        options = spec.label_options(preset, **changes)
        with pytest.raises(TooCostly, match="would take about"):
            require_affordable(photo_cost(spec, options, tags=4), **LIMITS)


def test_a_small_photo_may_be_labelled_at_settings_that_a_large_one_may_not(spec):
    options = spec.label_options("fast", long_side=8192)
    require_affordable(photo_cost(spec, options, tags=2, size=(500, 800)), **LIMITS)
    with pytest.raises(TooCostly):
        require_affordable(photo_cost(spec, options, tags=2, size=(8000, 9000)), **LIMITS)


def test_photos_side_by_side_are_as_many_as_there_is_memory_for_their_networks(spec):
    light, heavy = preset_options("fast"), preset_options("paper")
    network = photo_cost(spec, heavy.model_copy(update={"refine": "none"}), tags=None).memory_bytes
    assert photos_at_once(spec, heavy, memory_bytes=3.5 * network) == 3
    assert photos_at_once(spec, heavy, memory_bytes=0.5 * network) == 1
    assert photos_at_once(spec, light) >= 8
    assert photos_at_once(spec, heavy) == 1, "two are no faster, and take more memory"


def test_each_setting_that_makes_more_work_costs_more(spec):
    def cost(**changes) -> Cost:
        tags = changes.pop("tags", 2)
        return photo_cost(spec, spec.label_options("balanced", **changes), tags=tags)

    least = cost()
    for changes in (
        {"cam": {"size": 896}},
        {"cam": {"scales": [0.5, 0.75, 1.0, 1.25]}},
        {"cam": {"flip": True}},
        {"crf": {"iterations": 11}},
        {"long_side": 1100},
        {"tags": 3},
        {"segmentation": {}},
    ):
        assert cost(**changes).seconds > least.seconds, changes
    assert cost(refine="none").seconds < least.seconds
    assert cost(ignore_band=False).memory_bytes < least.memory_bytes
    large = {"size": 1344, "scales": [1.0]}
    alike = cost(cam=large | {"affinity": {}}, refine="none")
    assert cost(cam=large | {"affinity": None}, refine="none").memory_bytes < alike.memory_bytes
    assert cost(tags=None, tag_threshold=0.01).memory_bytes > cost(tags=None).memory_bytes


def test_the_encoder_is_known_by_its_name_and_arguments():
    small = encoder_shape(BackboneSpec(name="vit_small_patch14_dinov2"))
    assert (small.width, small.depth, small.patch) == (384, 12, 14)
    given = {"embed_dim": 32, "depth": 3, "patch_size": 8}
    own = encoder_shape(BackboneSpec(name="vit_base_patch16_224", arguments=given))
    assert (own.width, own.depth, own.patch) == (32, 3, 8)
    assert encoder_shape(BackboneSpec(name="other")) == encoder_shape(BackboneSpec(name="vit_base_patch16_224"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "tags", "side"),
    [
        ({}, 2, 1024),
        ({}, 16, 1024),
        ({"cam": {"size": 896, "scales": [1.0]}, "refine": "none"}, 2, 512),
        ({"long_side": 2048, "cam": {"scales": [1.0]}}, 2, 2048),
    ],
)
def test_the_estimate_is_near_what_is_measured(spec, samples, changes, tags, side):
    import numpy as np
    import torch
    from PIL import Image

    from toco.model.labelling.labeler import Labeler

    torch.set_num_threads(1)
    labeler = Labeler.from_folder(device="cpu")
    labeler.threads = 1
    pixels = np.array(Image.open(samples / "cat.jpg").convert("RGB").resize((side, side)))
    names = labeler.vocabulary.names[:tags]
    labeler.label_one(pixels[:64, :64].copy(), names, spec.label_options("balanced", cam={"size": 64}))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before, began = status("VmRSS"), time.process_time()
    labeler.label_one(pixels, names, spec.label_options("balanced", **changes))
    seconds, memory = time.process_time() - began, status("VmHWM") - before
    estimate = photo_cost(spec, spec.label_options("balanced", **changes), tags=tags, size=(side, side))
    assert 0.4 < estimate.memory_bytes / memory < 2.5, (estimate, memory)
    assert 0.25 < estimate.seconds / seconds < 4, (estimate, seconds)  # other machines, other work beside


def status(field: str) -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
