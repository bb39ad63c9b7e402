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
from toco.model.formats.regions import box_around, drop_specks, labelled, require_mask

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
    box = box_around(mask)
    part = mask[box.top : box.bottom, box.left : box.right]
    rings = _trace(part)
    found = _plain(part, rings, min_area)
    if found is None:
        found = _nested(part, rings, min_area)
    corner = np.array([box.left, box.top], np.int32)
    return [
        Polygon(
            _simplified(outer, tolerance) + corner,
            tuple(_simplified(hole, tolerance)[::-1] + corner for hole in holes),
            area,
        )
        for outer, holes, area in found
    ]


def _plain(
    mask: npt.NDArray[np.bool_], rings: list[Points], min_area: int
) -> list[tuple[Points, list[Points], int]] | None:
    """Return what `_nested` does, from the areas of the rings alone; None where these do not tell.

    A ring that is too small goes with all that is in it. Whose hole the others are, and what lies in a hole, is plain
    where one region or no hole is left; and no region is too small for its holes if it is not with those of all.
    """
    outers: list[tuple[Points, int]] = []
    holes: list[tuple[Points, int]] = []
    empty = 0
    for ring in rings:
        area, outer = _area(ring), _is_outer(ring, mask)
        empty += 0 if outer else area
        if area >= min_area:
            (outers if outer else holes).append((ring, area))
    if (holes and len(outers) > 1) or any(area - empty < min_area for _, area in outers):
        return None
    filled = sum(area for _, area in holes)
    return [(ring, [hole for hole, _ in holes], area - filled) for ring, area in outers]


def _nested(mask: npt.NDArray[np.bool_], rings: list[Points], min_area: int) -> list[tuple[Points, list[Points], int]]:
    """Return the regions of a mask, each with its outer ring, the rings of its holes, and its pixels."""
    clean = drop_specks(mask, min_area)
    if clean is not mask:
        rings = _trace(clean)
    labels, areas = labelled(clean, connectivity=4)
    outers: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for ring in rings:
        x, y = ring[0].tolist()
        if _is_outer(ring, clean):
            outers[int(labels[y, x])] = ring
        else:  # the first corner of a hole lies under the region around it
            holes.setdefault(int(labels[y - 1, x]), []).append(ring)
    return [(outer, holes.get(label, []), int(areas[label])) for label, outer in outers.items()]


def _is_outer(ring: Points, mask: npt.NDArray[np.bool_]) -> bool:
    """Say whether a ring of a mask runs round a region, not round a hole: its first corner is the top left one."""
    x, y = ring[0].tolist()
    return bool(y < mask.shape[0] and mask[y, x])


def _area(ring: Points) -> int:
    """Return the pixels inside a ring, holes included (the shoelace formula)."""
    x, y = ring[:, 0].astype(np.int64), ring[:, 1].astype(np.int64)
    return int(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) // 2)


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
    across, down = framed[:, :-1] ^ framed[:, 1:], framed[:-1] ^ framed[1:]  # vertical and horizontal edges
    simple = down[:, :-1] ^ down[:, 1:]
    double = across[:-1] & across[1:] & down[:, :-1] & down[:, 1:]
    y, x = np.nonzero(simple | double)
    times = 1 + double[y, x]
    y, x = np.repeat(y, times), np.repeat(x, times)

    # Of the two entries of a double corner the first ends the left edge, the second begins the right one. Read column
    # by column, the first must end the upper edge: the left entry's if the top left pixel is set, else the right's.
    rank = np.arange(len(y))
    swapped = np.flatnonzero(double[y, x] & framed[:-1, 1:][y, x])  # the top right pixel is set
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
