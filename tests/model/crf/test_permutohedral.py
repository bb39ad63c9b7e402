"""The permutohedral lattice: against a plain-Python lattice, against the true Gaussian, and at its limits."""

import numpy as np
import pytest

from tests.model.crf.lattice_oracle import normalised_filter, simplex
from toco.model.crf.errors import CrfError
from toco.model.crf.permutohedral import build_lattice


def filtered(lattice, values):
    """Values (n, c) through a lattice: splat, blur, slice."""
    held = np.zeros((lattice.size, values.shape[1]), np.float32)
    for corner, weight in zip(lattice.corners.T, lattice.weights.T, strict=True):
        np.add.at(held, corner, weight[:, None] * values)
    lattice.blur(held)
    return sum(w[:, None] * held[c] for c, w in zip(lattice.corners.T, lattice.weights.T, strict=True))


def points(dimensions, count=120, spread=3.0, seed=0):
    # A multiple of four: the lattice then adds no point of its own.
    return np.random.default_rng(seed).uniform(0, spread, (dimensions, count)).astype(np.float32)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [0.5, 3.0, 12.0])
def test_equals_the_plain_python_lattice(dimensions, spread):
    features = points(dimensions, spread=spread)
    values = np.random.default_rng(1).normal(size=(features.shape[1], 1)).astype(np.float32)
    expected = normalised_filter(features.T, values[:, 0])
    np.testing.assert_allclose(filtered(build_lattice(features), values)[:, 0], expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 16])
def test_channels_are_filtered_alike_and_apart(channels):
    lattice = build_lattice(points(5))
    values = np.random.default_rng(1).normal(size=(lattice.corners.shape[0], channels)).astype(np.float32)
    apart = np.concatenate([filtered(lattice, values[:, c : c + 1]) for c in range(channels)], axis=1)
    np.testing.assert_allclose(filtered(lattice, values), apart, atol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 5])
def test_approximates_the_gaussian(dimensions):
    features = points(dimensions, count=400, spread=2.0)
    values = np.sin(features.sum(0))[:, None].astype(np.float32)
    squares = ((features[:, :, None] - features[:, None, :]) ** 2).sum(0)
    kernel = np.exp(-squares / 2)
    rows = np.sqrt(kernel.sum(1))
    exact = (kernel / rows[:, None] / rows[None, :]) @ values
    error = filtered(build_lattice(features), values) - exact
    assert np.sqrt((error**2).mean()) < 0.06 * np.sqrt((exact**2).mean())


def test_corners_around_a_point_are_those_of_the_plain_lattice():
    features = points(3, count=40)
    lattice = build_lattice(features)
    expected = [[corner for corner, _ in simplex(feature)] for feature in features.T]
    numbers = {}
    for ours, theirs in zip(lattice.corners, expected, strict=True):
        for number, corner in zip(ours, theirs, strict=True):
            assert numbers.setdefault(corner, number) == number
    assert len(numbers) == lattice.size


def test_normalisation_makes_rows_of_a_single_point_one():
    lattice = build_lattice(np.repeat(points(5, count=1), 8, axis=1))
    np.testing.assert_allclose(filtered(lattice, np.ones((8, 1), np.float32)), 1, rtol=1e-5)


def test_the_hash_table_grows_when_every_point_has_corners_of_its_own():
    features = points(5, count=12_000, spread=40.0)
    lattice = build_lattice(features)
    assert lattice.size > 4 * features.shape[1]
    assert len(np.unique(lattice.corners)) == lattice.size
    assert lattice.corners.max() == lattice.size - 1


def test_the_operator_is_symmetric_up_to_the_order_of_the_directions():
    lattice = build_lattice(points(2, count=60))
    matrix = filtered(lattice, np.eye(60, dtype=np.float32)[:, :16]), np.eye(60, dtype=np.float32)
    np.testing.assert_allclose(matrix[0][:16], matrix[0][:16].T, atol=0.03)


def test_coordinates_beyond_float_precision_are_refused():
    with pytest.raises(CrfError, match=r"lattice coordinate \d+; .*Raise the CRF's standard deviations"):
        build_lattice(np.array([[0.0, 1e6]], np.float32))


def test_keys_beyond_64_bits_are_refused():
    features = np.array([[0.0, 2e4]] * 5, np.float32)
    with pytest.raises(CrfError, match=r"lattice cells; the limit is 9.22e\+18"):
        build_lattice(features)
