"""Mean field: equal to the textbook update with all K channels, whatever the number of classes and problems."""

import numpy as np
import pytest
from numba import njit

from tests.model.crf.test_permutohedral import filtered
from toco.model.crf.mean_field import _exp, mean_field
from toco.model.crf.permutohedral import build_lattice
from toco.model.crf.pixel_lattice import build_pixel_lattice

HEIGHT, WIDTH = 9, 14
PIXELS = HEIGHT * WIDTH


@pytest.fixture(scope="module")
def lattices():
    colours = np.random.default_rng(3).uniform(0, 4, (3, PIXELS))
    places = np.indices((HEIGHT, WIDTH)).reshape(2, -1) / 6
    return build_pixel_lattice(WIDTH, HEIGHT, 2.0), build_lattice(np.concatenate([places, colours]).astype(np.float32))


def softmax(logits):
    odds = np.exp(logits - logits.max(0))
    return odds / odds.sum(0)


def textbook(energy, lattices, weights, iterations):
    """Algorithm 1 of Kraehenbuehl and Koltun with Potts compatibility, one channel a class, float64 sums."""
    q = softmax(-energy)
    for _ in range(iterations):
        messages = sum(
            weight * np.stack([filtered(lattice, channel[:, None].astype(np.float32))[:, 0] for channel in q])
            for lattice, weight in zip(lattices, weights, strict=True)
        )
        q = softmax(-energy + messages)
    return q


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 9, 17, 18, 34])
def test_equals_the_textbook_update(lattices, classes):
    energy = np.random.default_rng(classes).uniform(0, 4, (classes, PIXELS)).astype(np.float32)
    ours = mean_field(energy[None], *lattices, (3.0, 4.0), 5)[0]
    np.testing.assert_allclose(ours, textbook(energy, lattices, (3.0, 4.0), 5), atol=2e-5)


@pytest.mark.parametrize(("groups", "classes"), [(2, 2), (2, 3), (3, 2), (2, 4), (2, 21), (20, 2)])
def test_problems_do_not_touch_one_another(lattices, groups, classes):
    energies = np.random.default_rng(0).uniform(0, 4, (groups, classes, PIXELS)).astype(np.float32)
    together = mean_field(energies, *lattices, (3.0, 4.0), 5)
    apart = np.concatenate([mean_field(energy[None], *lattices, (3.0, 4.0), 5) for energy in energies])
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_no_iteration_is_the_softmax_of_the_energies(lattices):
    energy = np.random.default_rng(0).uniform(0, 12, (4, PIXELS)).astype(np.float32)
    np.testing.assert_allclose(mean_field(energy[None], *lattices, (3.0, 4.0), 0)[0], softmax(-energy), atol=1e-6)


def test_extreme_weights_neither_overflow_nor_underflow(lattices):
    energy = np.random.default_rng(0).uniform(0, 12, (3, PIXELS)).astype(np.float32)
    q = mean_field(energy[None], *lattices, (1e4, 1e4), 10)
    assert np.isfinite(q).all()
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)


def test_the_vector_exponential():
    @njit
    def exponentials(values):
        return np.array([_exp(value) for value in values])

    values = -np.concatenate([np.linspace(0, 87, 4001), [100.0, 1e30]]).astype(np.float32)
    np.testing.assert_allclose(
        exponentials(values), np.exp(np.maximum(values.astype(np.float64), -87)), rtol=6e-6, atol=0
    )
