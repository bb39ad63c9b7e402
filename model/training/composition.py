"""Photos composed of photos: objects cut out by their own soft labels and pasted into other photos, and mosaics.

Photos that show one thing are labelled well, photos that show several are not. A composition shows several things and
its labels are those of its parts. No mask is read: what is cut out is what the soft labels call the object.

References:
    Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation" (CVPR 2021);
    Bochkovskiy et al., YOLOv4 (2020), for the mosaic.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.training.augment import Pixels

_LEAST_AREA, _MOST_AREA = 0.02, 0.8  # of the photo: less is mostly wrong, more is mostly cut off
_SURE = 0.6
_MANY_SURE = 0.7


class Piece(NamedTuple):
    """Pixels with what they show.

    Attributes:
        pixels: (h, w, 3) uint8.
        labels: (h, w, C + 1) uint8, 255 = sure, background first; all 0 where nothing is known.
    """

    pixels: Pixels
    labels: Pixels


class CutOut(NamedTuple):
    """An object cut out of its photo.

    Attributes:
        pixels: (h, w, 3) uint8, the box around it.
        shape: (h, w) uint8, where in the box the object is; 255 = surely.
        channel: of the labels, 1 or more.
    """

    pixels: Pixels
    shape: Pixels
    channel: int


def cut_out(pixels: Pixels, shape: Pixels, channel: int) -> CutOut | None:
    """Cut an object out of a photo, to the box around it.

    Args:
        pixels: (H, W, 3) uint8.
        shape: (H, W) uint8, where the object is; 255 = surely.
        channel: of the object.

    Returns:
        None where the object is too small, too large or too doubtful to be pasted.
    """
    inside = shape > 255 // 2
    area = float(inside.mean())
    if not _LEAST_AREA <= area <= _MOST_AREA or float((shape[inside] > _SURE * 255).mean()) < _MANY_SURE:
        return None
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return CutOut(pixels[box], shape[box], channel)


def paste(target: Piece, cut: CutOut, rng: np.random.Generator, *, sizes: tuple[float, float] = (0.2, 0.7)) -> Piece:
    """Paste a cut-out object onto a photo at a random place and size.

    Args:
        target: where to paste.
        cut: the object.
        rng: source of chance.
        sizes: range of the object's longer side, as a share of the target's.

    Returns:
        A new piece of the target's size. The pasted object's labels replace those beneath in the measure in which it
        covers them; at its doubtful edge nothing is known.
    """
    height, width = target.pixels.shape[:2]
    side = max(height, width) * float(np.exp(rng.uniform(*np.log(sizes))))
    factor = side / max(cut.pixels.shape[:2])
    size = (max(4, round(cut.pixels.shape[1] * factor)), max(4, round(cut.pixels.shape[0] * factor)))
    mode = cv2.INTER_AREA if factor < 1.0 else cv2.INTER_LINEAR
    pixels = cv2.resize(cut.pixels, size, interpolation=mode)
    shape = cv2.resize(cut.shape, size, interpolation=mode)
    if rng.random() < 0.5:
        pixels, shape = pixels[:, ::-1], shape[:, ::-1]
    # The object's centre lies on the target; what reaches over the edge is cut off.
    top = int(rng.integers(0, height)) - size[1] // 2
    left = int(rng.integers(0, width)) - size[0] // 2
    y0, y1, x0, x1 = max(0, top), min(height, top + size[1]), max(0, left), min(width, left + size[0])
    pixels, shape = (
        pixels[y0 - top : y1 - top, x0 - left : x1 - left],
        shape[y0 - top : y1 - top, x0 - left : x1 - left],
    )
    place = np.s_[y0:y1, x0:x1]
    # Steeper than the soft label: half-transparent objects teach nothing.
    cover = np.clip(4.0 * (shape.astype(np.float32) / 255.0 - 0.5) + 0.5, 0.0, 1.0)[..., None]
    mixed, labels = target.pixels.copy(), target.labels.copy()
    mixed[place] = np.rint(cover * pixels + (1.0 - cover) * mixed[place]).astype(np.uint8)
    beneath = labels[place].astype(np.float32) * (1.0 - cover)
    beneath[..., cut.channel] += cover[..., 0] * 255.0
    labels[place] = np.rint(beneath).astype(np.uint8)
    return Piece(mixed, labels)


def mosaic(pieces: Sequence[Piece]) -> Piece:
    """Put four pieces of one size together, two by two."""
    parts = [
        np.vstack([np.hstack([a, b]), np.hstack([c, d])])
        for a, b, c, d in (
            [piece.pixels for piece in pieces],
            [piece.labels for piece in pieces],
        )
    ]
    return Piece(parts[0], parts[1])


def seen(labels: npt.NDArray[np.uint8], *, least: float = 0.002) -> npt.NDArray[np.bool_]:
    """Return (C,) which classes a composition shows: those that own more than a share `least` of its area."""
    area = labels.reshape(-1, labels.shape[-1]).sum(axis=0, dtype=np.int64)[1:]
    return np.asarray(area > least * 255 * labels.shape[0] * labels.shape[1])
