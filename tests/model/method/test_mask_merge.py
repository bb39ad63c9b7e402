"""Masks without classes: which class each belongs to, and what becomes of a label that they are merged into."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toco.model.method.mask_merge import class_of, merge_into_label, merge_masks
from toco.model.options import MaskMerge

CAT, DOG, OPEN = 1, 2, 255
KEEP = MaskMerge(rest="keep")


def label(rows: str) -> np.ndarray:
    """A label as text: `c` cat, `d` dog, `?` open, `.` background."""
    values = {"c": CAT, "d": DOG, "?": OPEN, ".": 0}
    return np.array([[values[sign] for sign in row] for row in rows.split()], np.uint8)


def masks(*drawn: str):
    """Masks as text, `#` inside."""
    found = [np.array([[sign == "#" for sign in row] for row in rows.split()]) for rows in drawn]
    return [lambda mask=mask: np.flatnonzero(mask) for mask in found]


def test_a_mask_that_is_mostly_of_a_class_becomes_that_class():
    merged, counts = merge_masks(label("ccc? ..??"), masks("#### ...."), MaskMerge())
    assert np.array_equal(merged, label("cccc ..??"))
    assert (counts.given, counts.taken) == (1, 1)


def test_exactly_half_is_not_more_than_half():
    wide = "######## ........"
    merged, counts = merge_masks(label("cccc.... cccc...."), masks(wide), MaskMerge())
    assert counts.taken == 0
    assert np.array_equal(merged, label("cccc.... cccc...."))


def test_a_mask_that_covers_a_region_is_its_class_if_enough_of_it_is():
    found = label("cc.... ......")
    whole = masks("###### ......")
    assert np.array_equal(merge_masks(found, whole, MaskMerge())[0], label("cccccc ......"))
    assert merge_masks(found, whole, MaskMerge(filled=0.5))[1].taken == 0
    assert merge_masks(found, whole, MaskMerge(), covering=False)[1].taken == 0


def test_a_mask_that_covers_the_regions_of_two_classes_is_of_neither():
    _, counts = merge_masks(label("c.d. ...."), masks("#### ...."), MaskMerge())
    assert counts.taken == 0


def test_smaller_masks_lie_over_larger_ones_in_whatever_order_they_come():
    found = label("ccccdd ccccdd")
    drawn = masks("###### ###...", "....## ....##")
    for order in (drawn, drawn[::-1]):
        assert np.array_equal(merge_masks(found, order, MaskMerge())[0], label("ccccdd ccc?dd"))


def test_what_a_class_has_outside_of_its_masks_is_left_open_or_kept():
    found = label("cccc dddd")
    drawn = masks("###. ....")
    assert np.array_equal(merge_masks(found, drawn, MaskMerge())[0], label("ccc? dddd"))  # no mask is of the dog
    assert np.array_equal(merge_masks(found, drawn, KEEP)[0], found)


def test_masks_change_neither_the_label_that_came_nor_photos_without_any():
    found = label("cccc dddd")
    before = found.copy()
    merge_masks(found, masks("###. ###."), MaskMerge())
    assert np.array_equal(found, before)
    assert merge_into_label(found, None, [], MaskMerge(), covering=True) == (found, None, None)


def test_both_masks_of_a_label_take_them():
    drawn = masks("###. ....")
    pseudo, segmentation, counts = merge_into_label(label("cc.. ...."), label(".... ddd."), drawn, KEEP, covering=True)
    assert np.array_equal(pseudo, label("ccc. ...."))
    assert np.array_equal(segmentation, label(".... ddd."))
    assert counts is not None
    assert counts.taken == 1


@pytest.mark.parametrize("counts", [{}, {0: 5}, {OPEN: 9, 0: 1}])
def test_background_and_open_pixels_are_no_class(counts):
    found = np.zeros(256, np.int64)
    for index, number in counts.items():
        found[index] = number
    assert class_of(found, found * 10, MaskMerge()) is None


@given(
    arrays(np.uint8, (6, 7), elements=st.sampled_from([0, CAT, DOG, OPEN])),
    st.lists(arrays(np.bool_, (6, 7)), max_size=5),
    st.sampled_from([MaskMerge(), KEEP, MaskMerge(within=0.9, covers=1.0)]),
)
def test_no_class_appears_that_the_label_did_not_show_and_nothing_becomes_background(found, drawn, options):
    merged, counts = merge_masks(found, [lambda mask=mask: np.flatnonzero(mask) for mask in drawn], options)
    assert set(np.unique(merged)) <= {*np.unique(found), OPEN}
    assert not np.any((merged == 0) & (found != 0))
    outside = ~np.any([np.zeros(found.shape, bool), *drawn], axis=0)
    changed = outside & (merged != found)
    assert np.all(merged[changed] == OPEN)
    assert 0 <= counts.taken <= counts.given == len(drawn)
