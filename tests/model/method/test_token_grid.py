"""Whole patches only; what is no photo is refused."""

import pytest

from toco.model.errors import InvalidArray
from toco.model.method.token_grid import token_grid


def test_a_remainder_is_dropped():
    assert token_grid((2, 3, 47, 100), 16) == (2, 6)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 8, 64)])
def test_what_is_no_photo_is_refused(shape):
    with pytest.raises(InvalidArray, match="shape"):
        token_grid(shape, 16)
