"""Segmentation maps: the best channel, or what the dense CRF makes of the decoder's probabilities."""

import numpy as np

from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import SEGMENTATION_CRF
from toco.model.method.segmentation_map import segmentation_map

INDICES = (3, 9)


def probabilities(*scores):
    """(K, 1, n) of one row a class."""
    return np.array(scores, np.float32)[:, None, :]


def test_without_a_crf_the_best_channel_wins():
    stack = probabilities([0.6, 0.1, 0.2], [0.3, 0.8, 0.2], [0.1, 0.1, 0.6])
    found = segmentation_map(np.zeros((1, 3, 3), np.uint8), stack, INDICES, backend=crf_backend("auto"), settings=None)
    assert found.tolist() == [[0, 3, 9]]
    assert found.dtype == np.uint8


class Remembers:
    """A backend that swaps background and the first class."""

    def __init__(self):
        self.settings = []

    def prepare(self, image, settings):
        self.settings.append(settings)
        return self

    def infer(self, stack):
        return stack[[1, 0, 2]]


def test_the_crf_has_the_last_word_with_the_published_settings():
    backend = Remembers()
    stack = probabilities([0.6, 0.1, 0.2], [0.3, 0.8, 0.2], [0.1, 0.1, 0.6])
    found = segmentation_map(np.zeros((1, 3, 3), np.uint8), stack, INDICES, backend=backend)
    assert found.tolist() == [[3, 0, 9]]
    assert backend.settings == [SEGMENTATION_CRF]


def test_a_gated_photo_without_tags_is_background_without_any_crf():
    backend = Remembers()
    found = segmentation_map(np.zeros((1, 3, 3), np.uint8), probabilities([1.0, 1.0, 1.0]), (), backend=backend)
    assert found.tolist() == [[0, 0, 0]]
    assert not backend.settings


def test_the_real_crf_smooths_speckles():
    rng = np.random.default_rng(0)
    image = np.full((30, 40, 3), 40, np.uint8)
    image[:, 20:] = 220
    belief = np.where(np.arange(40) < 20, 0.3, 0.7) * np.ones((30, 1))
    belief = np.where(rng.random((30, 40)) < 0.1, 1 - belief, belief)  # a tenth of the pixels are wrong
    stack = np.stack([1 - belief, belief]).astype(np.float32)
    rough = segmentation_map(image, stack, (3,), backend=crf_backend("auto"), settings=None)
    smooth = segmentation_map(image, stack, (3,), backend=crf_backend("auto"))
    truth = np.where(np.arange(40) < 20, 0, 3) * np.ones((30, 1), np.uint8)
    assert (rough == truth).mean() < 0.95
    assert (smooth == truth).all()
