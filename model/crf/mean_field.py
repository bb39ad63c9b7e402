"""Mean-field inference of the dense CRF over a spatial and a bilateral lattice.

One iteration is one sweep over the pixels: read both filtered kernels from their lattices, add the unary term, take the
softmax, write the new probabilities back to both lattices; then blur the lattices. Since a softmax only knows
differences of logits, and filtering is linear, K classes need K - 1 channels: class k against class 0.

Several problems on one image (the two runs of the pseudo-mask recipe) go through one sweep as further channels: corners
and weights are read once for all of them.

References:
    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (NIPS 2011),
    algorithm 1, with Potts compatibility.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import float32, int32, uint64
from numba.misc.special import literally

from toco.model.crf.compiled import compiled_loosely
from toco.model.crf.permutohedral import Index, Lattice
from toco.model.crf.simplex import Float
from toco.model.crf.vectors import load, multiply_add, store

# Channels are kept in slabs of 16, the last one narrower: a row of a slab is one line of the processor's cache.
SLAB = 16
LINE_BYTES = 64
# Corners a pixel in the spatial and in the bilateral lattice.
NEAR_CORNERS, ALIKE_CORNERS = 3, 6
# Corners, weights and gain of a lattice, as compiled code takes them.
Kernel = tuple[Index, Float, Any]
# Pixels whose logits are held at once: they stay in the first-level cache.
TILE = 128

LOG2_E = float32(1.4426950408889634)
LN_2 = float32(0.6931471805599453)
LEAST_LOGIT = float32(-87.0)  # exp of less is not a normal float32


def mean_field(
    energies: Float, spatial: Lattice, bilateral: Lattice, compatibility: tuple[float, float], iterations: int
) -> Float:
    """Run mean-field updates.

    Args:
        energies: (g, K, n) float32, unary energies of g problems on the same n pixels, K >= 2.
        spatial: lattice over the n pixels with 3 corners a pixel.
        bilateral: lattice over the n pixels with 6 corners a pixel.
        compatibility: weights of the two kernels.
        iterations: number of updates.

    Returns:
        (g, K, n) float32, probabilities that sum to 1 over K.
    """
    groups, classes, _ = energies.shape
    channels = groups * (classes - 1)
    last_slab = 1 << ((channels - 1) % SLAB).bit_length()
    slabs = (channels - 1) // SLAB
    sweep = _sweep(last_slab)

    logits = (energies[:, :1] - energies[:, 1:]).reshape(channels, -1)
    lattices = (spatial, bilateral)
    filtered = tuple(_Channels.zeros(lattice.size, slabs, last_slab) for lattice in lattices)
    written = tuple(_Channels.zeros(lattice.size, slabs, last_slab) for lattice in lattices)
    near = (spatial.corners, spatial.weights, np.float32(compatibility[0]))
    alike = (bilateral.corners, bilateral.weights, np.float32(compatibility[1]))
    result = np.empty_like(energies)
    for iteration in range(iterations):
        sweep(
            *(logits, near, alike, *(channels_of.arrays for channels_of in (*filtered, *written))),
            *(result, iteration > 0, False),
        )
        for lattice, channels_of in zip(lattices, written, strict=True):
            for slab in channels_of.slabs():
                lattice.blur(slab)
        filtered, written = written, filtered
        for channels_of in written:
            channels_of.clear()
    sweep(
        *(logits, near, alike, *(channels_of.arrays for channels_of in (*filtered, *written))),
        *(result, iterations > 0, True),
    )
    return result


@dataclass(frozen=True, eq=False)
class _Channels:
    """Channels at the corners of a lattice.

    Attributes:
        wide: (slabs * size, SLAB) float32, the full slabs one after another.
        last: (size, 1, 2, 4, 8 or 16) float32, the last slab.
    """

    wide: Float
    last: Float

    @classmethod
    def zeros(cls, size: int, slabs: int, last_slab: int) -> "_Channels":
        """All 0."""
        return cls(_aligned_zeros(slabs * size, SLAB), _aligned_zeros(size, last_slab))

    @property
    def arrays(self) -> tuple[Float, Float]:
        """Both arrays, as compiled code takes them."""
        return self.wide, self.last

    def slabs(self) -> list[Float]:
        """Every slab as (size, channels)."""
        return [*self.wide.reshape(-1, self.last.shape[0], SLAB), self.last]

    def clear(self) -> None:
        """Set all to 0."""
        self.wide.fill(0)
        self.last.fill(0)


def _aligned_zeros(rows: int, width: int) -> Float:
    """Zeros (rows, width) that begin at a cache line."""
    memory = np.zeros(rows * width + LINE_BYTES // 4, np.float32)
    first = -memory.ctypes.data % LINE_BYTES // 4
    return memory[first : first + rows * width].reshape(rows, width)


@compiled_loosely
def _exp(x: Any) -> Any:
    """Exponential of a float32 of 0 or less, to 1e-7 relative; a polynomial, so that loops over it become vectors."""
    x = max(x, LEAST_LOGIT)
    power = np.rint(x * LOG2_E)
    r = x - power * LN_2
    series = float32(1 / 720)
    series = series * r + float32(1 / 120)
    series = series * r + float32(1 / 24)
    series = series * r + float32(1 / 6)
    series = series * r + float32(0.5)
    series = series * r + float32(1)
    series = series * r + float32(1)
    # 2 to the power, by its bits. numba takes `view` of numpy's scalars only, hence np.int32.
    return series * np.int32((int32(power) + int32(127)) * int32(1 << 23)).view(np.float32)


@compiled_loosely
def _softmax(tile: Float, start: int, count: int, result: Float, final: bool) -> None:
    """Turn logits against class 0 into differences of probabilities or, in the final sweep, write the probabilities.

    Args:
        tile: (channels, TILE) logits in, Q_k - Q_0 out.
        start: first pixel.
        count: pixels in use.
        result: (g, K, n), written if `final`.
        final: whether this is the final sweep.
    """
    groups, classes = result.shape[0], result.shape[1]
    top, rest, scale = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    for group in range(groups):
        first = group * (classes - 1)
        top[:] = 0
        for c in range(first, first + classes - 1):
            for x in range(TILE):
                top[x] = max(top[x], tile[uint64(c), x])
        for x in range(TILE):
            rest[x] = _exp(-top[x])
            scale[x] = rest[x]
        for c in range(first, first + classes - 1):
            for x in range(TILE):
                tile[uint64(c), x] = _exp(tile[uint64(c), x] - top[x])
                scale[x] += tile[uint64(c), x]
        for x in range(TILE):
            scale[x] = float32(1) / scale[x]
        if final:
            for x in range(count):
                result[group, 0, uint64(start + x)] = rest[x] * scale[x]
            for k in range(1, classes):
                for x in range(count):
                    result[group, k, uint64(start + x)] = tile[uint64(first + k - 1), x] * scale[x]
        else:
            for c in range(first, first + classes - 1):
                for x in range(TILE):
                    tile[uint64(c), x] = (tile[uint64(c), x] - rest[x]) * scale[x]


@compiled_loosely
def _read(
    rows: Float,
    column: int,
    start: int,
    count: int,
    near: Kernel,
    near_filtered: Float,
    alike: Kernel,
    alike_filtered: Float,
    channels: int,
) -> None:
    """Add what a slab on both lattices holds to the logits of a tile.

    Args:
        rows: (TILE, width) logits.
        column: first channel of the slab.
        start: first pixel of the tile.
        count: number of pixels.
        near: the spatial lattice.
        near_filtered: (size, channels), its values.
        alike: the bilateral lattice.
        alike_filtered: (size, channels), its values.
        channels: of the slab; a constant of the caller.
    """
    literally(channels)
    near_corners, near_weights, _ = near
    alike_corners, alike_weights, _ = alike
    for x in range(count):
        p, at = uint64(start + x), uint64(x * rows.shape[1] + column)
        value = load(rows, at, channels)
        for i in range(NEAR_CORNERS):
            place = uint64(near_corners[p, uint64(i)]) * uint64(channels)
            value = multiply_add(near_weights[p, uint64(i)], load(near_filtered, place, channels), value)
        for i in range(ALIKE_CORNERS):
            place = uint64(alike_corners[p, uint64(i)]) * uint64(channels)
            value = multiply_add(alike_weights[p, uint64(i)], load(alike_filtered, place, channels), value)
        store(rows, at, channels, value)


@compiled_loosely
def _write(
    rows: Float,
    column: int,
    start: int,
    count: int,
    near: Kernel,
    near_written: Float,
    alike: Kernel,
    alike_written: Float,
    channels: int,
) -> None:
    """Add the values of a tile onto a slab of both lattices; the reverse of `_read`."""
    literally(channels)
    near_corners, near_weights, near_gain = near
    alike_corners, alike_weights, alike_gain = alike
    for x in range(count):
        p = uint64(start + x)
        value = load(rows, uint64(x * rows.shape[1] + column), channels)
        for i in range(NEAR_CORNERS):
            place = uint64(near_corners[p, uint64(i)]) * uint64(channels)
            before = load(near_written, place, channels)
            store(near_written, place, channels, multiply_add(near_gain * near_weights[p, uint64(i)], value, before))
        for i in range(ALIKE_CORNERS):
            place = uint64(alike_corners[p, uint64(i)]) * uint64(channels)
            before = load(alike_written, place, channels)
            store(alike_written, place, channels, multiply_add(alike_gain * alike_weights[p, uint64(i)], value, before))


@cache
def _sweep(last_slab: int) -> Callable[..., None]:
    """The sweep over all pixels, made for the width of the last slab."""

    @compiled_loosely
    def sweep(
        logits: Float,
        near: Kernel,
        alike: Kernel,
        near_filtered: tuple[Float, Float],
        alike_filtered: tuple[Float, Float],
        near_written: tuple[Float, Float],
        alike_written: tuple[Float, Float],
        result: Float,
        begun: bool,
        final: bool,
    ) -> None:
        channels, pixels = logits.shape
        slabs = (channels - 1) // SLAB
        last_column = slabs * SLAB
        width = last_column + last_slab
        near_size, alike_size = near_filtered[1].shape[0], alike_filtered[1].shape[0]
        rows = np.zeros((TILE, width), np.float32)
        # `rows` turned over, for a softmax in vectors over pixels; one column is its own.
        tile = rows.reshape(width, TILE) if width == 1 else np.zeros((width, TILE), np.float32)
        for start in range(0, pixels, TILE):
            count = min(TILE, pixels - start)
            rows[:] = 0
            if begun:
                for slab in range(slabs):
                    near_slab = near_filtered[0][slab * near_size :]
                    alike_slab = alike_filtered[0][slab * alike_size :]
                    _read(rows, slab * SLAB, start, count, near, near_slab, alike, alike_slab, SLAB)
                _read(rows, last_column, start, count, near, near_filtered[1], alike, alike_filtered[1], last_slab)
            if width > 1:
                _turn(rows, tile)
            for c in range(channels):
                for x in range(count):
                    tile[uint64(c), uint64(x)] += logits[uint64(c), uint64(start + x)]
            _softmax(tile, start, count, result, final)
            if final:
                continue
            if width > 1:
                _turn(tile, rows)
            for slab in range(slabs):
                near_slab = near_written[0][slab * near_size :]
                alike_slab = alike_written[0][slab * alike_size :]
                _write(rows, slab * SLAB, start, count, near, near_slab, alike, alike_slab, SLAB)
            _write(rows, last_column, start, count, near, near_written[1], alike, alike_written[1], last_slab)

    return sweep


@compiled_loosely
def _turn(source: Float, target: Float) -> None:
    """Write an array transposed. By vectors of one: left to itself the compiler takes slow scatter instructions."""
    length, width = source.shape
    for c in range(width):
        for x in range(length):
            store(target, uint64(c * length + x), 1, load(source, uint64(x * width + c), 1))
