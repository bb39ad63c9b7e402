"""Segmentation maps: straight and mirrored logits summed, the maximum over scales, then the CRF."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import SEGMENTATION_CRF
from toco.model.errors import InvalidOption
from toco.model.method.segmentation import (
    gated_probabilities,
    multi_scale_logits,
    object_maps,
    segmentation_map,
)

INDICES = (3, 9)


@pytest.fixture
def decode(network):
    @torch.no_grad()
    def run(images):
        return network(images)[1]

    return run


def bilinear(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def test_logits_are_summed_over_mirroring_and_maximised_over_scales(decode, close):
    images = torch.randn(2, 3, 36, 51)
    found = multi_scale_logits(decode, images)
    runs = []
    for size in ((36, 51), (45, 63), (54, 76)):  # scales 1, 1.25 and 1.5, truncated
        scaled = bilinear(images, size)
        straight = bilinear(decode(scaled), (36, 51))
        mirrored = bilinear(decode(scaled.flip(-1)), (36, 51)).flip(-1)
        runs.append(straight + mirrored)
    assert found.shape == (2, 6, 36, 51)
    close(found, np.max([run.numpy() for run in runs], axis=0))


def test_one_scale_without_mirroring_is_the_decoder_itself(decode, close):
    images = torch.randn(1, 3, 48, 64)
    close(multi_scale_logits(decode, images, scales=(1.0,), flip=False), bilinear(decode(images), (48, 64)))


def test_channels_are_kept_in_the_order_asked_for(decode, close):
    images = torch.randn(1, 3, 48, 64)
    everything = multi_scale_logits(decode, images)
    close(multi_scale_logits(decode, images, channels=(0, 4, 2)), everything[:, [0, 4, 2]])


def test_without_any_scale_there_is_nothing_to_say(decode):
    with pytest.raises(InvalidOption, match="No scale"):
        multi_scale_logits(decode, torch.randn(1, 3, 48, 64), scales=())


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


def test_gated_probabilities_choose_between_background_and_the_classes_asked_for(close):
    logits = torch.randn(2, 5, 3, 4)
    maps = gated_probabilities(logits, [3, 0])
    close(maps, logits[:, [0, 4, 1]].softmax(dim=1)[:, 1:])
    assert gated_probabilities(logits, []).shape == (2, 0, 3, 4)


def test_an_object_is_whatever_is_not_background_and_its_classes_are_those_asked_for(close):
    logits = torch.randn(2, 5, 3, 4)
    probabilities = logits.softmax(dim=1)
    maps = object_maps(logits, [3, 0])
    close(maps[:, 0], probabilities[:, 1:].sum(dim=1))
    close(maps[:, 1:], probabilities[:, [4, 1]])
    assert object_maps(logits, []).shape == (2, 1, 3, 4)
