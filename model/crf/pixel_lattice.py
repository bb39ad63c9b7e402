"""The permutohedral lattice of the pixel grid itself, for the spatial kernel.

The two-dimensional lattice is made of triangles; over an image nearly all its corners are in use. So corners are kept
as a plain array instead of a hash table: row r holds the corners whose first two coordinates sum to r, plus a constant;
column c those whose difference is 6c or, in odd rows, 6c + 3. Neighbours are then at fixed places, no chain is needed,
and the three directions are blurred together while a few rows are in the cache.

It depends on the image's size and the deviation alone, so the last few are kept.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numba import float32, int64, uint64

from toco.model.crf.compiled import compiled, compiled_loosely
from toco.model.crf.permutohedral import HALF, Index, Lattice, Long, build_lattice, normalise
from toco.model.crf.simplex import BLOCK, Float, coordinate_ranges, elevation_scale, locate

# Corners a pixel up to which the array is kept; finer lattices (deviations under 0.4 pixels) are mostly empty.
CORNERS_A_PIXEL = 10
CORNERS_AT_LEAST = 4096
# Memory for the lattices kept, bytes: those of ten photos of 1 megapixel. A larger lattice than that is not kept.
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class PixelLattice:
    """A `Lattice` whose corners form an array of `rows` by `columns`.

    Attributes:
        holes: int64, the corners that no pixel touches, ascending.
        hole_bounds: (rows + 1,) int64, where each row's holes begin in `holes`.
    """

    corners: Index
    weights: Float
    rows: int
    columns: int
    holes: Long
    hole_bounds: Long

    @property
    def size(self) -> int:
        """Number of corners."""
        return self.rows * self.columns

    @property
    def nbytes(self) -> int:
        """See `Lattice`."""
        return self.corners.nbytes + self.weights.nbytes + self.holes.nbytes + self.hole_bounds.nbytes

    def blur(self, values: Float) -> None:
        """See `Lattice`."""
        _blur(values.reshape(self.rows, -1), values.shape[1], self.holes, self.hole_bounds)


class PixelLatticeCache:
    """The lattices last used, by image size and deviation, within a memory budget; shared by threads.

    Args:
        limit_bytes: memory for the lattices kept, bytes; 0 keeps none.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[int, int, float], Lattice] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def get(self, width: int, height: int, sxy: float) -> Lattice:
        """The lattice as of `build_pixel_lattice`, built if it is not kept."""
        key = (width, height, sxy)
        with self._lock:
            lattice = self._kept.get(key)
            if lattice is not None:
                self._kept.move_to_end(key)
                return lattice
        lattice = build_pixel_lattice(width, height, sxy)  # unlocked: two threads may build the same one
        with self._lock:
            if key not in self._kept and lattice.nbytes <= self._limit_bytes:
                self._kept[key] = lattice
                self._held_bytes += lattice.nbytes
                while self._held_bytes > self._limit_bytes:
                    self._held_bytes -= self._kept.popitem(last=False)[1].nbytes
        return lattice


def build_pixel_lattice(width: int, height: int, sxy: float) -> Lattice:
    """Build the lattice of the spatial kernel for an image.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        sxy: standard deviation of the kernel, pixels.

    Raises:
        CrfError: the deviation is too small for the image size, see `permutohedral.build_lattice`.
    """
    x, y = np.arange(width, dtype=np.float32) / np.float32(sxy), np.arange(height, dtype=np.float32) / np.float32(sxy)
    features = np.stack([np.tile(x, height), np.repeat(y, width)])
    _, _, (first, last) = coordinate_ranges(np.zeros(2, np.float32), np.array([x[-1], y[-1]], np.float32))
    scale = elevation_scale(2)
    last += last % 2  # rows count down from the last third coordinate; the parity of a row is that of its corners
    rows = last - first + 1
    columns = int(2 * scale[0] * x[-1]) // 6 + 6
    if rows * columns > CORNERS_A_PIXEL * width * height + CORNERS_AT_LEAST:
        return build_lattice(features)
    corners, weights = _embed(features, scale, last, columns)
    touched = np.zeros(rows * columns, bool)
    touched[corners.reshape(-1)] = True
    holes = np.flatnonzero(~touched)
    bounds = np.searchsorted(holes, np.arange(rows + 1) * columns)
    lattice = PixelLattice(corners, weights, rows, columns, holes, bounds)
    normalise(lattice)
    return lattice


