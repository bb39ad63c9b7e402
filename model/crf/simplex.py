"""Where a point lies in the permutohedral lattice: the simplex around it and its barycentric weights.

Points are elevated onto the plane of d + 1 coordinates that sum to 0, whose lattice points have integer coordinates
that agree modulo d + 1. Compiled code works on blocks of `BLOCK` points, an operation at a time, so that each becomes
vector code. The order of the float operations is that of pydensecrf.

References:
    Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (Eurographics 2010),
    section 3.1 and appendix.
"""

import numpy as np
from numba import float32, int32, uint64
from numpy.typing import NDArray

from toco.model.crf.compiled import compiled
from toco.model.crf.errors import CrfError

Float = NDArray[np.float32]
Rank = NDArray[np.int32]

BLOCK = 256
# Beyond this a float32 coordinate keeps less than 1/32 of a lattice cell.
COORDINATE_LIMIT = 2**18


def elevation_scale(dimensions: int) -> Float:
    """Diagonal of the embedding, (d,) float32, such that splat, blur and slice have unit deviation."""
    axis = np.arange(dimensions)
    deviation = np.float32(np.sqrt(2.0 / 3.0) * (dimensions + 1))
    return (1.0 / np.sqrt((axis + 2.0) * (axis + 1.0)) * deviation).astype(np.float32)


def coordinate_ranges(low: Float, high: Float) -> list[tuple[int, int]]:
    """First and last value of each lattice coordinate that a corner, or a neighbour of one, can have.

    Args:
        low: (d,) least value of each feature.
        high: (d,) greatest value of each feature.

    Raises:
        CrfError: a coordinate is too large for float32 to resolve a lattice cell.
    """
    dimensions = len(low)
    scale = elevation_scale(dimensions).astype(np.float64)
    low, high = np.append(low * scale, 0.0), np.append(high * scale, 0.0)
    # Coordinate i is the sum of the scaled features from i on, less i times feature i - 1. A corner is at most one cell
    # (d + 1) from a point on either side, and its neighbour one more.
    margin = 3 * (dimensions + 1)
    ranges = []
    for axis in range(dimensions + 1):
        before = max(axis - 1, 0)
        first = int(np.floor(low[axis:].sum() - axis * high[before])) - margin
        last = int(np.ceil(high[axis:].sum() - axis * low[before])) + margin
        if max(-first, last) >= COORDINATE_LIMIT:
            raise CrfError(
                f"A CRF feature reaches lattice coordinate {max(-first, last)}; the limit is {COORDINATE_LIMIT}.",
                fix="Raise the CRF's standard deviations (sxy, srgb) or make the image smaller.",
            )
        ranges.append((first, last))
    return ranges


@compiled
def locate(features: Float, start: int, count: int, scale: Float, within: Float, nearest: Float, rank: Rank) -> None:
    """Find the simplices of a block of points.

    Args:
        features: (d, n) float32.
        start: first point.
        count: number of points, at most `BLOCK`.
        scale: see `elevation_scale`.
        within: (d + 1, BLOCK) out: offset from `nearest`, in cells, over d + 1.
        nearest: (d + 1, BLOCK) out: the corner with remainder 0, whole numbers.
        rank: (d + 1, BLOCK) out: place of each coordinate in the descending order of offsets.
    """
    d = features.shape[0]
    down, up = float32(1.0) / float32(d + 1), float32(d + 1)
    total = np.zeros(BLOCK, np.float32)
    for i in range(d, 0, -1):
        for x in range(count):
            value = features[i - 1, uint64(start + x)] * scale[i - 1]
            within[i, x] = total[x] - float32(i) * value
            total[x] += value
    within[0] = total
    total[:] = 0
    for i in range(d + 1):
        for x in range(count):
            cell = np.rint(down * within[i, x])
            total[x] += cell
            nearest[i, x] = cell * up
            within[i, x] -= cell * up
    for i in range(d + 1):
        for x in range(count):
            rank[i, x] = int32(total[x])
    for i in range(d):
        for j in range(i + 1, d + 1):
            for x in range(count):
                less = int32(within[i, x] < within[j, x])
                rank[i, x] += less
                rank[j, x] += int32(1) - less
    # The rounded point may lie off the plane, by total cells: move the coordinates that rounding moved most.
    for i in range(d + 1):
        for x in range(count):
            wrap = int32(rank[i, x] < 0) - int32(rank[i, x] > d)
            rank[i, x] += wrap * int32(d + 1)
            nearest[i, x] += float32(wrap) * up
            within[i, x] = (within[i, x] - float32(wrap) * up) * down
