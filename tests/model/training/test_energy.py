"""The dense energy loss and its filter, against brute-force sums over all pairs of pixels."""

import numpy as np
import pytest
import torch

from toco.model.crf.gaussian_filter import gaussian_filter
from toco.model.errors import InvalidArray
from toco.model.training.energy import SIGMA_RGB, SIGMA_XY, WEIGHT, dense_energy_loss


def brute_force(features, values):
    distance = ((features[:, :, None] - features[:, None, :]) ** 2).sum(axis=0)
    return values @ np.exp(-distance / 2)


def test_the_filter_is_a_gaussian_sum_over_all_points():
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 3, (3, 400)).astype(np.float32)
    values = rng.uniform(0, 1, (5, 400)).astype(np.float32)
    found, expected = gaussian_filter(features, values), brute_force(features, values)
    # The lattice's kernel is a little narrower than a Gaussian: a constant factor, and a few percent around it.
    ratio = found / expected
    assert 0.5 < ratio.mean() < 1.1
    assert ratio.std() / ratio.mean() < 0.05


def test_channels_do_not_mix_however_many_there_are():
    rng = np.random.default_rng(1)
    features = rng.uniform(0, 2, (2, 60)).astype(np.float32)
    values = rng.uniform(0, 1, (21, 60)).astype(np.float32)
    alone = np.concatenate([gaussian_filter(features, values[k : k + 1]) for k in range(21)])
    np.testing.assert_allclose(gaussian_filter(features, values), alone, rtol=1e-5)


def test_values_must_belong_to_the_points():
    with pytest.raises(InvalidArray, match=r"\(2, 5\)"):
        gaussian_filter(np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32))


def photo():
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[:, :, :, 8:] = 200.0
    return pixels


def test_energy_is_the_gated_sum_over_pairs():
    logits = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    open_labels = torch.full((1, 16, 16), 255)
    small = torch.nn.functional.interpolate(logits.softmax(dim=1), (8, 8), mode="bilinear")
    rows, columns = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    colour = np.where(columns < 4, 0.0, 200.0) / SIGMA_RGB
    features = np.stack([rows * 2 / SIGMA_XY, columns * 2 / SIGMA_XY, colour, colour, colour]).reshape(5, -1)
    maps = small[0].reshape(3, -1).numpy()
    expected = -WEIGHT * (maps * brute_force(features, maps)).sum()
    assert 0.5 < float(dense_energy_loss(photo(), logits, open_labels)) / expected < 1.1


def test_classes_that_follow_the_colours_have_less_energy():
    follows, across = torch.full((1, 2, 16, 16), -4.0), torch.full((1, 2, 16, 16), -4.0)
    follows[:, 0, :, :8], follows[:, 1, :, 8:] = 4.0, 4.0
    across[:, 0, :8], across[:, 1, 8:] = 4.0, 4.0
    labels = torch.full((1, 16, 16), 255)
    assert dense_energy_loss(photo(), follows, labels) < dense_energy_loss(photo(), across, labels)


def test_a_sure_decoder_is_not_pulled_where_the_labels_are_closed():
    logits = torch.zeros(1, 2, 16, 16)
    logits[:, 0] = 30.0
    logits.requires_grad_()
    dense_energy_loss(photo(), logits, torch.zeros(1, 16, 16, dtype=torch.int64)).backward()
    assert float(logits.grad.abs().max()) == 0.0


def test_nothing_outside_the_valid_box_counts():
    logits = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
    boxes = torch.tensor([[0, 16, 0, 8]])
    dense_energy_loss(photo(), logits, torch.full((1, 16, 16), 255), boxes).backward()
    assert float(logits.grad[..., 8:].abs().max()) == 0.0
    assert float(logits.grad[..., :8].abs().max()) > 0.0
