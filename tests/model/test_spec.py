"""Settings that a caller gives in part are completed by those of the model in use, never by another's."""

from dataclasses import replace

import pytest

from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF
from toco.model.errors import InvalidOption
from toco.model.options import PRESETS, Affinity, Thresholds, preset_options
from toco.model.spec import DEFAULT_MODEL, BackboneSpec, ModelSpec, read_spec

SPEC = ModelSpec(
    name="farm",
    backbone=BackboneSpec(name="vit_tiny_patch16_224"),
    classes=({"name": "hen", "index": 1},),
    thresholds=Thresholds(high=0.6, low=0.1, plain=0.35),
    decoder_weight=0.25,
    pseudo_mask_crf=replace(PSEUDO_MASK_CRF, bilateral_sxy=20.0),
    segmentation_crf=replace(SEGMENTATION_CRF, bilateral_sxy=50.0),
)


def test_one_threshold_leaves_the_models_others():
    options = SPEC.label_options("fast", thresholds={"high": 0.8})
    assert options.thresholds == Thresholds(high=0.8, low=0.1, plain=0.35)


def test_a_threshold_that_contradicts_the_models_is_refused():
    with pytest.raises(InvalidOption, match=r"low \(0.1\) must be under high \(0.05\)"):
        SPEC.label_options("fast", thresholds={"high": 0.05})


def test_one_crf_setting_leaves_the_models_others():
    options = SPEC.label_options("paper", crf={"iterations": 3}, segmentation={"crf": {"iterations": 4}})
    assert options.crf == replace(SPEC.pseudo_mask_crf, iterations=3)
    assert options.segmentation.crf == replace(SPEC.segmentation_crf, iterations=4)


def test_what_is_not_given_stays_open_for_the_model():
    assert SPEC.label_options("paper") == preset_options("paper")
    options = SPEC.label_options("balanced", thresholds=None, cam={"affinity": {"power": 4}}, segmentation=None)
    assert (options.thresholds, options.crf, options.segmentation) == (None, None, None)
    assert options.cam.affinity == Affinity(power=4)


def nothing_is_open(settings):
    """Whether each setting has a value, but those that switch something off by having none."""
    off = {"affinity", "lift", "doubted", "segmentation", "batch_pixels"}
    return all(
        nothing_is_open(value) if isinstance(value, dict) else value is not None
        for key, value in settings.items()
        if key not in off or isinstance(value, dict)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_completed_options_leave_nothing_to_the_model(preset):
    options = PRESETS[preset]
    complete = SPEC.completed(options)
    assert nothing_is_open(complete.model_dump())
    assert not nothing_is_open(options.model_dump())
    assert complete.thresholds == SPEC.thresholds
    assert complete.crf == SPEC.pseudo_mask_crf
    assert (complete.cam.size, complete.cam.decoder_weight) == (448, 0.0 if preset == "paper" else 0.25)
    assert (complete.segmentation is None) is (options.segmentation is None)
    assert SPEC.completed(complete) == complete
    assert preset_options(preset, **complete.model_dump(exclude={"preset"})).digest() == complete.digest()


def test_what_options_say_stays_when_they_are_completed():
    asked = SPEC.label_options(
        "paper", thresholds={"high": 0.8}, cam={"size": 64}, segmentation={"crf": {"iterations": 4}}
    )
    complete = SPEC.completed(asked)
    assert (complete.thresholds.high, complete.cam.size, complete.segmentation.crf.iterations) == (0.8, 64, 4)


def test_the_model_of_the_package_has_a_spec():
    assert len(read_spec(DEFAULT_MODEL).classes) > 1
