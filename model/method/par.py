"""PAR: pixel-adaptive refinement of masks by the image's own colours.

References:
    ToCo, section 3.1, after AFA (Ru et al., CVPR 2022), section 3.3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from toco.model.errors import InvalidArray

DILATIONS = (1, 2, 4, 8, 12, 24)
ITERATIONS = 10
SHARPNESS = 0.3  # divides the normalised difference, in colour and in position
POSITION_WEIGHT = 0.01
STD_EPSILON = 1e-8

_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def neighbours(maps: Tensor, dilations: tuple[int, ...] = DILATIONS) -> Tensor:
    """Stack the 8 neighbours of every pixel at each distance, borders replicated.

    Args:
        maps: (b, c, H, W).
        dilations: distances in pixels.

    Returns:
        (b, c, 8 * len(dilations), H, W).
    """
    height, width = maps.shape[-2:]
    stacked = []
    for distance in dilations:
        padded = F.pad(maps, (distance,) * 4, mode="replicate")
        for dy, dx in _OFFSETS:
            top, left = distance * (1 + dy), distance * (1 + dx)
            stacked.append(padded[:, :, top : top + height, left : left + width])
    return torch.stack(stacked, dim=2)


def affinity(images: Tensor, dilations: tuple[int, ...] = DILATIONS) -> Tensor:
    """Return the weight of each neighbour of every pixel; the weights of a pixel sum to 1.01.

    Args:
        images: (b, 3, H, W) float RGB in 0..1.
        dilations: distances in pixels.

    Returns:
        (b, 8 * len(dilations), H, W).
    """
    around = neighbours(images, dilations)
    spread = around.std(dim=2, keepdim=True) + STD_EPSILON
    colour = -(((around - images[:, :, None]).abs() / spread / SHARPNESS) ** 2)
    colour = colour.mean(dim=1).softmax(dim=1)  # (b, n, H, W)
    distance = images.new_tensor([size * (2**0.5 if dy and dx else 1.0) for size in dilations for dy, dx in _OFFSETS])
    position = -((distance / (distance.std() + STD_EPSILON) / SHARPNESS) ** 2)
    return colour + POSITION_WEIGHT * position.softmax(dim=0)[None, :, None, None]


def par(
    images: Tensor, masks: Tensor, *, iterations: int = ITERATIONS, dilations: tuple[int, ...] = DILATIONS
) -> Tensor:
    """Refine masks by replacing each pixel with the weighted sum of its neighbours, several times.

    Args:
        images: (b, 3, H, W) float RGB in 0..1.
        masks: (b, c, h, w) float; resized to (H, W), bilinear, align_corners=True.
        iterations: how often.
        dilations: distances in pixels.

    Returns:
        (b, c, H, W) float, scaled by about 1.01 an iteration.

    Raises:
        InvalidArray: shapes that do not belong together.
    """
    if images.ndim != 4 or masks.ndim != 4 or images.shape[0] != masks.shape[0] or images.shape[1] != 3:
        raise InvalidArray(
            f"Images {tuple(images.shape)} and masks {tuple(masks.shape)}.", fix="Give (b, 3, H, W) and (b, c, h, w)."
        )
    masks = F.interpolate(masks, size=images.shape[-2:], mode="bilinear", align_corners=True)
    weights = affinity(images, dilations)
    height, width = images.shape[-2:]
    for _ in range(iterations):
        refined = torch.zeros_like(masks)
        position = 0
        for distance in dilations:
            padded = F.pad(masks, (distance,) * 4, mode="replicate")
            for dy, dx in _OFFSETS:
                top, left = distance * (1 + dy), distance * (1 + dx)
                weight = weights[:, position, None]
                refined.addcmul_(padded[:, :, top : top + height, left : left + width], weight)
                position += 1
        masks = refined
    return masks
