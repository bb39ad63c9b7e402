"""The lattice of the pixel grid: the same filter as the general lattice, kept by size and deviation."""

import numpy as np
import pytest

from tests.model.crf.test_permutohedral import filtered
from toco.model.crf.permutohedral import ScatteredLattice, build_lattice
from toco.model.crf.pixel_lattice import PixelLattice, PixelLatticeCache, build_pixel_lattice


def general(width, height, sxy):
    x, y = np.arange(width, dtype=np.float32) / np.float32(sxy), np.arange(height, dtype=np.float32) / np.float32(sxy)
    return build_lattice(np.stack([np.tile(x, height), np.repeat(y, width)]))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (31, 17), (64, 48)])
@pytest.mark.parametrize("sxy", [0.6, 1.0, 3.0, 7.3, 100.0])
@pytest.mark.parametrize("channels", [1, 4])
def test_equals_the_general_lattice(size, sxy, channels):
    values = np.random.default_rng(0).normal(size=(size[0] * size[1], channels)).astype(np.float32)
    lattice = build_pixel_lattice(*size, sxy)
    assert isinstance(lattice, PixelLattice)
    np.testing.assert_allclose(filtered(lattice, values), filtered(general(*size, sxy), values), atol=2e-5)


def test_corners_that_no_pixel_touches_stay_zero():
    lattice = build_pixel_lattice(40, 30, 0.6)
    untouched = np.setdiff1d(np.arange(lattice.size), lattice.corners)
    values = np.zeros((lattice.size, 1), np.float32)
    values[lattice.corners.reshape(-1)] = 1
    lattice.blur(values)
    assert len(untouched) > lattice.rows  # holes inside, not only the margin
    assert not values[untouched].any()


def test_a_tiny_deviation_takes_the_general_lattice_rather_than_a_huge_array():
    assert isinstance(build_pixel_lattice(100, 100, 0.2), ScatteredLattice)


def test_the_last_used_lattices_are_kept_within_the_budget():
    one = build_pixel_lattice(50, 40, 3.0).nbytes
    cache = PixelLatticeCache(int(2.5 * one))
    first, second = cache.get(50, 40, 3.0), cache.get(50, 40, 3.1)
    assert cache.get(50, 40, 3.0) is first
    cache.get(50, 40, 3.2)  # pushes the second out, used longest ago
    assert cache.get(50, 40, 3.0) is first
    assert cache.get(50, 40, 3.1) is not second


def test_a_lattice_over_the_budget_is_not_kept():
    cache = PixelLatticeCache(100)
    assert cache.get(50, 40, 3.0) is not cache.get(50, 40, 3.0)


def test_size_and_deviation_tell_lattices_apart():
    cache = PixelLatticeCache()
    assert len({id(cache.get(*key)) for key in [(8, 9, 1.0), (9, 8, 1.0), (8, 9, 2.0)]}) == 3
