"""Reduced tokens: dot products survive in an eighth of the space."""

import numpy as np
import pytest

from toco.model.errors import InvalidArray
from toco.model.method.reduced_tokens import DIMENSIONS, reduce_tokens


def _photo_tokens(rng: np.random.Generator) -> np.ndarray:
    """Tokens (32, 32, 384) as of a photo: some kinds of places in common directions, and noise."""
    kinds = rng.normal(size=(12, 384))
    shares = rng.dirichlet(np.full(12, 0.2), size=(32, 32))
    return (shares @ kinds + 0.2 * rng.normal(size=(32, 32, 384))).astype(np.float16)


def test_cosines_survive_the_reduction():
    tokens = _photo_tokens(np.random.default_rng(0))
    reduced = reduce_tokens(tokens)
    assert (reduced.values.shape, reduced.values.dtype) == ((32, 32, DIMENSIONS), np.int8)
    assert reduced.values.nbytes == 64 * 1024
    rows = tokens.reshape(-1, 384).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kept = reduced.vectors().reshape(-1, DIMENSIONS)
    error = np.abs(rows @ rows.T - kept @ kept.T)
    np.fill_diagonal(error, 0)  # what is lost of a token itself is its own noise
    assert np.quantile(error, 0.99) < 0.08
    assert np.corrcoef((rows @ rows.T).ravel(), (kept @ kept.T).ravel())[0, 1] > 0.99


def test_few_tokens_are_kept_whole():
    tokens = np.random.default_rng(1).normal(size=(2, 3, 384)).astype(np.float32)
    vectors = reduce_tokens(tokens).vectors()
    assert vectors.shape == (2, 3, 6)
    assert np.linalg.norm(vectors, axis=2) == pytest.approx(1.0, abs=0.02)


def test_dead_tokens_are_zero():
    assert not reduce_tokens(np.zeros((2, 2, 8), np.float16)).vectors().any()


def test_other_shapes_are_named():
    for tokens in (np.zeros((4, 8)), np.zeros((0, 3, 8))):
        with pytest.raises(InvalidArray, match="Tokens of shape"):
            reduce_tokens(tokens)
