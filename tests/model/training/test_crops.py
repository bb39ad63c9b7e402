"""Local crops: where they are centred, how they are laid out, and which of them are negative."""

import numpy as np
import pytest
import torch

from toco.model.training.config import ContrastConfig
from toco.model.training.crops import local_crops, with_global_flags


def config(**changes):
    return ContrastConfig(**{"local_crops": 6, "local_size": 16, "border": 10} | changes)


def places(height=50, width=60, images=2):
    """Images whose pixels say where they are: red is the row, green the column, blue the image."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.stack([rows, columns, torch.full_like(rows, b)]) for b in range(images)]).float()


def centres(crops, count, images):
    """(count, images, 2) centre rows and columns, read off the pixels."""
    size = crops.shape[-1]
    return crops.reshape(count, images, 3, size, size)[:, :, :2, size // 2, size // 2].long()


def test_crops_are_whole_windows_in_crop_major_order():
    crops, flags = local_crops(places(), torch.ones(2, 50, 60), config(), np.random.default_rng(0))
    assert crops.shape == (12, 3, 16, 16)
    assert flags.shape == (2, 6)
    assert crops[:, 2, 0, 0].tolist() == [0, 1] * 6  # all images of crop 0, then of crop 1, ...
    for crop in crops:
        assert torch.equal(crop[0] - crop[0, 0, 0], torch.arange(16.0)[:, None].expand(16, 16))
        assert torch.equal(crop[1] - crop[1, 0, 0], torch.arange(16.0).expand(16, 16))


@pytest.mark.parametrize(("size", "border", "margin"), [(16, 10, 10), (32, 10, 16)])
def test_centres_keep_away_from_the_border(size, border, margin):
    setting = config(local_crops=200, local_size=size, border=border)
    crops, _ = local_crops(places(), torch.ones(2, 50, 60), setting, np.random.default_rng(0))
    found = centres(crops, 200, 2).reshape(-1, 2)
    assert found.amin(dim=0).tolist() == [margin, margin]
    assert found.amax(dim=0).tolist() == [50 - margin - 1, 60 - margin - 1]


def test_no_crop_is_centred_on_sure_foreground():
    regions = torch.full((2, 50, 60), 2)
    regions[0, 20:25, 30:40] = 1
    regions[1, 15:18, 12:20] = 0
    crops, _ = local_crops(places(), regions, config(local_crops=50), np.random.default_rng(0))
    for image in range(2):
        for row, column in centres(crops, 50, 2)[:, image].tolist():
            assert regions[image, row, column] < 2


def test_where_everything_is_foreground_crops_are_centred_anywhere():
    crops, flags = local_crops(places(), torch.full((2, 50, 60), 2), config(), np.random.default_rng(0))
    assert crops.shape == (12, 3, 16, 16)
    assert bool((flags == 1).all())


@pytest.mark.parametrize(("doubtful", "positive"), [(0, False), (3, False), (4, True), (16, True)])
def test_a_crop_is_negative_where_its_mask_averages_a_fifth_or_less(doubtful, positive):
    regions = torch.zeros(1, 48, 48)
    for pixel in range(doubtful):  # so many of 16 pixels, in every window alike: 3 are 0.1875 of them, 4 are 0.25
        regions[0, pixel // 4 :: 4, pixel % 4 :: 4] = 1
    _, flags = local_crops(places(48, 48, 1), regions, config(), np.random.default_rng(0))
    assert bool((flags == float(positive)).all())


def test_a_crop_that_averages_exactly_the_bound_is_negative():
    regions = torch.ones(1, 48, 48)
    _, flags = local_crops(places(48, 48, 1), regions, config(negative_below=1.0), np.random.default_rng(0))
    assert not flags.any()


def test_places_follow_the_generator_alone():
    regions = torch.ones(2, 50, 60)
    first, second, other = (local_crops(places(), regions, config(), np.random.default_rng(n))[0] for n in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_global_views_are_always_positive():
    assert with_global_flags(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 2).tolist() == [[1, 1, 0, 1], [1, 1, 0, 0]]
