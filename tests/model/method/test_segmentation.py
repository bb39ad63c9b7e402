"""What the decoder says: straight and mirrored logits summed, the maximum over scales; maps of the tagged classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toco.model.errors import InvalidOption
from toco.model.method.segmentation import (
    gated_probabilities,
    multi_scale_logits,
    object_maps,
)


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
