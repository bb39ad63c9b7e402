"""Connected regions of masks: which there are, and masks without specks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from toco.model.errors import InvalidArray
from toco.model.photos.classes import BACKGROUND, IGNORE, ClassName, Vocabulary


@dataclass(frozen=True, slots=True)
class Region:
    """One connected region of a mask.

    Attributes:
        mask: (H, W) bool, at the size of the whole mask.
        area: pixels.
    """

    mask: npt.NDArray[np.bool_]
    area: int


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels: from `left` and `top` on, up to before `right` and `bottom`."""

    left: int
    top: int
    right: int
    bottom: int


def require_mask(mask: npt.NDArray[np.bool_]) -> None:
    """Check that a mask is a 2-D bool array with at least one pixel.

    Raises:
        InvalidArray: it is not.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise InvalidArray(
            f"A mask of shape {mask.shape} and dtype {mask.dtype}.", fix="Give a non-empty (H, W) bool array."
        )


def indices_in(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return (256,) bool: which values a mask holds; see `pixels_of`.

    Args:
        mask: (H, W) uint8 mask indices.
    """
    return pixels_of(mask) > 0


def pixels_of(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return (256,): how many pixels hold each value. It takes no memory to speak of, however large the mask.

    Args:
        mask: (H, W) uint8 mask indices.
    """
    return np.array(Image.fromarray(mask).histogram(), np.int64)


def classes_in(
    mask: npt.NDArray[np.uint8], vocabulary: Vocabulary
) -> Iterator[tuple[ClassName, npt.NDArray[np.bool_]]]:
    """Yield every class that a mask shows, in channel order, with its own (H, W) bool mask.

    Background (0) and ignored pixels (255) belong to no class and are left out.

    Args:
        mask: (H, W) uint8 mask indices.
        vocabulary: the classes of the mask.
    """
    present = indices_in(mask)
    for entry in vocabulary:
        if present[entry.index]:
            yield entry, mask == entry.index


def labelled(
    mask: npt.NDArray[np.bool_], *, connectivity: Literal[4, 8]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Number the connected regions of a mask.

    Several times faster than OpenCV's `connectedComponentsWithStats`, which also finds boxes and centres.

    Args:
        mask: (H, W) bool.
        connectivity: see `connected_regions`.

    Returns:
        (H, W) number of each pixel's region, 0 outside the mask; and the pixels of each number.
    """
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return np.asarray(labels, np.int32), np.bincount(labels.ravel(), minlength=count)


def box_around(mask: npt.NDArray[np.bool_]) -> Box:
    """Return the least box that holds all pixels of an (H, W) bool mask; one without pixels where there are none."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return Box(left, top, left + width, top + height)


def connected_regions(
    mask: npt.NDArray[np.bool_], *, min_area: int = 0, connectivity: Literal[4, 8] = 8
) -> Iterator[Region]:
    """Yield the connected regions of a mask, the largest first; equal ones from the top left.

    Args:
        mask: (H, W) bool.
        min_area: regions of fewer pixels are left out.
        connectivity: 8 joins pixels that touch at a corner, 4 does not.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    require_mask(mask)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    areas = statistics[1:, cv2.CC_STAT_AREA]  # row 0 is everything outside the mask
    for position in np.argsort(-areas, kind="stable"):
        area = int(areas[position])
        if area >= min_area:
            yield Region(labels == position + 1, area)


def boxes_in(
    mask: npt.NDArray[np.uint8], vocabulary: Vocabulary, *, min_area: int = 0
) -> Iterator[tuple[ClassName, Box]]:
    """Yield the box of each 4-connected region of each class, in channel order, the largest region first.

    Args:
        mask: (H, W) uint8 mask indices.
        vocabulary: the classes of the mask.
        min_area: regions of fewer pixels have none.
    """
    for entry, region in classes_in(mask, vocabulary):
        _, _, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
        found = statistics[1:]
        for left, top, width, height, area in found[np.argsort(-found[:, cv2.CC_STAT_AREA], kind="stable")].tolist():
            if area >= min_area:
                yield entry, Box(left, top, left + width, top + height)


def drop_specks(mask: npt.NDArray[np.bool_], min_area: int) -> npt.NDArray[np.bool_]:
    """Return a mask without its regions, and with its holes filled, of fewer than `min_area` pixels; itself if none is.

    Regions are 4-connected and holes 8-connected (a hole that leaks out at a corner is open), as in `polygons`.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    require_mask(mask)
    if min_area <= 1:
        return mask
    # The border makes everything outside one region, so that only true holes are separate.
    framed = np.pad(mask, 1)
    labels, areas = labelled(framed, connectivity=4)
    specks = areas < min_area
    specks[0] = False
    if specks.any():
        framed &= ~specks[labels]
    labels, areas = labelled(~framed, connectivity=8)
    holes = areas < min_area
    holes[[0, labels[0, 0]]] = False
    if holes.any():
        framed |= holes[labels]
    return framed[1:-1, 1:-1] if specks.any() or holes.any() else mask


def tidied(mask: npt.NDArray[np.uint8], *, min_region: int = 0, fill_holes: int = 0) -> npt.NDArray[np.uint8]:
    """Return a mask without small regions and holes.

    A small region becomes open (255): that it is no such object does not make it background. A hole is background or
    open pixels that one class surrounds; where it also holds another class it stays. Regions are 4-connected and holes
    8-connected, as in `polygons`.

    Args:
        mask: (H, W) uint8 mask indices.
        min_region: regions of a class of fewer pixels are left open.
        fill_holes: holes of fewer pixels become the class.
    """
    found = mask.copy()
    classes = [int(index) for index in np.flatnonzero(indices_in(mask)) if index not in (BACKGROUND, IGNORE)]
    for index in classes if min_region > 1 else ():
        _, labels, statistics, _ = cv2.connectedComponentsWithStats((mask == index).astype(np.uint8), connectivity=4)
        small = statistics[:, cv2.CC_STAT_AREA] < min_region
        small[0] = False
        found[small[labels]] = IGNORE
    for index in classes if fill_holes > 1 else ():
        around = np.pad(found == index, 1)
        _, labels, statistics, _ = cv2.connectedComponentsWithStats((~around).astype(np.uint8), connectivity=8)
        labels = labels[1:-1, 1:-1]
        hole = statistics[:, cv2.CC_STAT_AREA] < fill_holes
        hole[[0, 1]] = False  # the class itself, and, as its first pixel is the frame's, all outside
        hole[labels[(found != BACKGROUND) & (found != IGNORE)]] = False
        found[hole[labels]] = index
    return found
