"""Augmentation: the valid box is exactly what is not padding, and every change of colour has its probability."""

import numpy as np
import pytest
import torch

from toco.model.training.augment import blur, colour_jitter, random_crop, random_resized_crop, view
from toco.model.training.config import AugmentationConfig


def config(**changes):
    return AugmentationConfig(**{"crop": 64} | changes)


STILL = {"jitter_probability": 0.0, "grey_probability": 0.0, "solarize_probability": 0.0}
SIZES = [(40, 50), (100, 50), (50, 100), (150, 130), (64, 64), (10, 200), (1, 1)]


def places(height, width):
    """Pixels that say where they are: red is the row, green the column, blue is never zero."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 200)], axis=2).astype(np.uint8)


def tensor(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, 20, 24), np.uint8))


@pytest.mark.parametrize("size", SIZES)
def test_the_valid_box_is_what_is_not_padding(size):
    image = np.random.default_rng(0).integers(1, 256, (*size, 3), np.uint8)  # no black pixel
    for seed in range(20):
        pixels, (y0, y1, x0, x1) = random_crop(image, config(), np.random.default_rng(seed))
        assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
        inside = np.zeros((64, 64), bool)
        inside[y0:y1, x0:x1] = True
        assert inside.any()
        assert (pixels[inside] > 0).all()
        assert not pixels[~inside].any()


@pytest.mark.parametrize("size", SIZES)
def test_the_box_holds_a_window_of_the_photo_mirrored_or_not(size):
    straight = set()
    for seed in range(20):
        pixels, (y0, y1, x0, x1) = random_crop(places(*size), config(rescale=(1.0, 1.0)), np.random.default_rng(seed))
        cut = pixels[y0:y1, x0:x1].astype(int)
        assert cut.shape[:2] == (min(size[0], 64), min(size[1], 64))
        assert (np.diff(cut[..., 0], axis=0) == 1).all()
        steps = np.unique(np.diff(cut[..., 1], axis=1))
        assert len(steps) <= 1
        straight |= set(steps.tolist())
    assert straight <= {1, -1}
    assert size[1] == 1 or len(straight) == 2  # both occur


def test_photos_are_rescaled_within_the_range():
    sides = []
    for seed in range(200):
        _, (y0, y1, x0, x1) = random_crop(places(40, 20), config(rescale=(0.5, 1.5)), np.random.default_rng(seed))
        sides.append((y1 - y0, x1 - x0))
    heights, widths = zip(*sides, strict=True)
    assert 20 <= min(heights) <= 22
    assert 58 <= max(heights) <= 60
    assert all(abs(height - 2 * width) <= 1 for height, width in zip(heights, widths, strict=True))


def test_the_second_view_shows_part_of_the_whole_photo():
    shares = []
    for seed in range(200):
        pixels = random_resized_crop(places(100, 120), config(crop=200), np.random.default_rng(seed)).astype(int)
        assert pixels.shape == (200, 200, 3)
        shares.append(np.ptp(pixels[..., 0]) * np.ptp(pixels[..., 1]) / (100 * 120))
    assert 0.35 < min(shares) < 0.45
    assert max(shares) > 0.9


def test_without_any_probability_a_view_is_the_image():
    setting = config(**STILL)
    assert torch.equal(colour_jitter(tensor(), setting, np.random.default_rng(0)), tensor())
    assert torch.equal(blur(tensor(), np.random.default_rng(0), probability=0.0), tensor())


def test_grey_has_three_equal_channels():
    found = colour_jitter(tensor(), config(**STILL | {"grey_probability": 1.0}), np.random.default_rng(0))
    assert found.shape == (3, 20, 24)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("which", range(4))
def test_each_kind_of_jitter_changes_the_colours(which):
    strengths = [0.0] * 4
    strengths[which] = 0.4
    setting = config(**STILL | {"jitter_probability": 1.0, "jitter": tuple(strengths)})
    found = colour_jitter(tensor(), setting, np.random.default_rng(0))
    assert (found.dtype, found.shape) == (torch.uint8, (3, 20, 24))
    assert not torch.equal(found, tensor())


def test_jitter_happens_as_often_as_its_probability_says():
    setting = config(**STILL | {"jitter_probability": 0.8})
    changed = [
        not torch.equal(colour_jitter(tensor(), setting, np.random.default_rng(seed)), tensor()) for seed in range(200)
    ]
    assert 0.7 < np.mean(changed) < 0.9


def test_the_first_view_is_always_blurred_and_the_second_seldom():
    setting = config(**STILL)
    spread = float(tensor().float().std())
    first = [view(tensor(), setting, np.random.default_rng(seed), second=False) for seed in range(40)]
    second = [view(tensor(), setting, np.random.default_rng(seed), second=True) for seed in range(40)]
    assert np.mean([float(image.float().std()) < 0.9 * spread for image in first]) > 0.7
    assert np.mean([torch.equal(image, tensor()) for image in second]) > 0.7


def test_only_the_second_view_is_solarised():
    setting = config(**STILL | {"solarize_probability": 1.0})
    bright = torch.full((3, 20, 24), 250, dtype=torch.uint8)
    assert int(view(bright, setting, np.random.default_rng(0), second=True).max()) == 5
    assert int(view(bright, setting, np.random.default_rng(0), second=False).min()) == 250


def test_everything_follows_the_generator_alone():
    image = places(90, 120)
    runs = []
    for seed in (3, 3, 4):
        rng = np.random.default_rng(seed)
        crop = random_crop(image, config(), rng).pixels
        whole = random_resized_crop(image, config(), rng)
        runs.append(np.stack([view(torch.from_numpy(x).permute(2, 0, 1), config(), rng, second=True)
                              for x in (crop, whole)]))  # fmt: skip
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