@compiled
def _embed(features: Float, scale: Float, last: int, columns: int) -> tuple[Index, Float]:
    """Corners (n, 3) and barycentric weights (n, 3) of each pixel."""
    n = features.shape[1]
    corners = np.empty((n, 3), np.uint32)
    weights = np.empty((n, 3), np.float32)
    within, nearest = np.empty((3, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    rank = np.empty((3, BLOCK), np.int32)
    offset_at = np.empty(3, np.float32)
    for start in range(0, n, BLOCK):
        block = min(BLOCK, n - start)
        locate(features, start, block, scale, within, nearest, rank)
        for x in range(block):
            point = uint64(start + x)
            for i in range(3):
                offset_at[uint64(rank[i, x])] = within[i, x]
            weights[point, uint64(0)] = (offset_at[2] + float32(1)) - offset_at[0]
            weights[point, uint64(1)] = offset_at[1] - offset_at[2]
            weights[point, uint64(2)] = offset_at[0] - offset_at[1]
            for remainder in range(3):
                first = int64(nearest[0, x]) + remainder - (3 if rank[0, x] > 2 - remainder else 0)
                second = int64(nearest[1, x]) + remainder - (3 if rank[1, x] > 2 - remainder else 0)
                # A corner's difference is at least -6: two columns stay empty at the left, as the blur expects.
                column = (first - second + 12) // 6
                corners[point, uint64(remainder)] = (last + first + second) * columns + column
    return corners, weights


@compiled_loosely
def _blur(grid: Float, channels: int, holes: Long, hole_bounds: Long) -> None:
    """Blur all three directions in place, a few rows behind one another.

    The outermost two rows and the outermost column on each side are empty and stay so.

    Args:
        grid: (rows, columns * channels) float32.
        channels: channels a corner.
        holes: see `PixelLattice`.
        hole_bounds: see `PixelLattice`.
    """
    rows, length = grid.shape
    once = np.zeros((3, length), np.float32)  # rows blurred in the first direction
    twice = np.zeros((5, length), np.float32)  # and in the second
    for step in range(rows + 3):
        row = step
        odd = row % 2
        if 2 <= row < rows - 2:
            _blur_row(once[row % 3], grid[row - 1], grid[row], grid[row + 1], channels, odd - 1, odd)
            _clear(once[row % 3], row, channels, holes, hole_bounds)
        else:
            once[row % 3] = 0
        row = step - 1
        odd = row % 2
        if 2 <= row < rows - 2:
            _blur_row(twice[row % 5], once[(row - 1) % 3], once[row % 3], once[(row + 1) % 3], channels, odd, odd - 1)
            _clear(twice[row % 5], row, channels, holes, hole_bounds)
        else:
            twice[row % 5] = 0
        row = step - 3
        if 2 <= row < rows - 2:
            _blur_row(grid[row], twice[(row - 2) % 5], twice[row % 5], twice[(row + 2) % 5], channels, 0, 0)
            _clear(grid[row], row, channels, holes, hole_bounds)


@compiled_loosely
def _blur_row(out: Float, above: Float, row: Float, below: Float, channels: int, up: int, down: int) -> None:
    """`row` plus half of its neighbours, `up` columns aside in the row above and `down` in the row below."""
    length = row.size - 2 * channels
    out, row = out[channels : channels + length], row[channels : channels + length]
    up, down = (1 + up) * channels, (1 + down) * channels
    above, below = above[up : up + length], below[down : down + length]
    for k in range(length):
        out[k] = row[k] + HALF * (above[k] + below[k])


@compiled_loosely
def _clear(out: Float, row: int, channels: int, holes: Long, hole_bounds: Long) -> None:
    columns = out.size // channels
    for hole in range(hole_bounds[row], hole_bounds[row + 1]):
        first = (holes[hole] - row * columns) * channels
        for k in range(first, first + channels):
            out[k] = 0
