"""Spreading of CAMs: a row-normalised affinity of auxiliary tokens, applied some times."""

import numpy as np
import pytest
import torch

from toco.model.method.affinity import spread
from toco.model.options import Affinity


def naive_spread(maps, tokens, power, rounds):
    """Maps (C, h, w) and tokens (d, h, w) of one image, one token after the other."""
    places = list(np.ndindex(maps.shape[1:]))
    for _ in range(rounds):
        out = np.zeros_like(maps)
        for place in places:
            own = tokens[:, *place]
            weights = []
            for other in places:
                their = tokens[:, *other]
                cosine = own @ their / (np.linalg.norm(own) * np.linalg.norm(their))
                weights.append(max(cosine, 0.0) ** power)
            for other, weight in zip(places, weights, strict=True):
                out[:, *place] += weight / sum(weights) * maps[:, *other]
        maps = out
    return maps


@pytest.mark.parametrize(("power", "rounds"), [(8.0, 2), (1.0, 1), (3.0, 3)])
def test_spreading_equals_a_loop_over_tokens(power, rounds, close):
    maps, tokens = torch.rand(2, 3, 3, 4), torch.randn(2, 6, 3, 4)
    found = spread(maps, tokens, Affinity(power=power, rounds=rounds))
    assert found.shape == maps.shape
    for b in range(2):
        close(found[b], naive_spread(maps[b].double().numpy(), tokens[b].double().numpy(), power, rounds))


def test_alike_tokens_share_their_mean(close):
    maps, tokens = torch.rand(1, 2, 3, 4), torch.ones(1, 5, 3, 4)
    close(spread(maps, tokens, Affinity()), maps.mean(dim=(2, 3), keepdim=True).expand(1, 2, 3, 4))


def test_tokens_that_have_nothing_in_common_keep_their_scores(close):
    maps, tokens = torch.rand(1, 2, 3, 4), torch.eye(12).reshape(1, 12, 3, 4)
    close(spread(maps, tokens, Affinity()), maps)


def test_opposite_tokens_do_not_mix(close):
    tokens = torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(1, 1, 2, 2)
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    close(spread(maps, tokens, Affinity()), torch.tensor([[[[0.5, 0.0], [0.5, 0.0]]]]))


def test_a_constant_map_stays_and_no_score_leaves_the_range_of_its_map(close):
    tokens = torch.randn(1, 6, 4, 4)
    close(spread(torch.full((1, 1, 4, 4), 0.4), tokens, Affinity()), torch.full((1, 1, 4, 4), 0.4))
    maps = torch.rand(1, 3, 4, 4)
    found = spread(maps, tokens, Affinity())
    assert bool((found.amax(dim=(2, 3)) <= maps.amax(dim=(2, 3)) + 1e-6).all())
    assert bool((found.amin(dim=(2, 3)) >= maps.amin(dim=(2, 3)) - 1e-6).all())


def test_the_result_is_float32_in_any_precision(device):
    maps, tokens = (torch.rand(1, 2, 3, 3, device=device, dtype=torch.bfloat16) for _ in range(2))
    found = spread(maps, tokens, Affinity())
    assert (found.dtype, found.device) == (torch.float32, maps.device)
