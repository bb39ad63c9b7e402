"""The training configuration: the paper's values as presets, one file, and settings checked before any work."""

import pytest

from toco.model.errors import InvalidOption
from toco.model.options import COCO_THRESHOLDS
from toco.model.training.config import TRAIN_PRESETS, TrainConfig, load_config, merge


def test_the_voc_preset_is_the_paper():
    voc = TRAIN_PRESETS["voc"]
    schedule, loss, contrast, cam = voc.schedule, voc.loss, voc.contrast, voc.cam
    assert voc.classes == "voc"
    assert (voc.backbone.name, voc.backbone.aux_layer) == ("vit_base_patch16_224", -3)
    assert (schedule.steps, schedule.warmup_steps, schedule.warmup_ratio, schedule.power) == (20_000, 1_500, 1e-6, 0.9)
    assert (schedule.learning_rate, schedule.head_factor, schedule.batch_size) == (6e-5, 10.0, 4)
    assert (schedule.betas, schedule.weight_decay) == ((0.9, 0.999), 1e-2)
    assert (loss.classification, loss.auxiliary, loss.ptc, loss.ctc) == (1.0, 1.0, 0.2, 0.5)
    assert (loss.segmentation, loss.energy, loss.segmentation_start) == (0.1, 0.05, 0.1)
    assert (contrast.local_crops, contrast.local_size, contrast.border, contrast.negative_below) == (8, 96, 48, 0.2)
    assert (contrast.momentum, contrast.hidden, contrast.bottleneck, contrast.outputs) == (0.9, 2048, 256, 1024)
    assert (cam.scales, cam.flip, cam.refine_downscale, cam.label_downscale) == ((1.0, 0.5, 1.5), True, 2, 1)
    assert (voc.augmentation.crop, voc.augmentation.rescale) == (448, (0.5, 2.0))
    assert voc.augmentation.jitter == (0.4, 0.4, 0.2, 0.1)


def test_the_coco_preset_differs_in_classes_length_and_thresholds_alone():
    coco, voc = TRAIN_PRESETS["coco"].model_dump(), TRAIN_PRESETS["voc"].model_dump()
    assert {name for name in coco if coco[name] != voc[name]} == {"classes", "schedule", "thresholds"}
    assert coco["schedule"] == voc["schedule"] | {"steps": 80_000}
    assert TRAIN_PRESETS["coco"].thresholds == COCO_THRESHOLDS


@pytest.mark.parametrize("preset", TRAIN_PRESETS)
def test_a_preset_alone_is_a_configuration(preset):
    assert load_config(preset) == TRAIN_PRESETS[preset]
    assert TrainConfig.model_validate_json(TRAIN_PRESETS[preset].model_dump_json()) == TRAIN_PRESETS[preset]


def test_the_file_goes_over_the_preset_and_changes_over_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        """
        preset = "small-cpu"
        name = "farm"
        classes = ["hen", "goat"]
        [schedule]
        steps = 100
        batch_size = 3
        [[sources]]
        images = "photos"
        unknown = {"extra_*" = ["goat"]}
        """
    )
    config = load_config("voc", file=path, changes={"schedule": {"steps": 50}})
    assert config.name == "farm"
    assert config.classes == ("hen", "goat")
    assert (config.schedule.steps, config.schedule.batch_size) == (50, 3)
    assert config.backbone == TRAIN_PRESETS["small-cpu"].backbone  # the file's preset wins over the caller's default
    assert config.sources[0].unknown == {"extra_*": ("goat",)}


def test_patterns_of_unknown_classes_are_replaced_not_merged():
    base = {"unknown": {"a*": ["cat"]}, "loss": {"ptc": 0.2, "ctc": 0.5}}
    changed = merge(base, {"unknown": {"b*": ["dog"]}, "loss": {"ctc": 0.0}})
    assert changed == {"unknown": {"b*": ["dog"]}, "loss": {"ptc": 0.2, "ctc": 0.0}}
    assert base["loss"]["ctc"] == 0.5  # the input is left alone


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schedule": {"steps": 0}}, "schedule.steps"),
        ({"speed": 1}, "speed"),
        ({"classes": "imagenet"}, "classes"),
        ({"loss": {"ptc": -0.1}}, "loss.ptc"),
        ({"backbone": {"aux_layer": 0}}, "backbone.aux_layer"),
        ({"cam": {"scales": []}}, "cam.scales"),
        ({"precision": "int8"}, "precision"),
        ({"augmentation": {"crop": 96}}, "no room for local crops of 96 and a border of 48"),
        ({"augmentation": {"crop": 120}, "contrast": {"local_size": 120, "border": 8}}, "no room for local crops"),
    ],
)
def test_a_setting_that_cannot_be_is_named(changes, named):
    with pytest.raises(InvalidOption) as caught:
        load_config("voc", changes=changes)
    assert named in caught.value.detail
    assert "docs/training.md" in caught.value.fix


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(InvalidOption, match="'imagenet'") as caught:
        load_config("imagenet")
    assert all(name in caught.value.fix for name in TRAIN_PRESETS)


@pytest.mark.parametrize("content", [None, "steps = = 3"])
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidOption, match=r"run\.toml"):
        load_config("voc", file=path)
