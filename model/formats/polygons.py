"""Masks to polygons along pixel edges, holes included.

A polygon's corners are pixel corners: x runs from 0 (left edge of the first column) to W, y from 0 to H, as in COCO.
Without simplification the polygons hold exactly the pixels of the mask. The usual contour tracers go through pixel
*centres* instead and lose half a pixel on every side.

Formats without holes get one ring that runs round the outside, over a cut to the hole, round it the other way, and
back over the same cut: the even-odd and the non-zero rule both leave the hole open.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidOption
from toco.model.formats.regions import drop_specks, require_mask

Points = npt.NDArray[np.int32]
"""(N, 2) int32 corners as x, y in pixels; the last one joins the first."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """One 4-connected region of a mask.

    Attributes:
        outer: the ring round the region, clockwise as seen on the screen.
        holes: rings round its holes, counter-clockwise.
        area: pixels of the region before simplification, holes taken off.
    """

    outer: Points
    holes: tuple[Points, ...]
    area: int

    def bridged(self) -> Points:
        """Return one ring, (N, 2) int32, in which each hole hangs on a cut to the nearest corner."""
        ring = self.outer
        for hole in self.holes:
            distance = ((ring[:, None, :].astype(np.int64) - hole[None, :, :]) ** 2).sum(axis=2)
            at, start = np.unravel_index(int(distance.argmin()), distance.shape)
            ring = np.concatenate([ring[: at + 1], hole[start:], hole[: start + 1], ring[at:]])
        return ring


def mask_to_polygons(mask: npt.NDArray[np.bool_], *, tolerance: float = 0.0, min_area: int = 0) -> list[Polygon]:
    """Trace the regions of a mask, from the top left on.

    Regions that touch at a corner only are separate polygons.

    Args:
        mask: (H, W) bool.
        tolerance: how far, in pixels, a simplified outline may stray (Douglas-Peucker); 0 keeps every corner.
        min_area: regions of fewer pixels are left out, smaller holes filled.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
        InvalidOption: the tolerance is negative.
    """
    require_mask(mask)
    if not tolerance >= 0:
        raise InvalidOption(f"Tolerance {tolerance!r}.", fix="Give a number of pixels, 0 or more.")
    mask = drop_specks(mask, min_area)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA]
    outers: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for ring in _trace(mask):
        x, y = (int(value) for value in ring[0])
        if y < mask.shape[0] and mask[y, x]:
            outers[int(labels[y, x])] = _simplified(ring, tolerance)
        else:  # the first corner of a hole lies under the region around it
            holes.setdefault(int(labels[y - 1, x]), []).append(_simplified(ring, tolerance)[::-1])
    return [Polygon(outer, tuple(holes.get(label, ())), int(areas[label])) for label, outer in outers.items()]


def _simplified(ring: Points, tolerance: float) -> Points:
    if tolerance == 0:
        return ring
    simple = cv2.approxPolyDP(ring[:, None, :], tolerance, closed=True)[:, 0, :]
    # Too small a ring falls flat; it is short enough as it is.
    return np.asarray(simple, np.int32) if len(simple) >= 3 else ring


def _trace(mask: npt.NDArray[np.bool_]) -> list[Points]:
    """Return the rings between mask and surroundings; each starts at its top left corner and goes right.

    The edges of a mask are axis-parallel, so its corners, read row by row, pair up as the ends of the horizontal edges
    and, read column by column, as the ends of the vertical ones: a ring follows the two pairings in turn. Where two
    pixels touch at a corner only, two rings meet; the corner is listed twice, once for each.
    """
    framed = np.pad(mask, 1)
    top_left, top_right, bottom_left, bottom_right = framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:]
    simple = top_left ^ top_right ^ bottom_left ^ bottom_right
    double = (top_left == bottom_right) & (top_right == bottom_left) & (top_left != top_right)
    y, x = np.nonzero(simple | double)
    times = 1 + double[y, x]
    y, x = np.repeat(y, times), np.repeat(x, times)

    # Of the two entries of a double corner the first ends the left edge, the second begins the right one. Read column
    # by column, the first must end the upper edge: the left entry's if the top left pixel is set, else the right's.
    rank = np.arange(len(y))
    swapped = np.flatnonzero(double[y, x] & top_right[y, x])
    rank[swapped[0::2]] += 1
    rank[swapped[1::2]] -= 1
    by_column = np.lexsort((rank, y, x))
    vertical = np.empty(len(y), np.int64)
    vertical[by_column[0::2]] = by_column[1::2]
    vertical[by_column[1::2]] = by_column[0::2]

    partner = vertical.tolist()
    seen = bytearray(len(partner) // 2)
    corners = np.stack([x, y], axis=1).astype(np.int32)
    rings = []
    for start in range(0, len(partner), 2):
        ring: list[int] = []
        entry = start
        while not seen[entry >> 1]:
            seen[entry >> 1] = 1
            ring += (entry, entry ^ 1)
            entry = partner[entry ^ 1]
        if ring:
            rings.append(corners[ring])
    return rings
