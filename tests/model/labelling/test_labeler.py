"""The facade: any photo with its tags in, a label at the photo's own size out, however many come."""

import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from toco.model.crf.backend import CrfBackend
from toco.model.crf.errors import CrfError
from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF
from toco.model.errors import InvalidArray
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.method.cams import multi_scale_cams, resize
from toco.model.method.device import Device, DeviceUnavailable
from toco.model.method.label import Label
from toco.model.method.network import normalise_images
from toco.model.method.pseudo_mask import threshold_pseudo_mask
from toco.model.method.segmentation import gated_probabilities, multi_scale_logits
from toco.model.options import PRESETS, VOC_THRESHOLDS, LabelOptions, Thresholds, preset_options
from toco.model.photos.classes import UnknownTag
from toco.model.photos.images import ImageTooLarge, UnreadableImage, UnsupportedImageFormat, read_image
from toco.model.spec import InvalidCheckpoint

# One small scale in float32, no CRF: what most tests need.
QUICK_CHANGES = {"refine": "none", "precision": "float32"}
QUICK = preset_options("fast", **QUICK_CHANGES, cam={"size": 64})


@pytest.fixture(scope="module")
def labeler(tiny_model):
    return Labeler.from_folder(tiny_model, device="cpu", runtime="torch")


def pixels(height=40, width=56, seed=0):
    """Smooth noise, so that shrinking changes little: (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def saved(folder, image, suffix="png", **options):
    path = folder / f"photo.{suffix}"
    Image.fromarray(image).save(path, **options) if isinstance(image, np.ndarray) else image.save(path, **options)
    return path


def results(labeler, requests, options=QUICK):
    return [result for _, result in labeler.label(requests, options)]


def sized(side):
    return preset_options("fast", **QUICK_CHANGES, cam={"size": side})


class CrfRecorder(CrfBackend):
    """A CRF that changes nothing and notes the settings that it is asked with."""

    def __init__(self):
        self.seen = []

    def prepare(self, image, settings):
        self.seen.append(settings)
        return SimpleNamespace(infer=lambda probabilities: probabilities)


def same(one, other):
    return (
        one.tags == other.tags
        and np.array_equal(one.pseudo_mask, other.pseudo_mask)
        and np.allclose(one.cams, other.cams, atol=1e-5)
    )


# What comes out


def test_a_label_holds_everything_about_a_photo(labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), ["dog", "kitten"], options)
    assert label.tags == ("cat", "dog")  # canonical names in channel order
    assert label.tag_source == "user"
    assert label.size == (40, 56)
    assert label.working_size == (40, 56)
    assert (label.cams.shape, label.cams.dtype) == ((2, 40, 56), np.float32)
    assert label.cams.min() >= 0.0
    assert label.cams.max() <= 1.0
    assert (label.pseudo_mask.shape, label.pseudo_mask.dtype) == ((40, 56), np.uint8)
    assert set(np.unique(label.pseudo_mask)) <= {0, 8, 12, 255}
    assert set(np.unique(label.segmentation)) <= {0, 8, 12}  # gated by the tags
    assert label.tag_probabilities.shape == (2,)
    assert label.timings.keys() == {"decode", "network", "refine"}


def test_cams_are_the_multi_scale_cams_of_the_paper(labeler, close):
    options = preset_options("paper", refine="none", precision="float32", cam={"size": 64}, segmentation=None)
    image = pixels()
    label = labeler.label_one(image, ["cat", "person"], options)
    network = labeler.network
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    square = resize(normalise_images(tensor, labeler.spec.mean, labeler.spec.std), (64, 64))
    with torch.no_grad():
        (cams,) = multi_scale_cams(lambda batch: (network.classify(network.encoder(batch)).cam,), square)
    close(torch.from_numpy(label.cams), resize(cams, (40, 56))[0, [0, 3]])


def test_the_decoder_has_its_share_in_the_map(labeler, close):
    image = pixels(64, 64)  # the maps' own size
    cam = {"size": 64, "scales": [1.0, 0.5], "flip": True}
    plain = labeler.label_one(image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam))
    mixed = labeler.label_one(
        image, ["dog", "cat"], preset_options("fast", **QUICK_CHANGES, cam=cam | {"decoder_weight": 0.3})
    )
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    shown = resize(normalise_images(tensor, labeler.spec.mean, labeler.spec.std), (64, 64))
    belief = torch.zeros(1, 2, 64, 64)
    channels = labeler.vocabulary.channels(["cat", "dog"])
    with torch.inference_mode():
        for side in (64, 32):
            scaled = resize(shown, (side, side))
            for mirror in (False, True):
                maps = gated_probabilities(labeler.network(scaled.flip(-1) if mirror else scaled)[1], channels)
                belief += resize(maps.flip(-1) if mirror else maps, (64, 64)) / 4
    close(torch.from_numpy(mixed.cams)[None], 0.7 * torch.from_numpy(plain.cams)[None] + 0.3 * belief)


def test_the_model_says_what_share_its_decoder_has_unless_the_caller_does(labeler, close):
    image, options = pixels(64, 64), preset_options("fast", **QUICK_CHANGES, cam={"size": 64})
    own = Labeler(labeler.network, labeler.spec.model_copy(update={"decoder_weight": 0.6}), device="cpu")
    asked = options.model_copy(update={"cam": options.cam.model_copy(update={"decoder_weight": 0.6})})
    wanted = labeler.label_one(image, ["dog", "cat"], asked).cams
    close(torch.from_numpy(own.label_one(image, ["dog", "cat"], options).cams), torch.from_numpy(wanted))
    plain = labeler.label_one(image, ["dog", "cat"], options).cams
    assert np.abs(plain - wanted).max() > 0.05
    silent = asked.model_copy(update={"cam": asked.cam.model_copy(update={"decoder_weight": 0.0})})
    close(torch.from_numpy(own.label_one(image, ["dog", "cat"], silent).cams), torch.from_numpy(plain))


def test_tokens_are_those_of_scale_1(labeler):
    image = pixels()
    several = QUICK.model_copy(update={"cam": QUICK.cam.model_copy(update={"scales": (0.5, 1.0, 1.5), "flip": True})})
    seen = [labeler.label_one(image, ["cat"], options).tokens for options in (QUICK, several)]
    grid = 64 // labeler.network.encoder.patch_size
    assert (seen[0].shape, seen[0].dtype) == ((grid, grid, labeler.network.encoder.width), np.float16)
    assert np.allclose(*seen, atol=1e-2)


def test_segmentation_runs_on_the_photo_at_its_own_size(labeler):
    options = QUICK.model_copy(
        update={"segmentation": PRESETS["paper"].segmentation.model_copy(update={"refine": "none", "gate": False})}
    )
    image = pixels()
    label = labeler.label_one(image, ["cat"], options)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = multi_scale_logits(
            lambda batch: labeler.network(batch)[1], normalise_images(tensor, labeler.spec.mean, labeler.spec.std)
        )
    wanted = np.array([0, 8, 12, 13, 15])[logits[0].argmax(dim=0).numpy()]
    assert (label.segmentation == wanted).mean() > 0.999


@pytest.mark.parametrize("preset", ["fast", "balanced", "paper"])
def test_every_preset_labels_a_real_photo(preset, labeler, photo_folder):
    options = preset_options(preset, cam={"size": 64}, long_side=64)
    label = labeler.label_one(photo_folder / "cat.png", ["cat"], options)
    assert label.size[0] > label.size[1]  # portrait
    assert (label.segmentation is None) == (options.segmentation is None)
    assert 0.0 <= label.ignore_ratio <= 1.0


def test_balanced_is_what_one_gets_without_options(labeler, monkeypatch):
    asked = []
    monkeypatch.setattr(labeler, "batch_size", lambda options: asked.append(options) or 1)
    list(labeler.label([]))
    assert asked == [preset_options("balanced")]


def test_auxiliary_and_spread_cams_are_other_cams(labeler):
    plain = labeler.label_one(pixels(), ["cat"], QUICK)
    for changes in ({"auxiliary": True}, {"affinity": {"power": 4.0}}, {"flip": True}, {"scales": (0.75, 1.0)}):
        options = preset_options("fast", refine="none", precision="float32", cam={"size": 64} | changes)
        other = labeler.label_one(pixels(), ["cat"], options)
        assert np.abs(other.cams - plain.cams).max() > 1e-3, changes


def test_thresholds_of_the_caller_replace_those_of_the_model(labeler):
    own = Thresholds(high=0.55, low=0.45)
    for options, thresholds in ((QUICK, VOC_THRESHOLDS), (QUICK.model_copy(update={"thresholds": own}), own)):
        label = labeler.label_one(pixels(), ["cat"], options)
        np.testing.assert_array_equal(label.pseudo_mask, threshold_pseudo_mask(label.cams, [8], thresholds=thresholds))


def test_the_model_has_thresholds_of_its_own(labeler):
    spec = labeler.spec.model_copy(update={"thresholds": Thresholds(high=0.9, low=0.8)})
    label = Labeler(labeler.network, spec, device="cpu").label_one(pixels(), ["cat"], QUICK)
    wanted = threshold_pseudo_mask(label.cams, [8], thresholds=spec.thresholds)
    np.testing.assert_array_equal(label.pseudo_mask, wanted)


def test_the_model_has_a_size_of_its_own(labeler):
    spec = labeler.spec.model_copy(update={"input_size": 96})
    own = Labeler(labeler.network, spec, device="cpu")
    options = preset_options("fast", **QUICK_CHANGES)
    assert same(own.label_one(pixels(), ["cat"], options), own.label_one(pixels(), ["cat"], sized(96)))
    assert not same(own.label_one(pixels(), ["cat"], options), own.label_one(pixels(), ["cat"], sized(64)))
    assert own.batch_size(options.model_copy(update={"batch_pixels": 5 * 96**2})) == 5


def test_the_model_has_crf_settings_of_its_own(labeler):
    crf = CrfRecorder()
    spec = labeler.spec.model_copy(
        update={
            "pseudo_mask_crf": replace(PSEUDO_MASK_CRF, iterations=2),
            "segmentation_crf": replace(SEGMENTATION_CRF, iterations=3),
        }
    )
    own = Labeler(labeler.network, spec, device="cpu")
    own.crf = crf
    options = preset_options("paper", cam={"size": 64}, long_side=64, segmentation={"scales": [1.0]})
    own.label_one(pixels(), ["cat"], options)
    assert set(crf.seen) == {spec.pseudo_mask_crf, spec.segmentation_crf}
    crf.seen.clear()
    mine = replace(SEGMENTATION_CRF, iterations=5)
    segmentation = options.segmentation.model_copy(update={"crf": mine})
    own.label_one(pixels(), ["cat"], options.model_copy(update={"crf": mine, "segmentation": segmentation}))
    assert set(crf.seen) == {mine}


def test_without_an_ignored_band_every_pixel_is_decided(labeler):
    label = labeler.label_one(pixels(), ["cat"], QUICK.model_copy(update={"ignore_band": False}))
    np.testing.assert_array_equal(label.pseudo_mask, np.where(label.cams[0] > 0.5, 8, 0))


# Tags


def test_an_unknown_tag_refuses_its_photo_alone(labeler):
    requests = [LabelRequest(pixels(), tags, unknown_tags="refuse") for tags in (["cat"], ["unicorn", "yeti"], ["dog"])]
    first, second, third = results(labeler, requests)
    assert isinstance(second, UnknownTag)
    assert "'unicorn' (1 photo), 'yeti' (1 photo)" in second.detail
    assert (first.tags, third.tags) == (("cat",), ("dog",))


def test_words_are_understood_and_told(labeler):
    label = labeler.label_one(pixels(), ["kitty", "Hund", "nice"], QUICK, mapping={"hund": "dog", "nice": ""})
    assert label.tags == ("cat", "dog")
    assert [(word.written, word.understood, word.why) for word in label.words] == [
        ("kitty", "cat", "kind"),
        ("Hund", "dog", "mapping"),
        ("nice", None, "mapping"),
    ]
    assert label.open_tags == ()


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_what_an_unknown_word_may_own_is_open(preset, labeler):
    options = preset_options(preset, cam={"scales": [1.0]}, segmentation={"scales": [1.0], "flip": False})
    known, mixed = results(labeler, [LabelRequest(pixels(), tags) for tags in (["dog"], ["dog", "yeti"])], options)
    assert mixed.tags == ("dog",)
    assert mixed.open_tags == ("yeti",)
    for before, after in (
        (known.pseudo_mask, mixed.pseudo_mask),
        (known.segmentation, mixed.segmentation),
    ):
        assert set(np.unique(after)) <= {0, labeler.vocabulary.classes[labeler.vocabulary.channel("dog")].index, 255}
        assert ((after == 255) >= (before == 255)).mean() > 0.99  # nothing is closed that was open
        assert ((after == 255) & (before != 255)).any()


@pytest.mark.parametrize("tags", [["yeti"], ["yeti", "boxer"], ["yeti", "nice"]])
def test_a_photo_of_unknown_words_alone_is_open(tags, labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), tags, options, mapping={"nice": ""})
    assert (label.tags, label.tag_source, label.cams.shape) == ((), "user", (0, 40, 56))
    assert (label.pseudo_mask == 255).all()
    assert (label.segmentation == 255).all()


def test_a_photo_whose_every_word_is_ignored_gets_the_classifiers_tags(labeler):
    label = labeler.label_one(pixels(), ["nice"], QUICK, mapping={"nice": ""})
    assert label.tag_source == "model"


def test_a_photo_of_nothing_known_is_background(labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), [], options)
    assert (label.tags, label.tag_source, label.cams.shape) == ((), "user", (0, 40, 56))
    assert not label.pseudo_mask.any()
    assert not label.segmentation.any()


@pytest.mark.parametrize(("threshold", "count"), [(0.0001, 4), (0.9999, 0)])
def test_an_untagged_photo_gets_the_tags_that_the_classifier_believes_in(threshold, count, labeler):
    label = labeler.label_one(pixels(), None, QUICK.model_copy(update={"tag_threshold": threshold}))
    assert label.tag_source == "model"
    assert len(label.tags) == len(label.cams) == count
    assert bool((label.tag_probabilities >= threshold).all())


@pytest.mark.parametrize("scales", [(0.5, 1.0, 1.5), (1.5, 1.0), (0.75, 1.0)])
def test_the_classifier_believes_what_it_sees_at_full_scale(scales, labeler):
    plain = labeler.label_one(pixels(), ["cat", "dog"], QUICK)
    scaled = preset_options("fast", refine="none", precision="float32", cam={"size": 64, "scales": scales})
    found = labeler.label_one(pixels(), ["cat", "dog"], scaled)
    np.testing.assert_allclose(found.tag_probabilities, plain.tag_probabilities, atol=1e-6)


def test_tagged_and_untagged_photos_go_through_one_batch(labeler):
    options = QUICK.model_copy(update={"tag_threshold": 0.0001})
    labels = results(labeler, [LabelRequest(pixels(), tags) for tags in (None, ["dog"], [], None)], options)
    assert [label.tag_source for label in labels] == ["model", "user", "user", "model"]
    assert [len(label.tags) for label in labels] == [4, 1, 0, 4]
    np.testing.assert_allclose(labels[0].cams[1], labels[1].cams[0], atol=1e-5)


# Photos


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_photos_of_any_mode(mode, labeler, tmp_path):
    image = Image.fromarray(pixels())
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    path = saved(tmp_path, image, "tif")
    assert labeler.label_one(path, ["cat"], QUICK).size == (40, 56)


def test_a_photo_turned_by_exif_is_labelled_upright(labeler, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, pixels(40, 56), "jpg", exif=exif)
    assert labeler.label_one(path, ["cat"], QUICK).size == (56, 40)


def test_file_bytes_and_pixels_give_one_label(labeler, tmp_path):
    path = saved(tmp_path, pixels())
    labels = [labeler.label_one(source, ["cat"], QUICK) for source in (path, path.read_bytes(), pixels())]
    assert same(labels[0], labels[1])
    assert same(labels[0], labels[2])


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_photos_of_extreme_shapes(size, labeler):
    label = labeler.label_one(pixels(*size), ["cat"], QUICK)
    assert label.size == size
    assert label.cams.shape == (1, *size)


@pytest.mark.parametrize(
    "source",
    [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32),
     np.zeros((0, 5, 3), np.uint8)],
)  # fmt: skip
def test_pixels_of_another_layout_are_refused(source, labeler):
    with pytest.raises(InvalidArray) as caught:
        labeler.label_one(source, ["cat"], QUICK)
    assert str(source.shape) in caught.value.detail


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", UnsupportedImageFormat), (b"hello", UnsupportedImageFormat), (b"\xff\xd8\xff\xe0 cut", UnreadableImage)],
)
def test_a_photo_that_cannot_be_read_fails_alone_and_in_its_place(content, error, labeler):
    requests = [LabelRequest(pixels(seed=n), ["cat"], name=str(n)) for n in range(5)]
    requests[2] = LabelRequest(content, ["cat"], name="2")
    found = list(labeler.label(requests, QUICK))
    assert [request.name for request, _ in found] == list("01234")
    assert [isinstance(result, Label) for _, result in found] == [True, True, False, True, True]
    assert isinstance(found[2][1], error)


def test_a_photo_whose_refinement_fails_fails_alone(labeler, monkeypatch):
    refine = labeler._refine

    def fussy(job, maps, options):
        if np.array_equal(job.photo.pixels, pixels(seed=1)):
            raise CrfError("Too narrow.")
        return refine(job, maps, options)

    monkeypatch.setattr(labeler, "_refine", fussy)
    found = results(labeler, [LabelRequest(pixels(seed=n), ["cat"], name=str(n)) for n in range(3)])
    assert [type(result) for result in found] == [Label, CrfError, Label]


def test_photos_that_all_fail_are_all_told(labeler):
    assert all(isinstance(result, UnsupportedImageFormat) for result in results(labeler, [LabelRequest(b"x", [])] * 3))
    assert results(labeler, []) == []


def test_a_missing_file_is_named(labeler, tmp_path):
    with pytest.raises(UnreadableImage, match=r"gone\.jpg"):
        labeler.label_one(tmp_path / "gone.jpg", ["cat"], QUICK)


def test_a_huge_photo_is_refused_before_it_is_decoded(labeler, tmp_path):
    path = tmp_path / "huge.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\1\0IDAT")
    with pytest.raises(ImageTooLarge, match="30,000 x 20,000"):
        labeler.label_one(path, ["cat"], QUICK)


# Sizes


@pytest.mark.parametrize("kind", ["pixels", "file"])
def test_a_long_side_over_the_cap_is_mapped_back_and_told(kind, labeler, tmp_path):
    image = pixels(150, 240)
    source = image if kind == "pixels" else saved(tmp_path, image)
    options = QUICK.model_copy(update={"long_side": 80, "segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(source, ["cat"], options)
    assert label.working_size == (50, 80)
    assert label.cams.shape == (1, 50, 80)
    assert label.size == (150, 240)
    assert label.segmentation.shape == (150, 240)
    assert set(np.unique(label.pseudo_mask)) <= {0, 8, 255}  # indices are never mixed
    whole = labeler.label_one(image, ["cat"], QUICK)
    assert (label.pseudo_mask == whole.pseudo_mask).mean() > 0.9


def test_mixed_sizes_share_a_batch_and_keep_their_order(labeler):
    sizes = [(40, 56), (30, 90), (64, 64), (17, 23), (90, 30), (41, 57), (12, 80)]
    requests = [LabelRequest(pixels(*size, seed=n), ["cat", "horse"], name=str(n)) for n, size in enumerate(sizes)]
    found = list(labeler.label(requests, QUICK))
    assert [request.name for request, _ in found] == [str(n) for n in range(7)]
    assert [label.size for _, label in found] == sizes


@pytest.mark.parametrize(
    "options",
    [QUICK, preset_options("balanced", refine="none", cam={"size": 64}, precision="float32")],
    ids=["fast", "balanced"],
)
def test_a_batch_of_many_is_one_by_one(options, labeler, photo_folder):
    tags = {"cat": ["cat"], "dog": ["dog"], "horses": ["horse"], "astronaut": ["person"], "person": ["dog", "person"]}
    requests = [LabelRequest(photo_folder / f"{name}.png", names) for name, names in tags.items()]
    for request, together in labeler.label(requests, options):
        alone = labeler.label_one(request.source, request.tags, options)
        assert together.tags == alone.tags
        np.testing.assert_allclose(together.cams, alone.cams, atol=1e-4)
        np.testing.assert_allclose(together.tag_probabilities, alone.tag_probabilities, atol=1e-5)
        assert (together.pseudo_mask == alone.pseudo_mask).mean() > 0.999


def test_the_batch_size_follows_the_pixels_that_go_through_the_device(labeler):
    options = preset_options("paper", cam={"size": 100}, batch_pixels=150 * 150 * 2 * 3)
    assert labeler.batch_size(options) == 3  # the largest scale, straight and mirrored
    assert labeler.batch_size(preset_options("fast", cam={"size": 100}, batch_pixels=100 * 100 * 7)) == 7
    assert labeler.batch_size(preset_options("paper", cam={"size": 2048}, batch_pixels=64 * 64)) == 1


def test_without_a_limit_a_processor_takes_a_photo_at_a_time_and_a_gpu_many(labeler, monkeypatch):
    options = preset_options("fast", cam={"size": 448})
    assert labeler.batch_size(options) == 1
    monkeypatch.setattr(labeler, "device", Device(torch.device("cuda"), None))
    assert labeler.batch_size(options) == 8


def test_a_stop_leaves_what_was_not_begun_without_result(labeler, photo_folder):
    path = photo_folder / "cat.png"
    taken = []

    def requests():
        for number in range(5):
            taken.append(number)
            yield LabelRequest(path, ["cat"], name=str(number))

    answers = iter([False, True])
    found = labeler.label(requests(), preset_options("fast", refine="none"), stop=lambda: next(answers))
    assert [request.name for request, _ in found] == ["0", "1"]
    assert taken == [0, 1, 2]


def test_few_photos_are_held_in_memory_however_many_come(labeler):
    options = preset_options("fast", refine="none", cam={"size": 64}, batch_pixels=2 * 64 * 64)
    size = labeler.batch_size(options)
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield LabelRequest(pixels(seed=number), ["cat"], name=str(number))
            number += 1

    stream = labeler.label(endless(), options)
    for number in range(9):
        request, label = next(stream)
        assert request.name == str(number)
        assert isinstance(label, Label)
        assert len(taken) - number <= 6 * size
    stream.close()


MEASURE = """
import sys
from pathlib import Path
from toco.model.labelling.labeler import Labeler, LabelRequest

