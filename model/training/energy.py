"""The dense energy loss: pixels that are near and of like colour should get like classes. Optional.

References:
    Tang, Perazzi, Djelouah, Ben Ayed, Schroers, Boykov, "On Regularized Losses for Weakly-supervised CNN
    Segmentation", ECCV 2018 (rloss, MIT); ToCo, section 3.4.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from toco.model.crf.gaussian_filter import gaussian_filter
from toco.model.method.cams import outside_box, resize
from toco.model.photos.classes import IGNORE

WEIGHT = 1e-7
SIGMA_RGB = 15.0
SIGMA_XY = 100.0
DOWNSCALE = 2


class _DenseEnergy(torch.autograd.Function):
    """-sum_k s_k^T G K s_k of gated class maps; the gradient takes the gated affinity G K for symmetric, as rloss."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, gate: Tensor, features: Tensor) -> Tensor:
        batch, classes = maps.shape[:2]
        filtered = np.stack(
            [
                gaussian_filter(
                    features[image].flatten(1).cpu().numpy(),
                    maps[image].detach().reshape(classes, -1).float().cpu().numpy(),
                )
                for image in range(batch)
            ]
        )
        agreed = torch.from_numpy(filtered).to(maps).reshape(maps.shape) * gate
        ctx.save_for_backward(agreed)
        return -(maps * agreed).sum() / batch

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (agreed,) = ctx.saved_tensors
        return -2.0 * gradients[0] * agreed / agreed.shape[0], None, None


def dense_energy_loss(pixels: Tensor, logits: Tensor, labels: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Energy of the decoder's probabilities under a bilateral kernel.

    The pull on a pixel is gated by how unsure the decoder is of it; pixels that the labels leave open are pulled
    in full. Outside the valid box nothing counts.

    Args:
        pixels: (b, 3, H, W) RGB in 0..255.
        logits: (b, C + 1, H, W) decoder logits.
        labels: (b, H, W) refined labels, 255 where they are open.
        boxes: (b, 4) valid boxes (see `cams.outside_box`).

    Returns:
        Scalar, 0 or less.
    """
    height, width = (side // DOWNSCALE for side in pixels.shape[-2:])
    maps = resize(logits.float().softmax(dim=1), (height, width))
    # Labels are picked, not mixed.
    picked = labels[:, ::DOWNSCALE, ::DOWNSCALE][:, :height, :width]
    inside = torch.ones_like(picked)
    if boxes is not None:
        inside = outside_box(inside, torch.div(boxes, DOWNSCALE, rounding_mode="floor"), fill=0)
    valid = inside[:, None].to(maps.dtype)
    unsure = (valid - maps.detach().amax(dim=1, keepdim=True)).clamp_min(0.0)
    gate = torch.where((picked == IGNORE)[:, None], valid, unsure)
    energy: Tensor = _DenseEnergy.apply(maps * valid, gate, _features(pixels, (height, width)))
    return WEIGHT * energy


def _features(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (b, 5, H, W): place and colour over their standard deviations; the spatial one shrinks with the image."""
    colours = resize(pixels.float(), size) / SIGMA_RGB
    rows = torch.arange(size[0], device=pixels.device, dtype=torch.float32)[:, None].expand(size)
    columns = torch.arange(size[1], device=pixels.device, dtype=torch.float32)[None, :].expand(size)
    place = torch.stack([rows, columns]) * (DOWNSCALE / SIGMA_XY)
    return torch.cat([place[None].expand(pixels.shape[0], -1, -1, -1), colours], dim=1)
