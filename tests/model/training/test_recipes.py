"""Recipes of the service: a configuration that fits the model it starts from."""

import pytest

from toco.model.errors import InvalidOption
from toco.model.spec import DEFAULT_MODEL, BackboneSpec, read_spec
from toco.model.training.recipes import (
    RECIPE_TEXTS,
    RECIPES,
    TrainingSettings,
    require_trainable,
    training_config,
)
from toco.model.training.trainer import initial_spec


def config_of(spec, *, photos=100, **settings):
    return training_config(
        "mine", spec, ("mug", "cat"), TrainingSettings(**settings), photos=photos, checkpoint_minutes=2.0
    )


def test_every_recipe_has_a_text_that_names_its_steps():
    assert RECIPES.keys() == RECIPE_TEXTS.keys()
    for name, settings in RECIPES.items():
        assert str(settings.steps) in RECIPE_TEXTS[name]
    assert RECIPES["thorough"].all_steps == 1600


def test_the_model_that_comes_out_has_the_backbone_of_the_one_before():
    start = read_spec(DEFAULT_MODEL)
    made = initial_spec(config_of(start))
    assert made.backbone == start.backbone
    assert (made.name, made.aux_layer, made.thresholds) == ("mine", start.aux_layer, start.thresholds)
    assert made.vocabulary.names == ("mug", "cat")


def test_small_models_get_small_crops_and_half_of_their_blocks_are_trained():
    backbone = BackboneSpec(name="vit_base_patch16_224", image_size=64, arguments={"depth": 4})
    config = config_of(read_spec(DEFAULT_MODEL).model_copy(update={"input_size": 64, "backbone": backbone}), steps=40)
    assert (config.augmentation.crop, config.rounds.side, config.backbone.frozen_blocks) == (64, 64, 2)
    assert (config.schedule.steps, config.schedule.warmup_steps, config.checkpoint_minutes) == (40, 2, 2.0)


def test_memory_is_bounded_whatever_the_number_of_photos():
    start = read_spec(DEFAULT_MODEL)
    assert config_of(start, photos=4_000).cache_side == 352
    assert config_of(start, photos=4_001).cache_side is None


@pytest.mark.parametrize(
    ("classes", "photos", "tagged", "said"),
    [
        (("mug",), 3, {"mug": 3}, "3 photos"),
        (("mug", "cat", "dog"), 9, {"mug": 9}, "'cat', 'dog'"),
        (tuple(f"word {n}" for n in range(255)), 999, {}, "255 classes"),
        (("mug", "Mug"), 9, {"mug": 9}, "two classes"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(classes, photos, tagged, said):
    with pytest.raises(InvalidOption, match=said):
        require_trainable(classes, photos, tagged)
    require_trainable(("mug",), 4, {"mug": 1})
