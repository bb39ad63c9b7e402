"""Maps of one photo as arrays: what `cams` and `segmentation` compute in torch for batches, where torch is not loaded.

Tests hold both to the same results; each function here names its twin, which says what is computed and why.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

EPSILON: Final = 1e-5


def network_image(
    pixels: npt.NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], size: tuple[int, ...]
) -> Array:
    """Return RGB pixels (H, W, 3) as network input (h, w, 3) of a size; `network.normalise_images`."""
    scale = np.array([1.0 / (255.0 * deviation) for deviation in std], np.float32)
    shift = np.array([middle / deviation for middle, deviation in zip(mean, std, strict=True)], np.float32)
    return _resized(pixels.astype(np.float32) * scale - shift, size)


def views(image: Array, scale: float, *, flip: bool) -> list[Array]:
    """Return an image (H, W, 3) as (1, 3, h, w) at a scale, and mirrored if asked; `cams.scaled_input`."""
    scaled = _resized(image, (int(scale * image.shape[0]), int(scale * image.shape[1])))
    seen = [scaled, scaled[:, ::-1]] if flip else [scaled]
    return [np.ascontiguousarray(view.transpose(2, 0, 1)[None]) for view in seen]


def resized(maps: Array, size: tuple[int, ...]) -> Array:
    """Return maps (k, h, w) at a size (H, W), bilinear; `cams.resize`."""
    if maps.shape[1:] == tuple(size):
        return maps
    large = np.empty((len(maps), *size), np.float32)
    for target, small in zip(large, maps, strict=True):
        cv2.resize(small, size[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return large


def lifted(raw: Array, share: float) -> Array:
    """Raise the scores (K, h, w) of classes that hardly show; `cams.lifted`."""
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    return np.asarray(raw - np.minimum(low + np.float32(share) * (high - low), 0), np.float32)


def joined_views(raws: Sequence[Array], size: tuple[int, ...]) -> Array:
    """Return the share (K, H, W) of one scale in the sum of CAMs, from its views' (K, h, w); `cams.upsample_pair`."""
    best = resized(raws[0], size)
    for mirrored in raws[1:]:
        best = np.maximum(best, resized(mirrored, size)[..., ::-1])
    return np.maximum(best, 0)


def normalised(cams: Array) -> Array:
    """Scale each map (K, H, W) to 0..1; `cams.normalise_cams`."""
    cams = cams - cams.min(axis=(1, 2), keepdims=True)
    return np.asarray(cams / (cams.max(axis=(1, 2), keepdims=True) + EPSILON), np.float32)


def gated_probabilities(logits: Array, channels: Sequence[int]) -> Array:
    """Return what the decoder's logits (C + 1, h, w) say of K classes; `segmentation.gated_probabilities`."""
    return softmax(logits[[0, *(channel + 1 for channel in channels)]])[1:]


def object_maps(logits: Array, channels: Sequence[int]) -> Array:
    """Return (1 + K, h, w): any object, then each of K classes; `segmentation.object_maps`."""
    probabilities = softmax(logits)
    return np.concatenate([1 - probabilities[:1], probabilities[[channel + 1 for channel in channels]]])


def mean_of_views(maps: Sequence[Array]) -> Array:
    """Return the mean (k, h, w) of a photo's maps and those of its mirrored copy; `segmentation.share_of_scale`."""
    return maps[0] if len(maps) == 1 else np.asarray((maps[0] + maps[1][..., ::-1]) / 2, np.float32)


def softmax(logits: Array) -> Array:
    """Return (k, h, w) that sum to 1 over the first axis."""
    found = np.exp(logits - logits.max(axis=0))
    return np.asarray(found / found.sum(axis=0), np.float32)


def _resized(image: Array, size: tuple[int, ...]) -> Array:
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
