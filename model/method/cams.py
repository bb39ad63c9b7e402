"""Class activation maps: multi-scale flip CAMs, the tag gate, and the rules that turn scores into labels.

References:
    ToCo, sections 3.1 (CAM), 3.2 (token labels) and 3.3 (region mask of the auxiliary CAM).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from toco.model.errors import InvalidArray
from toco.model.method.array_maps import EPSILON
from toco.model.options import VOC_THRESHOLDS, Thresholds
from toco.model.photos.classes import BACKGROUND, IGNORE

_DEAD_CAM = 1e-3  # scores under this tell tagged classes apart no more

CamFunction = Callable[[Tensor], Sequence[Tensor]]
"""Maps (b, 3, H, W) images to one or more raw CAMs (b, C, h, w), all on the same token grid."""


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (b, c, h, w) to (H, W), bilinear, align_corners=False; nothing happens where they have that size."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def normalise_cams(cams: Tensor) -> Tensor:
    """Scale each map to 0..1: subtract its spatial minimum, divide by (its maximum + 1e-5).

    Args:
        cams: (b, C, H, W) float, 0 or more.

    Returns:
        The same shape, in 0..1.
    """
    cams = cams - cams.amin(dim=(-2, -1), keepdim=True)
    return cams / (cams.amax(dim=(-2, -1), keepdim=True) + EPSILON)


def lifted(raw: Tensor, share: float) -> Tensor:
    """Raise the scores of classes that hardly show: what is tagged is there, however little its CAM says so.

    A score counts as an object's from 0 on, as published; or, where that is lower, from a place between the map's
    minimum and maximum on. Not in the paper: there a tag whose scores are all under 0 owns nothing.

    Args:
        raw: (b, C, h, w) raw CAMs of tagged classes, before ReLU.
        share: where between minimum (0) and maximum (1) that place is; 1 changes nothing.

    Returns:
        (b, C, h, w), to be clamped at 0.
    """
    low, high = raw.amin(dim=(-2, -1), keepdim=True), raw.amax(dim=(-2, -1), keepdim=True)
    return raw - torch.lerp(low, high, share).clamp_max(0.0)


def upsample_pair(raw: Tensor, size: Sequence[int], *, flip: bool) -> Tensor:
    """Bring the raw CAMs of one scale to the input size; the share of one scale in the sum.

    Args:
        raw: (b, C, h, w), or (2 b, C, h, w) with `flip`: the straight images, then the mirrored ones.
        size: (H, W).
        flip: un-mirror the second half and keep the elementwise maximum.

    Returns:
        (b, C, H, W) float32, 0 or more.
    """
    maps = resize(raw.float(), size)
    if flip:
        straight, mirrored = maps.chunk(2)
        maps = torch.maximum(straight, mirrored.flip(-1))
    return F.relu(maps)


def scaled_input(images: Tensor, scale: float, *, flip: bool) -> Tensor:
    """Return images (b, 3, H, W) at (int(scale * H), int(scale * W)), followed by their mirrored copies if asked."""
    scaled = resize(images, (int(scale * images.shape[-2]), int(scale * images.shape[-1])))
    return torch.cat([scaled, scaled.flip(-1)]) if flip else scaled


def multi_scale_cams(
    raw_cams: CamFunction, images: Tensor, *, scales: Sequence[float] = (1.0, 0.5, 1.5), flip: bool = True
) -> tuple[Tensor, ...]:
    """Return normalised CAMs at the input size, summed over scales and maximised over mirroring.

    Args:
        raw_cams: runs the network; see `CamFunction`.
        images: (b, 3, H, W) network input.
        scales: factors of (H, W), truncated to whole pixels.
        flip: also run the mirrored images.

    Returns:
        As many (b, C, H, W) float32 tensors in 0..1 as `raw_cams` gives.
    """
    size = images.shape[-2:]
    kinds: list[list[Tensor]] = []
    for scale in scales:
        raws = raw_cams(scaled_input(images, scale, flip=flip))
        kinds.append([upsample_pair(raw, size, flip=flip) for raw in raws])
    return tuple(normalise_cams(torch.stack(maps).sum(dim=0)) for maps in zip(*kinds, strict=True))


def gate(cams: Tensor, tags: Tensor) -> Tensor:
    """Set the maps of classes that are not among the tags to 0.

    Args:
        cams: (b, C, H, W).
        tags: (b, C) multi-hot, 0 or 1.

    Raises:
        InvalidArray: the shapes do not belong together.
    """
    if tags.shape != cams.shape[:2]:
        raise InvalidArray(f"Tags {tuple(tags.shape)} for CAMs {tuple(cams.shape)}.", fix="Give tags of shape (b, C).")
    return cams * tags[:, :, None, None].to(cams.dtype)


def mix_foreground(
    cams: Tensor, tags: Tensor, foreground: Tensor, weight: float, *, evidence: Tensor | None = None
) -> Tensor:
    """Mix CAMs with a map of where any object is, which falls to the tagged classes.

    A pixel's foreground falls in full to its best tagged class, to the others in the ratio of their evidence, and to
    all alike where there is none. Not in the paper.

    Args:
        cams: (b, C, h, w) in 0..1.
        tags: (b, C) multi-hot.
        foreground: (b, 1, H, W) in 0..1; resized to (h, w).
        weight: share of the foreground in the result, 0..1.
        evidence: (b, C, h, w) in 0..1, what each pixel shows if it shows an object; None takes the CAMs.

    Returns:
        (b, C, h, w) in 0..1, 0 for classes that are not tagged.
    """
    tagged = gate(cams, tags)
    raised = tagged if evidence is None else gate(evidence, tags)
    raised = raised + _DEAD_CAM * tags[:, :, None, None].to(cams.dtype)
    share = raised / raised.amax(dim=1, keepdim=True).clamp_min(EPSILON)
    return (1.0 - weight) * tagged + weight * share * resize(foreground, (cams.shape[-2], cams.shape[-1]))


def outside_box(labels: Tensor, boxes: Tensor | None, fill: int = IGNORE) -> Tensor:
    """Set labels outside the valid box (the part of a crop that is not padding) to `fill`.

    Args:
        labels: (b, H, W).
        boxes: (b, 4) rows y0, y1, x0, x1, ends exclusive; None keeps everything.
        fill: the label of the outside.
    """
    if boxes is None:
        return labels
    rows = torch.arange(labels.shape[-2], device=labels.device)[None, :, None]
    columns = torch.arange(labels.shape[-1], device=labels.device)[None, None, :]
    y0, y1, x0, x1 = (boxes[:, side, None, None].to(labels.device) for side in range(4))
    inside = (rows >= y0) & (rows < y1) & (columns >= x0) & (columns < x1)
    return labels.masked_fill(~inside, fill)


def plain_label(cams: Tensor, tags: Tensor, *, threshold: float = VOC_THRESHOLDS.plain) -> Tensor:
    """Label each pixel with its best tagged class, or background at or under one threshold.

    Args:
        cams: (b, C, H, W) in 0..1.
        tags: (b, C) multi-hot.
        threshold: 0..1.

    Returns:
        (b, H, W) int64, channel + 1, 0 for background.
    """
    score, channel = gate(cams, tags).max(dim=1)
    return (channel + 1).masked_fill(score <= threshold, BACKGROUND)


def label_with_ignore(
    cams: Tensor, tags: Tensor, *, thresholds: Thresholds = VOC_THRESHOLDS, boxes: Tensor | None = None
) -> Tensor:
    """Label each pixel with its best tagged class, leaving the doubtful band open.

    Args:
        cams: (b, C, H, W) in 0..1.
        tags: (b, C) multi-hot.
        thresholds: at or under `high` a pixel is ignored, at or under `low` it is background.
        boxes: (b, 4) valid boxes as in `outside_box`; ignored outside.

    Returns:
        (b, H, W) int64, channel + 1, 0 for background, 255 for ignored.
    """
    score, channel = gate(cams, tags).max(dim=1)
    labels = (channel + 1).masked_fill(score <= thresholds.high, IGNORE)
    labels = labels.masked_fill(score <= thresholds.low, BACKGROUND)
    return outside_box(labels, boxes)


def region_mask(score: Tensor, *, thresholds: Thresholds = VOC_THRESHOLDS) -> Tensor:
    """Tell sure background, doubt and sure foreground apart.

    Args:
        score: (b, H, W) in 0..1, the best gated CAM of each pixel.
        thresholds: 0 at or under `low`, 2 at or over `high`, else 1.

    Returns:
        (b, H, W) int16 of 0, 1, 2.
    """
    mask = torch.ones_like(score, dtype=torch.int16)
    mask = mask.masked_fill(score <= thresholds.low, 0)
    return mask.masked_fill(score >= thresholds.high, 2)


def at_size(maps: Tensor, size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return maps (1, k, S, S) as (k, h, w), on the CPU."""
    return np.asarray(resize(maps, size)[0].cpu().numpy(), np.float32)


def added(total: Tensor | None, maps: Tensor) -> Tensor:
    """Return a sum that begins with nothing."""
    return maps if total is None else total + maps
