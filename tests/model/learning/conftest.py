"""Photos of coloured squares on grey, and a reader whose tokens are their colours: learning in milliseconds."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toco.model.learning.tokens import PhotoTokens
from toco.model.method.device import choose_device
from toco.model.photos.classes import Vocabulary

COLOURS = {"rost": (200, 40, 40), "moos": (40, 180, 60), "see": (50, 60, 210), "senf": (210, 190, 40)}
GRID = (8, 8)
GREY = 110


class ColourTokens:
    """Reads photos as the colours of 8 x 8 places; an object is what is not grey."""

    def __init__(self, known=(), digest="colours"):
        self.device = choose_device("cpu", "float32")
        self.side = 64
        self.vocabulary = Vocabulary.of_names(known) if known else None
        self.digest = digest

    def read(self, photos):
        return [self._of(pixels) for pixels in photos]

    def _of(self, pixels):
        small = cv2.resize(pixels, GRID, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32)
        prior = np.clip((small.max(axis=1) - small.min(axis=1)) / 60.0, 0.05, 0.95)
        tokens = F.normalize(torch.from_numpy(np.hstack([small - GREY, np.full((64, 1), 30.0, np.float32)])), dim=1)
        centres = torch.tensor([COLOURS[name] for name in (self.vocabulary.names if self.vocabulary else ())]).reshape(
            -1, 3
        )
        distance = torch.cdist(torch.from_numpy(small), centres.float()) if len(centres) else torch.zeros(64, 0)
        return PhotoTokens(tokens.half(), torch.from_numpy(prior).float(), (-distance / 30.0).softmax(dim=1), GRID)


def photo(words, seed):
    """Grey noise with one square a word, side by side: (64, 64, 3) uint8."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(GREY - 10, GREY + 10, (64, 64, 3)).astype(np.uint8)
    for place, word in enumerate(words):
        left = 4 + 32 * (place % 2)
        top = int(rng.integers(4, 30))
        pixels[top : top + 24, left : left + 24] = np.array(COLOURS[word]) + rng.integers(-12, 12, 3)
    return pixels


@pytest.fixture(scope="session")
def job():
    """Sixty photos: words of each, and their pixels; half show one word, half two."""
    names = list(COLOURS)
    words = [(names[k % 4],) if k < 30 else (names[k % 4], names[(k + 1 + k % 3) % 4]) for k in range(60)]
    return words, [photo(found, seed) for seed, found in enumerate(words)]


@pytest.fixture(scope="session")
def reader():
    return ColourTokens()