def status(field):
    return int(Path("/proc/self/status").read_text().split(field)[1].split()[0])

labeler = Labeler.from_folder(device="cpu")
before = status("VmRSS:")
requests = [LabelRequest(Path(path), ["horse", "person"]) for path in sys.argv[1:]]
assert [label.size for _, label in labeler.label(requests)] == [(3000, 4000)] * len(requests)
print(status("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_photos_need_less_than_two_gibibytes_over_the_model(samples, tmp_path):
    """Photos of 3,000 x 4,000 pixels with noise, the default model and preset, in a process of their own."""
    photo = cv2.resize(cv2.imread(str(samples / "horses.jpg")), (4000, 3000)).astype(np.int16)
    photo += np.random.default_rng(0).integers(-20, 21, photo.shape, np.int16)
    paths = [str(tmp_path / f"large{suffix}") for suffix in (".jpg", ".png")]
    for path in paths:
        cv2.imwrite(path, photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths, *paths], check=True, capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert int(ran.stdout) < 2 * 1024**2  # KiB


# Set-up


def test_a_labeler_of_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InvalidCheckpoint):
        Labeler.from_folder(tmp_path)


def test_a_device_that_is_not_there_is_refused(tiny_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable):
        Labeler.from_folder(tiny_model, device="cuda")


def test_automatic_precision_changes_little(labeler, photo_folder):
    exact = labeler.label_one(photo_folder / "dog.png", ["dog"], QUICK)
    quick = labeler.label_one(photo_folder / "dog.png", ["dog"], QUICK.model_copy(update={"precision": "auto"}))
    assert np.abs(exact.cams - quick.cams).mean() < 0.05


def test_the_crf_of_the_caller_is_used(labeler, photo_folder):
    source = read_image(photo_folder / "dog.png", long_side=64).pixels
    soft = LabelOptions.model_validate(QUICK.model_dump() | {"refine": "crf"})
    crf = {"gaussian_sxy": 1, "gaussian_weight": 0, "bilateral_sxy": 1, "bilateral_srgb": 1, "bilateral_weight": 0}
    off = LabelOptions.model_validate(QUICK.model_dump() | {"refine": "crf", "crf": crf | {"iterations": 0}})
    by_rule = labeler.label_one(source, ["dog"], QUICK)
    np.testing.assert_array_equal(labeler.label_one(source, ["dog"], off).pseudo_mask, by_rule.pseudo_mask)
    assert (labeler.label_one(source, ["dog"], soft).pseudo_mask != by_rule.pseudo_mask).any()
