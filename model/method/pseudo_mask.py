"""CRF pseudo masks: the published recipe, restricted to background and the tagged classes.

References:
    ToCo, section 4.1 and its published evaluation (high and low background score, dense CRF of each).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from toco.model.crf.backend import CrfBackend
from toco.model.crf.settings import PSEUDO_MASK_CRF, CrfSettings
from toco.model.errors import InvalidArray
from toco.model.options import VOC_THRESHOLDS, Thresholds
from toco.model.photos.classes import BACKGROUND, IGNORE


def with_background(cams: npt.NDArray[np.float32], level: float) -> npt.NDArray[np.float32]:
    """Put a constant background score before CAMs and take the softmax over channels.

    Args:
        cams: (K, H, W) float32 in 0..1.
        level: background score, 0..1.

    Returns:
        (K + 1, H, W) float32 that sum to 1.
    """
    stack = np.empty((cams.shape[0] + 1, *cams.shape[1:]), np.float32)
    np.exp(cams, out=stack[1:])
    stack[0] = np.exp(np.float32(level))
    stack /= stack.sum(axis=0)
    return stack


def crf_pseudo_mask(
    image: npt.NDArray[np.uint8],
    cams: npt.NDArray[np.float32],
    indices: Sequence[int],
    *,
    backend: CrfBackend,
    thresholds: Thresholds = VOC_THRESHOLDS,
    ignore_band: bool = True,
    settings: CrfSettings = PSEUDO_MASK_CRF,
) -> npt.NDArray[np.uint8]:
    """Turn tagged CAMs into a pseudo mask that follows the photo's edges.

    The dense CRF runs twice, with the background score at `thresholds.high` and at `thresholds.low`. Pixels that the
    high run calls background are ignored, those that both do are background, the rest take the high run's class.
    Absent classes are dropped before the CRF; dropping them after it gives other results.

    Args:
        image: (H, W, 3) uint8 RGB.
        cams: (K, H, W) float32 in 0..1, one a tag.
        indices: K mask indices.
        backend: the dense CRF.
        thresholds: background scores.
        ignore_band: False runs the CRF once, with the background score at `thresholds.plain`, and decides every pixel.
        settings: of the dense CRF.

    Returns:
        (H, W) uint8 mask indices, 0 background, 255 ignore.

    Raises:
        InvalidArray: the sizes or counts differ.
    """
    if cams.ndim != 3 or cams.shape[1:] != image.shape[:2] or cams.shape[0] != len(indices):
        raise InvalidArray(
            f"CAMs {cams.shape}, image {image.shape}, {len(indices)} classes.", fix="Give (K, H, W), (H, W, 3) and K."
        )
    values: npt.NDArray[np.uint8] = np.array([BACKGROUND, *indices], np.uint8)
    if len(values) == 1:
        return np.zeros(image.shape[:2], np.uint8)
    levels = (thresholds.high, thresholds.low) if ignore_band else (thresholds.plain,)
    stacks = np.stack([with_background(cams, level) for level in levels])
    best = backend.infer(stacks, image, settings).argmax(axis=1)
    decided: npt.NDArray[np.uint8] = values[best]
    if not ignore_band:
        return np.asarray(decided[0])
    high, low = decided[0], decided[1]
    mask: npt.NDArray[np.uint8] = np.where(high == BACKGROUND, np.uint8(IGNORE), high)
    mask[(high == BACKGROUND) & (low == BACKGROUND)] = BACKGROUND
    return mask


def threshold_pseudo_mask(
    cams: npt.NDArray[np.float32],
    indices: Sequence[int],
    *,
    thresholds: Thresholds = VOC_THRESHOLDS,
    ignore_band: bool = True,
) -> npt.NDArray[np.uint8]:
    """Turn tagged CAMs into a pseudo mask by thresholds alone; see `cams.label_with_ignore` and `cams.plain_label`.

    Args:
        cams: (K, H, W) float32 in 0..1.
        indices: K mask indices.
        thresholds: at or under `high` a pixel is ignored, at or under `low` it is background.
        ignore_band: False decides every pixel: background at or under `thresholds.plain`.
    """
    if not len(indices):
        return np.zeros(cams.shape[1:], np.uint8)
    score = cams.max(axis=0)
    mask: npt.NDArray[np.uint8] = np.array(indices, np.uint8)[cams.argmax(axis=0)]
    if ignore_band:
        mask[score <= thresholds.high] = IGNORE
    mask[score <= (thresholds.low if ignore_band else thresholds.plain)] = BACKGROUND
    return mask
