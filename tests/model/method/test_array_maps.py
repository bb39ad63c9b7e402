"""Maps as arrays are those that torch makes of the same photo."""

import numpy as np
import pytest
import torch

from toco.model.method import array_maps, cams, segmentation
from toco.model.method.network import normalise_images

RNG = np.random.default_rng(0)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def maps(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def same(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize("size", [(30, 41), (45, 17), (90, 15), (15, 20)])
def test_the_input_of_the_network(size):
    pixels = RNG.integers(0, 256, (30, 41, 3), np.uint8)
    tensor = normalise_images(torch.from_numpy(pixels).permute(2, 0, 1)[None], MEAN, STD)
    found = array_maps.network_image(pixels, MEAN, STD, size)
    same(found, cams.resize(tensor, size)[0].permute(1, 2, 0))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.5, 0.75, 1.5])
def test_an_image_at_a_scale_straight_and_mirrored(scale, flip):
    image = maps(31, 50, 3)
    expected = cams.scaled_input(torch.from_numpy(image).permute(2, 0, 1)[None], scale, flip=flip)
    found = array_maps.views(image, scale, flip=flip)
    assert len(found) == len(expected)
    for view, tensor in zip(found, expected, strict=True):
        assert view.flags.c_contiguous
        same(view, tensor[None])


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_scores_of_what_hardly_shows_are_raised(share):
    raw = maps(3, 6, 8) - np.array([0.0, 2.0, 9.0], np.float32)[:, None, None]
    same(array_maps.lifted(raw, share), cams.lifted(torch.from_numpy(raw)[None], share)[0])


@pytest.mark.parametrize("flip", [False, True])
def test_the_share_of_a_scale_in_cams(flip):
    raws = maps(2 if flip else 1, 3, 6, 8)
    same(array_maps.joined_views(raws, (24, 20)), cams.upsample_pair(torch.from_numpy(raws), (24, 20), flip=flip)[0])


@pytest.mark.parametrize("flip", [False, True])
def test_the_share_of_a_scale_in_what_the_decoder_says(flip):
    found = maps(2 if flip else 1, 3, 6, 8)
    expected = segmentation.share_of_scale(torch.from_numpy(found), (24, 20), scales=1, flip=flip)[0]
    same(array_maps.resized(array_maps.mean_of_views(found), (24, 20)), expected)


def test_cams_fill_the_range_from_0_to_1_and_an_empty_one_stays_empty():
    found = maps(3, 6, 8)
    found[1] = 0
    same(array_maps.normalised(found), cams.normalise_cams(torch.from_numpy(found)[None])[0])


@pytest.mark.parametrize("channels", [(3, 0), (), (1,)])
def test_what_the_decoder_says_of_classes(channels):
    logits = 5 * maps(5, 3, 4)
    tensor = torch.from_numpy(logits)[None]
    same(array_maps.gated_probabilities(logits, channels), segmentation.gated_probabilities(tensor, channels)[0])
    same(array_maps.object_maps(logits, channels), segmentation.object_maps(tensor, channels)[0])
