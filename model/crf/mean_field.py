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

from model.crf.compiled import compiled, compiled_loosely
from model.crf.permutohedral import Index, Lattice
from model.crf.simplex import Float
from model.crf.vectors import loader, multiply_add, storer

# Channels are kept in slabs of 16, the last one narrower: a row of a slab is one line of the processor's cache.
SLAB = 16
LINE_BYTES = 64
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

    logits = _logits(energies, slabs * SLAB + last_slab)
    lattices = (spatial, bilateral)
    filtered = tuple(_Channels.zeros(lattice.size, slabs, last_slab) for lattice in lattices)
    written = tuple(_Channels.zeros(lattice.size, slabs, last_slab) for lattice in lattices)
    near = (spatial.corners, spatial.weights, np.float32(compatibility[0]))
    alike = (bilateral.corners, bilateral.weights, np.float32(compatibility[1]))
    result = np.empty_like(energies)
    for _ in range(iterations):
        sweep(logits, near, alike, *(channels.arrays for channels in (*filtered, *written)), result, False)
        for lattice, channels_of in zip(lattices, written, strict=True):
            for slab in channels_of.slabs():
                lattice.blur(slab)
        filtered, written = written, filtered
        for channels_of in written:
            channels_of.clear()
    sweep(logits, near, alike, *(channels.arrays for channels in (*filtered, *written)), result, True)
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


@compiled
def _logits(energies: Float, width: int) -> Float:
    """Logits of classes 1.. against class 0, (n, width): the groups one after another, then zeros."""
    groups, classes, pixels = energies.shape
    logits = np.zeros((pixels, width), np.float32)
    for start in range(0, pixels, TILE):
        for group in range(groups):
            for k in range(1, classes):
                to = uint64(group * (classes - 1) + k - 1)
                for p in range(start, min(start + TILE, pixels)):
                    logits[uint64(p), to] = energies[group, 0, p] - energies[group, k, p]
    return logits


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
def _softmax(tile: Float, groups: int, classes: int, count: int, start: int, result: Float, last: bool) -> None:
    """Turn logits against class 0 into differences of probabilities, or, at last, write the probabilities.

    Args:
        tile: (channels, TILE) logits in, Q_k - Q_0 out.
        groups: problems.
        classes: classes of each.
        count: pixels in use.
        start: first pixel.
        result: (g, K, n), written if `last`.
        last: whether this is the last sweep.
    """
    top, rest, scale = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    for group in range(groups):
        first = group * (classes - 1)
        top[:] = 0
        for c in range(first, first + classes - 1):
            for x in range(TILE):
                top[x] = max(top[x], tile[c, x])
        for x in range(TILE):
            rest[x] = _exp(-top[x])
            scale[x] = rest[x]
        for c in range(first, first + classes - 1):
            for x in range(TILE):
                tile[c, x] = _exp(tile[c, x] - top[x])
                scale[x] += tile[c, x]
        for x in range(TILE):
            scale[x] = float32(1) / scale[x]
        if last:
            for x in range(count):
                result[group, 0, start + x] = rest[x] * scale[x]
            for k in range(1, classes):
                for x in range(count):
                    result[group, k, start + x] = tile[first + k - 1, x] * scale[x]
        else:
            for c in range(first, first + classes - 1):
                for x in range(TILE):
                    tile[c, x] = (tile[c, x] - rest[x]) * scale[x]


@cache
def _sweep(last_slab: int) -> Callable[..., None]:
    """The sweep over all pixels, made for the width of the last slab."""
    load, store = loader(SLAB), storer(SLAB)
    load_last, store_last = loader(last_slab), storer(last_slab)

    @compiled_loosely
    def sweep(
        logits: Float,
        near: tuple[Index, Float, Any],
        alike: tuple[Index, Float, Any],
        near_read: tuple[Float, Float],
        alike_read: tuple[Float, Float],
        near_written: tuple[Float, Float],
        alike_written: tuple[Float, Float],
        result: Float,
        last: bool,
    ) -> None:
        near_corners, near_weights, near_gain = near
        alike_corners, alike_weights, alike_gain = alike
        near_in, near_in_last = near_read
        alike_in, alike_in_last = alike_read
        near_out, near_out_last = near_written
        alike_out, alike_out_last = alike_written
        pixels, width = logits.shape
        slabs = width // SLAB if last_slab < SLAB else width // SLAB - 1
        zero, last_column = uint64(0), uint64(slabs * SLAB)
        near_size, alike_size = near_in_last.shape[0], alike_in_last.shape[0]
        tile = np.zeros((width, TILE), np.float32)
        row = np.empty((1, width), np.float32)
        for start in range(0, pixels, TILE):
            count = min(TILE, pixels - start)
            for x in range(count):
                p = uint64(start + x)
                for slab in range(slabs):
                    column = uint64(slab * SLAB)
                    value = load(logits, p, column)
                    for i in range(3):
                        corner = uint64(near_corners[p, uint64(i)]) + uint64(slab * near_size)
                        value = multiply_add(near_weights[p, uint64(i)], load(near_in, corner, zero), value)
                    for i in range(6):
                        corner = uint64(alike_corners[p, uint64(i)]) + uint64(slab * alike_size)
                        value = multiply_add(alike_weights[p, uint64(i)], load(alike_in, corner, zero), value)
                    store(row, zero, column, value)
                value_last = load_last(logits, p, last_column)
                for i in range(3):
                    corner = uint64(near_corners[p, uint64(i)])
                    value_last = multiply_add(
                        near_weights[p, uint64(i)], load_last(near_in_last, corner, zero), value_last
                    )
                for i in range(6):
                    corner = uint64(alike_corners[p, uint64(i)])
                    value_last = multiply_add(
                        alike_weights[p, uint64(i)], load_last(alike_in_last, corner, zero), value_last
                    )
                store_last(row, zero, last_column, value_last)
                for c in range(width):
                    tile[uint64(c), uint64(x)] = row[zero, uint64(c)]
            _softmax(tile, result.shape[0], result.shape[1], count, start, result, last)
            if last:
                continue
            for x in range(count):
                p = uint64(start + x)
                for c in range(width):
                    row[zero, uint64(c)] = tile[uint64(c), uint64(x)]
                for slab in range(slabs):
                    value = load(row, zero, uint64(slab * SLAB))
                    for i in range(3):
                        corner = uint64(near_corners[p, uint64(i)]) + uint64(slab * near_size)
                        weight = near_gain * near_weights[p, uint64(i)]
                        store(near_out, corner, zero, multiply_add(weight, value, load(near_out, corner, zero)))
                    for i in range(6):
                        corner = uint64(alike_corners[p, uint64(i)]) + uint64(slab * alike_size)
                        weight = alike_gain * alike_weights[p, uint64(i)]
                        store(alike_out, corner, zero, multiply_add(weight, value, load(alike_out, corner, zero)))
                value_last = load_last(row, zero, last_column)
                for i in range(3):
                    corner = uint64(near_corners[p, uint64(i)])
                    gained = multiply_add(
                        near_gain * near_weights[p, uint64(i)], value_last, load_last(near_out_last, corner, zero)
                    )
                    store_last(near_out_last, corner, zero, gained)
                for i in range(6):
                    corner = uint64(alike_corners[p, uint64(i)])
                    gained = multiply_add(
                        alike_gain * alike_weights[p, uint64(i)], value_last, load_last(alike_out_last, corner, zero)
                    )
                    store_last(alike_out_last, corner, zero, gained)

    return sweep
