"""Rings between a mask and its surroundings, along pixel edges, and which ring lies in which.

OpenCV traces the pixels of the *surroundings*, which are 8-connected where the mask is 4-connected: each step from
pixel to pixel passes up to four edges of the mask, and which ones follows from the step before and the step after.

References:
    Suzuki and Abe, "Topological Structural Analysis of Digitized Binary Images by Border Following" (1985).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.formats.regions import box_around

Points = npt.NDArray[np.int32]
"""(N, 2) int32 corners as x, y in pixels; the last one joins the first."""

Whole = npt.NDArray[np.int64]

# A quarter turn clockwise as seen on the screen: east, south, west, north. Of a pixel of the surroundings, the edge to
# its neighbour in the mask on that side is passed from this corner on, with the mask on the right.
_SIDES: Final = ((1, 0), (0, 1), (-1, 0), (0, -1))
_CORNER_OF_SIDE: Final = np.array([(1, 1), (0, 1), (0, 0), (1, 0)], np.int32)


def _edges_of_steps() -> npt.NDArray[np.int64]:
    """Return (9, 9, 2): how many edges a pixel has that is reached by one step and left by another, and the first side.

    A step (dx, dy) is numbered 3 (dy + 1) + dx + 1. From the pixel that one comes from, all neighbours up to the pixel
    that one goes to, counter-clockwise, belong to the mask.
    """
    around = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]
    edges = np.zeros((9, 9, 2), np.int64)
    for came in [*around, (0, 0)]:
        for goes in [*around, (0, 0)]:
            back = around.index((-came[0], -came[1])) if any(came) else 0
            ahead = around.index(goes) if any(goes) else 0
            between = [around[(back - turn) % 8] for turn in range(1, (back - ahead) % 8 or 8)]
            if not any(came):  # the only pixel of its ring
                between.append(around[0])
            sides = [_SIDES.index(place) for place in between if place in _SIDES]
            edges[_number(*came), _number(*goes)] = len(sides), sides[0] if sides else 0
    return edges


def _number(x: int, y: int) -> int:
    return 3 * (y + 1) + x + 1


_EDGES: Final = _edges_of_steps().reshape(81, 2)
_EDGE_COUNT: Final = np.ascontiguousarray(_EDGES[:, 0])
_FIRST_SIDE: Final = np.ascontiguousarray(_EDGES[:, 1])


@dataclass(frozen=True, slots=True)
class Rings:
    """All rings of a mask in the order of their top left corners, so that each comes behind the one it lies in.

    `rings[n]` are the (N, 2) int32 corners of the nth ring, clockwise as seen on the screen, from its top left one on.

    Attributes:
        areas: pixels inside each ring, holes included.
        parents: the ring that each lies in directly, -1 for none: a hole in a region's ring, a region in a hole's.
        outer: whether each runs round a region, not round a hole.
    """

    areas: Sequence[int]
    parents: Sequence[int]
    outer: Sequence[bool]
    _corners: Points
    _starts: Sequence[int]
    _ends: Sequence[int]

    @property
    def pixels(self) -> list[int]:
        """Of each region without its holes, and of each hole without its regions."""
        pixels = list(self.areas)
        for parent, area in zip(self.parents, self.areas, strict=True):
            if parent >= 0:
                pixels[parent] -= area
        return pixels

    def __getitem__(self, ring: int) -> Points:
        corners = self._corners[self._starts[ring] : self._ends[ring]]
        if not self.outer[ring]:
            corners = corners[::-1]
        first = int(((corners[:, 1].astype(np.int64) << 32) + corners[:, 0]).argmin())
        return np.concatenate([corners[first:], corners[:first]])


def trace_rings(mask: npt.NDArray[np.bool_]) -> Rings:
    """Trace a mask.

    Its regions are 4-connected and its holes 8-connected: a hole that leaks out at a corner is open. Where two pixels
    touch at a corner only, a ring may pass the corner twice; it never crosses itself.

    Args:
        mask: (H, W) bool.
    """
    box = box_around(mask)
    around = np.ones((box.bottom - box.top + 2, box.right - box.left + 2), np.uint8)
    around[1:-1, 1:-1] ^= mask[box.top : box.bottom, box.left : box.right]
    # The first contour is the frame's own.
    (_, *contours), tree = cv2.findContours(
        around, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE, offset=(box.left - 1, box.top - 1)
    )
    if not contours:
        return Rings((), (), (), np.empty((0, 2), np.int32), (), ())
    pixels = np.asarray(np.concatenate(contours)[:, 0, :], np.int32)
    corners, starts, ends = _corners(pixels, np.array([len(contour) for contour in contours]))
    x, y = corners.astype(np.int64).T
    twice = np.add.reduceat(x * _next(y, starts, ends) - _next(x, starts, ends) * y, starts)
    order = np.argsort(np.minimum.reduceat(y * (mask.shape[1] + 1) + x, starts))
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    twice, parents = twice[order], np.asarray(tree)[0, 1:, 3] - 1
    return Rings(
        areas=(np.abs(twice) // 2).tolist(),
        parents=rank[parents[order]].tolist(),
        outer=(twice > 0).tolist(),
        _corners=corners,
        _starts=starts[order].tolist(),
        _ends=ends[order].tolist(),
    )


def _corners(pixels: Points, counts: Whole) -> tuple[Points, Whole, Whole]:
    """Return the corners that contours pass, and where those of each contour start and end.

    Args:
        pixels: (N, 2) int32 x, y of the surroundings' pixels of all contours, one after the other.
        counts: pixels of each contour.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    steps = _next(pixels, starts, ends) - pixels
    goes = 3 * steps[:, 1] + steps[:, 0] + 4
    pair = 9 * _last(goes, starts, ends) + goes
    edges = _EDGE_COUNT[pair]
    passed = np.cumsum(edges)
    owner = np.repeat(np.arange(len(pixels)), edges)
    side = ((_FIRST_SIDE[pair] + passed - edges)[owner] - np.arange(len(owner))) & 3
    ends = passed[ends - 1]
    turns = np.flatnonzero(side != _last(side, np.append(0, ends[:-1]), ends))
    ends = np.searchsorted(turns, ends)
    return pixels[owner[turns]] + _CORNER_OF_SIDE[side[turns]], np.append(0, ends[:-1]), ends


def _next(values: npt.NDArray[Any], starts: Whole, ends: Whole) -> npt.NDArray[Any]:
    """Return for each element of rings, which lie one after the other, the next one of its ring."""
    found = np.empty_like(values)
    found[:-1] = values[1:]
    found[ends - 1] = values[starts]
    return found


def _last(values: npt.NDArray[Any], starts: Whole, ends: Whole) -> npt.NDArray[Any]:
    """Return for each element of rings, which lie one after the other, the one before it in its ring."""
    found = np.empty_like(values)
    found[1:] = values[:-1]
    found[starts] = values[ends - 1]
    return found
