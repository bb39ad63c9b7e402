"""Compositions: an object is cut out by its soft label, pasted elsewhere, and its label goes with it."""

import numpy as np
import pytest

from toco.model.training.composition import CutOut, Piece, cut_out, mosaic, paste, seen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def plain(value, channel, side=40, channels=4):
    """A piece of one colour that surely shows one channel."""
    labels = np.zeros((side, side, channels), np.uint8)
    labels[..., channel] = 255
    return Piece(np.full((side, side, 3), value, np.uint8), labels)


def shape(top=10, left=5, height=20, width=10, value=255, side=40):
    found = np.zeros((side, side), np.uint8)
    found[top : top + height, left : left + width] = value
    return found


def test_an_object_is_cut_out_to_its_box():
    pixels = np.arange(40 * 40 * 3, dtype=np.uint32).reshape(40, 40, 3).astype(np.uint8)
    cut = cut_out(pixels, shape(), 2)
    assert cut.channel == 2
    assert np.array_equal(cut.pixels, pixels[10:30, 5:15])
    assert (cut.shape == 255).all()


@pytest.mark.parametrize(
    "found",
    [shape(height=2, width=2), shape(0, 0, 40, 40), shape(value=140)],
    ids=["too small", "too large", "too doubtful"],
)
def test_what_cannot_be_pasted_well_is_not_cut_out(found):
    assert cut_out(np.zeros((40, 40, 3), np.uint8), found, 1) is None


def test_a_pasted_object_brings_its_pixels_and_its_label(rng):
    target = plain(50, 0)
    cut = CutOut(np.full((20, 10, 3), 200, np.uint8), np.full((20, 10), 255, np.uint8), 3)
    made = paste(target, cut, rng)
    inside = made.labels[..., 3] == 255
    assert inside.any()
    assert (made.pixels[inside] == 200).all()
    assert (made.labels[inside][:, :3] == 0).all()
    assert np.array_equal(made.pixels[~inside], target.pixels[~inside])
    assert np.array_equal(made.labels[~inside], target.labels[~inside])
    assert (target.pixels == 50).all()  # the target itself is left as it was


def test_what_of_an_object_is_doubtful_covers_in_part_alone(rng):
    target = plain(0, 0)
    cut = CutOut(np.full((20, 20, 3), 255, np.uint8), np.full((20, 20), 128, np.uint8), 1)
    made = paste(target, cut, rng)
    sums = made.labels.sum(axis=2, dtype=int)
    assert abs(sums - 255).max() <= 1
    assert set(np.unique(made.pixels)) - {0} == {int(value) for value in np.unique(made.labels[..., 1])} - {0}


def test_an_object_keeps_within_its_range_of_sizes(rng):
    cut = CutOut(np.full((20, 20, 3), 9, np.uint8), np.full((20, 20), 255, np.uint8), 1)
    for _ in range(50):
        made = paste(plain(0, 0, side=100), cut, rng, sizes=(0.2, 0.3))
        rows = np.flatnonzero((made.labels[..., 1] > 0).any(axis=1))
        assert len(rows) <= 31


def test_a_mosaic_holds_four_pieces_side_by_side():
    made = mosaic([plain(value, channel) for value, channel in ((1, 0), (2, 1), (3, 2), (4, 3))])
    assert made.pixels.shape == (80, 80, 3)
    assert [made.pixels[y, x, 0] for y in (0, 79) for x in (0, 79)] == [1, 2, 3, 4]
    assert [int(made.labels[y, x].argmax()) for y in (0, 79) for x in (0, 79)] == [0, 1, 2, 3]


def test_a_class_of_a_few_pixels_is_not_seen():
    labels = plain(0, 0).labels.copy()
    labels[0, 0] = (0, 255, 0, 0)
    labels[:20, :, :] = (0, 0, 255, 0)
    assert seen(labels).tolist() == [False, True, False]
