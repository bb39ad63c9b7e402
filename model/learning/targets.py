"""Soft labels for training: what a fit says of a photo, made to follow the photo's edges.

References:
    He, Sun and Tang, "Guided Image Filtering" (ECCV 2010), as a fast stand-in for the dense CRF.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toco.model.crf.choice import crf_backend
from toco.model.crf.settings import PSEUDO_MASK_CRF
from toco.model.learning.learnt_model import LearntModel
from toco.model.learning.recognise import recognise
from toco.model.learning.tokens import NetworkMaps, PhotoTokens, Pixels
from toco.model.method.pseudo_mask import with_background

SIDE = 64
"""Side of the maps that are kept for training."""

_GUIDE_SIDE = 96
_RADIUS, _SMOOTHNESS = 5, 1e-3
_LEAST_SHARE = 0.02  # of its photo that each tag owns
_ROUNDS = 3  # raising one tag lowers the others a little
_SHARPNESS = 1.5  # filtering blurs; labels that are nearly sure become sure again
_EPSILON = 1e-4
_BELIEF = 0.15  # share of the decoder beside the CAMs
_STEEPNESS, _MIDDLE = 10.0, 0.45  # of the step from background to object
_CONTRAST = 8.0  # among the classes
_DECIDED = 0.65  # share of the CRF's answer in a label


def soft_label(found: PhotoTokens, model: LearntModel, channels: Sequence[int]) -> Tensor:
    """Return what each place of a photo shows, as probabilities; each tag owns a little of its photo.

    Args:
        found: tokens of the photo.
        model: the words.
        channels: K words of the photo, 0-based.

    Returns:
        (1 + K, h, w) float32 that sum to 1, background first.
    """
    if not channels:
        return torch.ones(1, *found.grid)
    objects, words = recognise(found, model, channels)
    labels = torch.cat([1.0 - objects[:, None], objects[:, None] * words], dim=1)
    return _with_shares(labels).T.reshape(-1, *found.grid)


def network_label(found: NetworkMaps) -> Tensor:
    """Return what each place of a photo shows by the network's own CAMs and decoder, as probabilities.

    A network that was trained on soft labels tells several things in a photo apart better than the fit that made them.
    Saliency says where the object is if there is one; where there are several it misses some, and counts for little.

    Args:
        found: maps of the photo's K classes; at least one.

    Returns:
        (1 + K, h, w) float32 that sum to 1, background first; each class owns a little of its photo.
    """
    maps = _maps_of(found)
    objects = _STEEPNESS * (maps.amax(dim=0) - _MIDDLE)
    if found.saliency is not None:
        objects = objects + (1.0 if len(maps) == 1 else 0.3) * torch.logit(found.saliency, eps=_EPSILON)
    objects = objects.sigmoid()
    labels = torch.cat([1.0 - objects[None], objects * (_CONTRAST * maps).softmax(dim=0)])
    return _with_shares(labels.flatten(1).T).T.reshape(labels.shape)


def contoured_label(found: NetworkMaps, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return `network_label` with the contours that the dense CRF of pseudo masks gives its maps.

    The CRF decides nearly every place, rightly or not; the network's own doubt stays in the label as a share of it.

    Args:
        found: as of `network_label`.
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (1 + K, SIDE, SIDE) float32 that sum to 1, background first.
    """
    size = (pixels.shape[1], pixels.shape[0])
    maps = [cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in _maps_of(found).float().numpy()]
    decided = crf_backend().infer(with_background(np.stack(maps), _MIDDLE)[None], pixels, PSEUDO_MASK_CRF)[0]
    doubtful = network_label(found).numpy()
    small = [
        _DECIDED * cv2.resize(sure, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        + (1.0 - _DECIDED) * cv2.resize(own, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        for sure, own in zip(decided, doubtful, strict=True)
    ]
    labels = np.stack(small)
    return np.asarray(labels / labels.sum(axis=0), np.float32)


def known_label(mask: npt.NDArray[np.uint8], channels: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return what a person's mask says of a photo, as soft labels.

    Args:
        mask: (H, W) uint8: 0 background, 1 + channel of a class, 255 open.
        channels: K classes of the photo, 0-based.

    Returns:
        (1 + K, SIDE, SIDE) float32 that sum to 1, or to 0 where most of a place is open.
    """
    values = (0, *(channel + 1 for channel in channels))
    maps = [(mask == value).astype(np.float32) for value in values]
    small = np.stack([cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for values in maps])
    known = small.sum(axis=0)
    return np.asarray(np.where(known > 0.5, small / np.maximum(known, _EPSILON), 0.0), np.float32)


def _maps_of(found: NetworkMaps) -> Tensor:
    return found.cams.lerp(found.belief, _BELIEF)


def _with_shares(labels: Tensor) -> Tensor:
    """Raise each tag of a photo's labels (n, 1 + K) to its least share."""
    for _ in range(_ROUNDS):
        raised = (_LEAST_SHARE / labels.mean(dim=0)).clamp_min(1.0)
        raised[0] = 1.0
        labels = labels * raised
        labels = labels / labels.sum(dim=1, keepdim=True)
    return labels


def following_edges(labels: Tensor, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Bring soft labels to `SIDE` x `SIDE`, along the edges of the photo.

    Args:
        labels: (1 + K, h, w) that sum to 1.
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (1 + K, SIDE, SIDE) float32 that sum to 1.
    """
    if len(labels) == 1:
        return np.ones((1, SIDE, SIDE), np.float32)
    size = (_GUIDE_SIDE, _GUIDE_SIDE)
    guide = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    maps = [cv2.resize(values, size, interpolation=cv2.INTER_CUBIC) for values in labels.float().numpy()]
    filtered = np.stack([sum(_guided(guide[..., k], values) for k in range(3)) for values in maps])
    filtered = np.clip(filtered, _EPSILON, None)
    sharp = (filtered / filtered.sum(axis=0)) ** _SHARPNESS
    small = np.stack([cv2.resize(values, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for values in sharp])
    return np.asarray(small / small.sum(axis=0), np.float32)


def _guided(guide: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fit the values as a linear function of the guide in each window, and average."""

    def mean(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(cv2.blur(maps, (2 * _RADIUS + 1, 2 * _RADIUS + 1)), np.float32)

    centre, middle = mean(guide), mean(values)
    spread = mean(guide * guide) - centre * centre + _SMOOTHNESS
    slope = np.asarray((mean(guide * values) - centre * middle) / spread, np.float32)
    return np.asarray(mean(slope) * guide + mean(np.asarray(middle - slope * centre, np.float32)), np.float32)
