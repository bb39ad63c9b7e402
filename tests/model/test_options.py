"""Options: the paper's constants, the presets, and settings checked before any work."""

import pytest

from toco.model.errors import InvalidOption
from toco.model.options import (
    COCO_THRESHOLDS,
    PRESET_TEXTS,
    PRESETS,
    VOC_THRESHOLDS,
    Affinity,
    LabelOptions,
    Thresholds,
    preset_options,
)


def test_thresholds_of_the_paper():
    assert (VOC_THRESHOLDS.high, VOC_THRESHOLDS.low, VOC_THRESHOLDS.plain) == (0.7, 0.25, 0.5)
    assert (COCO_THRESHOLDS.high, COCO_THRESHOLDS.low, COCO_THRESHOLDS.plain) == (0.65, 0.25, 0.45)


def test_the_paper_preset_is_the_paper():
    paper = PRESETS["paper"]
    assert (paper.cam.size, paper.cam.scales, paper.cam.flip) == (448, (1.0, 0.5, 1.5), True)
    assert paper.cam.affinity is None
    assert paper.cam.decoder_weight == 0.0
    assert not paper.cam.auxiliary
    assert paper.refine == "crf"
    assert paper.ignore_band
    assert paper.precision == "auto"  # the masks are the same to a tenth of a point; see docs/method.md
    assert (paper.segmentation.scales, paper.segmentation.flip) == ((1.0, 1.25, 1.5), True)
    assert paper.segmentation.refine == "crf"
    assert (paper.thresholds, paper.crf, paper.segmentation.crf) == (None, None, None)  # those of the model's spec


def test_the_fast_preset_runs_one_scale_once():
    assert (PRESETS["fast"].cam.scales, PRESETS["fast"].cam.flip) == ((1.0,), False)


def test_every_preset_knows_its_name():
    assert {name: options.preset for name, options in PRESETS.items()} == {name: name for name in PRESETS}


def test_changes_are_merged_into_the_preset():
    options = preset_options("balanced", cam={"affinity": {"power": 4}}, long_side=512)
    assert options.cam.affinity == Affinity(power=4, rounds=PRESETS["balanced"].cam.affinity.rounds)
    assert options.cam.scales == PRESETS["balanced"].cam.scales
    assert options.long_side == 512
    assert preset_options("balanced", cam={"affinity": None}).cam.affinity is None
    assert preset_options("fast", thresholds={"high": 0.8}).thresholds == Thresholds(high=0.8)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"long_side": 5}, "long_side = 5"),
        ({"speed": 3}, "speed = 3"),
        ({"cam": {"scales": []}}, "cam.scales"),
        ({"cam": {"scales": [9.0]}}, "9.0"),
        ({"thresholds": {"high": 0.2}}, "thresholds"),
        ({"thresholds": {"high": 1.0}}, "thresholds.high = 1.0"),
        ({"refine": "magic"}, "magic"),
        ({"crf": {"iterations": -1}}, "crf"),
    ],
)
def test_a_setting_that_cannot_be_is_named(changes, named):
    with pytest.raises(InvalidOption) as caught:
        preset_options("balanced", **changes)
    assert named in caught.value.detail


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(InvalidOption, match="'best'") as caught:
        preset_options("best")
    assert all(name in caught.value.fix for name in PRESETS)


def test_the_digest_changes_with_every_setting():
    options = LabelOptions()
    changed = [
        preset_options("fast"),
        preset_options("balanced", long_side=512),
        preset_options("balanced", cam={"affinity": {"rounds": 3}}),
        preset_options("balanced", thresholds={"high": 0.75}),
    ]
    digests = [entry.digest() for entry in (options, *changed)]
    assert len(set(digests)) == len(digests)
    assert LabelOptions().digest() == options.digest()
    assert len(options.digest()) == 12


def test_every_preset_has_a_line_for_people():
    assert list(PRESET_TEXTS) == list(PRESETS)
    assert all(10 < len(text) < 100 for text in PRESET_TEXTS.values())
