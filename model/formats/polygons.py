"""Masks to polygons along pixel edges, holes included.

A polygon's corners are pixel corners: x runs from 0 (left edge of the first column) to W, y from 0 to H, as in COCO.
Without simplification the polygons hold exactly the pixels of the mask. The usual contour tracers go through pixel
*centres* instead and lose half a pixel on every side.

Formats without holes get one ring that runs round the outside, over a cut to the hole, round it the other way, and
back over the same cut: the even-odd and the non-zero rule both leave the hole open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidOption
from toco.model.formats.regions import require_mask
from toco.model.formats.rings import Points, Rings, trace_rings


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
    return rings_to_polygons(trace_rings(mask), tolerance=tolerance, min_area=min_area)


def rings_to_polygons(rings: Rings, *, tolerance: float = 0.0, min_area: int = 0) -> list[Polygon]:
    """Return the regions that rings run round; see `mask_to_polygons`, and `regions.drop_specks` for `min_area`.

    Raises:
        InvalidOption: the tolerance is negative.
    """
    if not tolerance >= 0:
        raise InvalidOption(f"Tolerance {tolerance!r}.", fix="Give a number of pixels, 0 or more.")
    parents, pixels = rings.parents, rings.pixels
    for of_regions in (True, False):  # as `drop_specks` does: first regions, then the holes that these leave
        small = [outer is of_regions and count < min_area for outer, count in zip(rings.outer, pixels, strict=True)]
        if any(small):
            parents, pixels = _merged(parents, pixels, small)
    holes: dict[int, list[int]] = {ring: [] for ring, outer in enumerate(rings.outer) if outer and pixels[ring]}
    for ring, outer in enumerate(rings.outer):
        if not outer and pixels[ring]:
            holes[parents[ring]].append(ring)
    return [
        Polygon(
            _simplified(rings[region], tolerance),
            tuple(_simplified(rings[hole], tolerance)[::-1] for hole in inside),
            pixels[region],
        )
        for region, inside in holes.items()
    ]


def _merged(parents: Sequence[int], pixels: Sequence[int], small: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Let what lies in a small ring, and what lies directly in that, go over to the ring around it.

    Args:
        parents: of each ring, see `Rings`.
        pixels: of each ring alone; 0 for those that are no more.
        small: which rings go.

    Returns:
        The new `parents` and `pixels`; what is outside of all rings is not counted.
    """
    into = list(range(len(parents)))
    merged = [0] * len(parents)
    around = list(parents)
    for ring, parent in enumerate(parents):
        if small[ring] or (parent >= 0 and small[parent]):
            into[ring] = into[parent] if parent >= 0 else -1
        around[ring] = into[parent] if parent >= 0 else -1
        if into[ring] >= 0:
            merged[into[ring]] += pixels[ring]
    return around, merged


def _simplified(ring: Points, tolerance: float) -> Points:
    if tolerance == 0:
        return ring
    simple = cv2.approxPolyDP(ring[:, None, :], tolerance, closed=True)[:, 0, :]
    # Too small a ring falls flat; it is short enough as it is.
    return np.asarray(simple, np.int32) if len(simple) >= 3 else ring
