"""What people corrected moves the maps where tokens look alike, and nowhere else."""

import json

import numpy as np
import pytest
from safetensors.numpy import save

from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.learning.adjust import (
    AdjustedLabeler,
    Adjustment,
    Corrected,
    InvalidAdjustment,
    NothingToLearn,
    fit_adjustment,
    read_corrected,
)
from toco.model.options import preset_options

WIDTH = 16


def photo(seed: int, *, channels=(0, 1), mistake: bool = True) -> Corrected:
    """Half the places show class 0, a quarter class 1, whose maps miss it; tokens tell all apart."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat([0, 1, 2], [32, 16, 16])  # background, first, second
    directions = np.eye(WIDTH, dtype=np.float32)
    tokens = (directions[kinds] + 0.05 * rng.standard_normal((64, WIDTH))).reshape(8, 8, WIDTH)
    maps = np.full((2, 64), 0.2, np.float32)
    maps[0, kinds == 1] = 0.8
    maps[1, kinds == 2] = 0.35 if mistake else 0.8  # under the level: called background
    labels = np.stack([kinds == kind for kind in (0, 1, 2)]).astype(np.float32)
    return Corrected(tuple(channels), maps.reshape(2, 8, 8), tokens, labels.reshape(3, 8, 8))


def fitted(photos) -> Adjustment:
    return fit_adjustment(photos, classes=4, level=0.48, model_version="m@1")


def decided(found: Corrected, adjustment: Adjustment) -> np.ndarray:
    scores = found.maps + adjustment.added(found.tokens, found.channels)
    return np.where(scores.max(axis=0) > 0.48, 1 + scores.argmax(axis=0), 0)


def test_an_object_that_the_maps_miss_is_found_in_photos_that_nobody_corrected():
    adjustment = fitted([photo(1), photo(2)])
    other = photo(3)
    assert (decided(other, adjustment) == other.labels.argmax(axis=0)).mean() > 0.95
    untouched = Adjustment(np.zeros((4, WIDTH), np.float32), 0.4, "m@1")
    assert (decided(other, untouched) == other.labels.argmax(axis=0)).mean() < 0.8


def test_what_is_right_already_hardly_moves_and_nothing_moves_further_than_its_bound():
    right = fitted([photo(1, mistake=False)])
    other = photo(3, mistake=False)
    assert (decided(other, right) == other.labels.argmax(axis=0)).all()
    wild = Adjustment(np.full((4, WIDTH), 9.0, np.float32), 0.4, "m@1")
    assert np.abs(wild.added(other.tokens, (0, 3))).max() == pytest.approx(0.4)


def test_what_was_wrong_with_one_class_moves_the_others_less():
    """The first photos that people correct are the worst ones: no fair sample of what the model does."""
    adjustment = fitted([photo(1), photo(2)])
    other = photo(3)
    moved = np.abs(adjustment.added(other.tokens, (1, 3))).reshape(2, -1).mean(axis=1)
    assert moved[1] < 0.5 * moved[0]


def test_open_pixels_teach_nothing():
    shut = photo(1)
    nothing = Corrected(shut.channels, shut.maps, shut.tokens, np.zeros_like(shut.labels))
    with pytest.raises(NothingToLearn):
        fitted([nothing])
    with pytest.raises(NothingToLearn):
        fitted([])
    alone, beside = fitted([shut]), fitted([shut, nothing])
    np.testing.assert_allclose(alone.weight, beside.weight, atol=1e-5)


def test_it_is_kept_and_read_and_belongs_to_its_model():
    adjustment = fitted([photo(1)])
    again = Adjustment.from_bytes(adjustment.to_bytes(), model_version="m@1")
    np.testing.assert_array_equal(again.weight, adjustment.weight)
    assert again.most == adjustment.most
    assert fitted([photo(1)]).to_bytes() == adjustment.to_bytes(), "learnt twice, it is the same"
    constants = {"weight": adjustment.weight, "bias": np.zeros(4, np.float32)}
    older = save(constants, {"adjustment": json.dumps({"model_version": "m@1", "most": 0.4})})
    cut = adjustment.to_bytes()[:40]
    for data, version in ((older, "m@1"), (adjustment.to_bytes(), "m@2"), (b"junk", "m@1"), (cut, "m@1")):
        with pytest.raises(InvalidAdjustment):
            Adjustment.from_bytes(data, model_version=version)


def test_a_labeler_with_an_adjustment_labels_otherwise_and_without_effect_the_same(tiny_model):
    labeler, options = Labeler.from_folder(tiny_model), preset_options("fast")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    before = labeler.label_one(pixels, ["cat"], options)
    mask = np.full((64, 48), 8, np.uint8)
    corrected = read_corrected(labeler, LabelRequest(pixels, ["cat"]), mask, options)
    classes, width = len(labeler.vocabulary), corrected.tokens.shape[-1]
    nothing = Adjustment(np.zeros((classes, width), np.float32), 0.4, "m")
    same = AdjustedLabeler(labeler, nothing).label_one(pixels, ["cat"], options)
    assert (same.pseudo_mask == before.pseudo_mask).all()
    learnt = fit_adjustment([corrected], classes=classes, level=0.48, model_version="m")
    after = AdjustedLabeler(labeler, learnt).label_one(pixels, ["cat"], options)
    assert (after.pseudo_mask == 8).sum() > (before.pseudo_mask == 8).sum()
    assert read_corrected(labeler, LabelRequest(pixels, []), mask, options) is None
