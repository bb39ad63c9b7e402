"""Spreading of CAMs over the token grid by the affinity of the auxiliary tokens. Not part of the paper.

A CAM lights up the most telling part of an object (a face); tokens of the rest of the object look alike in the
inner block that feeds the auxiliary classifier, so that the map can be carried over to them without new weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from toco.model.options import Affinity


def spread(maps: Tensor, aux_patches: Tensor, settings: Affinity) -> Tensor:
    """Replace each score by the mean of the scores of alike tokens, some rounds long.

    Args:
        maps: (b, C, h, w) scores on the token grid, 0 or more.
        aux_patches: (b, d, h, w) auxiliary patch tokens.
        settings: exponent and rounds.

    Returns:
        (b, C, h, w) float32.
    """
    tokens = F.normalize(aux_patches.flatten(2).float(), dim=1)
    affinity = torch.bmm(tokens.transpose(1, 2), tokens).clamp_min(0.0).pow(settings.power)  # (b, hw, hw)
    affinity = affinity / affinity.sum(dim=2, keepdim=True)
    scores = maps.flatten(2).float().transpose(1, 2)  # (b, hw, C)
    for _ in range(settings.rounds):
        scores = torch.bmm(affinity, scores)
    return scores.transpose(1, 2).reshape(maps.shape)
