"""Refined labels for the decoder: tagged CAMs with a background score, cleaned by PAR.

References:
    ToCo, section 3.1 (pseudo labels of the segmentation branch).
"""

import torch
from torch import Tensor

from toco.model.method.cams import outside_box, resize
from toco.model.method.par import par
from toco.model.options import VOC_THRESHOLDS, Thresholds
from toco.model.photos.classes import BACKGROUND, IGNORE


def refined_label(
    images: Tensor,
    cams: Tensor,
    tags: Tensor,
    *,
    boxes: Tensor | None = None,
    thresholds: Thresholds = VOC_THRESHOLDS,
    downscale: int = 2,
) -> Tensor:
    """Turn CAMs into labels that follow the image's edges.

    Per image, the tagged CAMs get a constant background score, once `thresholds.high` and once `thresholds.low`;
    both stacks go through softmax and PAR at reduced size and are resized back. Where the high run says
    background the pixel is ignored; where both do it is background.

    Args:
        images: (b, 3, H, W) float RGB in 0..1.
        cams: (b, C, h, w) in 0..1; tagged ones are resized to (H, W).
        tags: (b, C) multi-hot.
        boxes: (b, 4) valid boxes (see `cams.outside_box`); ignored outside.
        thresholds: background scores.
        downscale: factor by which PAR works on smaller maps.

    Returns:
        (b, H, W) int64, channel + 1, 0 for background, 255 for ignored.
    """
    height, width = images.shape[-2:]
    size = (height // downscale, width // downscale)
    small_images = resize(images, size)
    labels = cams.new_full((cams.shape[0], height, width), IGNORE, dtype=torch.int64)
    for position in range(cams.shape[0]):
        channels = tags[position].nonzero().flatten()
        # Background in front, then the tagged classes: argmax 0 means background.
        values = torch.cat([channels.new_zeros(1), channels + 1])
        if not len(channels):  # resizing cannot take zero channels
            labels[position] = BACKGROUND
            continue
        tagged = resize(cams[position, channels][None], (height, width))
        stacks = []
        for level in (thresholds.high, thresholds.low):
            background = tagged.new_full((1, 1, height, width), level)
            stack = torch.cat([background, tagged], dim=1)
            stacks.append(resize(stack, size).softmax(dim=1))
        # One pass: the neighbour weights depend on the image alone.
        refined = par(small_images[position][None], torch.cat(stacks, dim=1))
        refined = resize(refined, (height, width))
        high, low = (values[stack.argmax(dim=1)][0] for stack in refined.chunk(2, dim=1))
        label = high.masked_fill(high == BACKGROUND, IGNORE)
        labels[position] = label.masked_fill((high == BACKGROUND) & (low == BACKGROUND), BACKGROUND)
    return outside_box(labels, boxes)
