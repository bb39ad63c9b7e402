"""Local crops of the class token contrast.

References:
    ToCo, section 3.3: crops from uncertain and background regions of the auxiliary CAM.
"""

import numpy as np
import torch
from torch import Tensor

from toco.model.training.config import ContrastConfig

SURE_FOREGROUND = 2  # of `cams.region_mask`; no crop is centred there


def local_crops(
    images: Tensor, regions: Tensor, config: ContrastConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cut local crops around random points that are not sure foreground.

    Args:
        images: (b, 3, H, W) network input.
        regions: (b, H, W) region mask of 0 (background), 1 (doubt), 2 (foreground).
        config: number, size, border and the bound under which a crop is negative.
        rng: source of the points.

    Returns:
        (n * b, 3, s, s) crops, crop-major, and (b, n) float flags, 1 = positive, 0 = negative. Where an image has
        no candidate point, crops are centred anywhere.
    """
    count, size, border = config.local_crops, config.local_size, config.border
    half = size // 2
    margin = max(border, half)
    height, width = images.shape[-2:]
    crops = images.new_empty((count, images.shape[0], 3, size, size))
    flags = images.new_ones((images.shape[0], count))
    candidates = (regions[:, margin : height - margin, margin : width - margin] < SURE_FOREGROUND).cpu().numpy()
    for position in range(images.shape[0]):
        rows, columns = np.nonzero(candidates[position])
        if not rows.size:
            rows, columns = np.nonzero(np.ones_like(candidates[position]))
        for crop, pick in enumerate(rng.integers(rows.size, size=count)):
            top = int(rows[pick]) + margin - half
            left = int(columns[pick]) + margin - half
            crops[crop, position] = images[position, :, top : top + size, left : left + size]
            region = regions[position, top : top + size, left : left + size]
            flags[position, crop] = float(region.float().mean() > config.negative_below)
    return crops.flatten(0, 1), flags


def with_global_flags(flags: Tensor, views: int) -> Tensor:
    """Prepend the always positive flags of the global views: (b, n) to (b, views + n)."""
    return torch.cat([flags.new_ones((flags.shape[0], views)), flags], dim=1)
