"""Real photos and class probabilities such as a network gives, for the tests of the dense CRF."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photo(samples: Path) -> Callable[..., np.ndarray]:
    """A sample photo as (H, W, 3) uint8, at most `side` pixels long."""

    def read(name: str = "cat", side: int = 160) -> np.ndarray:
        with Image.open(samples / f"{name}.jpg") as image:
            image.thumbnail((side, side))
            return np.asarray(image.convert("RGB"))

    return read


@pytest.fixture
def softmax_maps() -> Callable[..., np.ndarray]:
    """Smooth softmax maps (K, H, W) float32: random logits on a token grid, enlarged."""

    def make(classes: int, height: int, width: int, seed: int = 0) -> np.ndarray:
        coarse = np.random.default_rng(seed).normal(0, 2, (classes, 7, 7)).astype(np.float32)
        logits = np.stack(
            [np.asarray(Image.fromarray(c).resize((width, height), Image.Resampling.BILINEAR)) for c in coarse]
        )
        odds = np.exp(logits - logits.max(0))
        return (odds / odds.sum(0)).astype(np.float32)

    return make
