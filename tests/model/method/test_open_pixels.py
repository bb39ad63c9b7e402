"""Open pixels: what a word may own that is not understood is neither background nor another tag's."""

import numpy as np
import pytest

from toco.model.errors import InvalidArray
from toco.model.method.open_pixels import leave_open, unclaimed

CAT, DOG, OPEN = 8, 12, 255


def maps(*planes):
    return np.array(planes, np.float32)


def test_what_no_tagged_class_explains_is_unclaimed():
    objects = maps([[1.0, 0.9, 0.1]], [[0.9, 0.1, 0.1]], [[0.2, 0.2, 0.0]])
    np.testing.assert_allclose(unclaimed(objects), [[0.0, 0.6, 0.0]], atol=1e-6)
    assert unclaimed(objects).dtype == np.float32


def test_object_like_background_is_left_open_and_the_rest_stays():
    mask = np.array([[0, 0, CAT, OPEN, DOG]], np.uint8)
    objects = maps([[0.1, 0.4, 0.9, 0.0, 0.0]], [[0.0] * 5], [[0.0] * 5])
    open_mask = leave_open(mask, [CAT, DOG], objects, level=0.25)
    np.testing.assert_array_equal(open_mask, [[0, OPEN, CAT, OPEN, DOG]])
    assert open_mask.dtype == np.uint8


def test_a_class_that_is_not_among_the_tags_is_left_open():
    mask = np.array([[CAT, DOG]], np.uint8)
    np.testing.assert_array_equal(leave_open(mask, [CAT], maps([[0.0, 0.0]], [[0.0, 0.0]]), level=0.25), [[CAT, OPEN]])


@pytest.mark.parametrize("objects", [None, maps([[0.0, 0.0]])])
def test_without_a_tag_that_is_known_everything_is_open(objects):
    mask = np.array([[0, CAT]], np.uint8)
    np.testing.assert_array_equal(leave_open(mask, [], objects, level=0.25), [[OPEN, OPEN]])


def test_the_level_itself_is_background():
    mask = np.zeros((1, 1), np.uint8)
    assert leave_open(mask, [CAT], maps([[0.25]], [[0.0]]), level=0.25) == 0


def test_sizes_must_agree():
    with pytest.raises(InvalidArray, match=r"Object maps \(2, 1, 3\), mask \(1, 2\), 1 classes"):
        leave_open(np.zeros((1, 2), np.uint8), [CAT], np.zeros((2, 1, 3), np.float32), level=0.25)
