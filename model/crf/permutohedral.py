"""The permutohedral lattice: Gaussian filtering of scattered points in a few dimensions, in linear time.

Points of a d-dimensional feature space are written onto the d + 1 corners of the lattice simplex that holds them
("splat"), the corners are blurred along the d + 1 lattice directions, and the result is read back ("slice").

The blur is exactly that of pydensecrf (corners that no point touches stay zero; directions in order), so that results
agree to float rounding. Three things make it fast: a corner's coordinates are packed into one integer, in which a step
to a neighbour is an addition; sorting these integers turns the search for neighbours into d + 1 merges; and corners are
blurred in place along chains of neighbours, each read and written once a direction.

References:
    Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice" (Eurographics 2010).
    Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials" (NIPS 2011).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numba import float32, int64, uint32, uint64
from numpy.typing import NDArray

from toco.model.crf.compiled import compiled, compiled_loosely
from toco.model.crf.errors import CrfError
from toco.model.crf.simplex import BLOCK, Float, coordinate_ranges, elevation_scale, locate
from toco.model.crf.vectors import load, multiply_add, prefetch, store

Index = NDArray[np.uint32]
Long = NDArray[np.int64]

# pydensecrf works on four points at a time and fills the last group with points at the origin. They carry no value, but
# their corners exist and pass values on.
POINT_GROUP = 4
# Packed corners are signed 64-bit integers.
PACKED_LIMIT = 2**63
# In a chain, marks the corner that has no predecessor.
CHAIN_START = uint32(1 << 31)
CORNER_MASK = uint32((1 << 31) - 1)

HALF = float32(0.5)
RADIX_BITS = 11
# The hash table stays half empty on most photos, and is fetched into the cache a few points ahead.
SLOTS_A_POINT = 4
FETCHED_AHEAD = 8
HASH_FACTOR = uint64(0x9E3779B97F4A7C15)
EMPTY = uint32((1 << 32) - 1)


class Lattice(Protocol):
    """A lattice over n points with its symmetric normalisation folded in; immutable, so threads may share it.

    Filtering values v (n,) is: add `weights` * v onto `corners`, `blur`, read back with `weights`. That computes
    D^-1/2 K D^-1/2 v, K being the Gaussian kernel of unit deviation and D its row sums.
    """

    @property
    def corners(self) -> Index:
        """The corners around each point, (n, d + 1) uint32."""

    @property
    def weights(self) -> Float:
        """Barycentric weights times the square root of the normalisation, (n, d + 1) float32."""

    @property
    def size(self) -> int:
        """Number of corners."""

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""

    def blur(self, values: Float) -> None:
        """Blur rows of channels, (size, channels) float32, in place along every direction in turn.

        The number of channels is 1, 2, 4, 8 or 16: a row is handled as one vector.
        """


@dataclass(frozen=True, eq=False)
class ScatteredLattice:
    """A `Lattice` of points anywhere.

    Attributes:
        chains: uint32, for each direction its chains of neighbouring corners one after another; the first corner of a
            chain is marked with `CHAIN_START`. Corners without a neighbour in a direction are not listed.
    """

    corners: Index
    weights: Float
    size: int
    chains: Index

    @property
    def nbytes(self) -> int:
        """See `Lattice`."""
        return self.corners.nbytes + self.weights.nbytes + self.chains.nbytes

    def blur(self, values: Float) -> None:
        """See `Lattice`."""
        _chain_blur(values.shape[1])(values, self.chains)


def build_lattice(features: Float) -> ScatteredLattice:
    """Build the lattice of the points in `features`.

    Args:
        features: (d, n) float32, one column a point, divided by the kernel's standard deviations.

    Raises:
        CrfError: the points spread over more lattice cells than 64-bit keys or float32 coordinates can tell apart.
    """
    dimensions, points = features.shape
    padding = -points % POINT_GROUP
    padded = np.ascontiguousarray(np.pad(features, ((0, 0), (0, padding))) if padding else features)
    place, origin, bits = _packing(padded)
    corners, weights, keys = _embedding(dimensions)(padded, elevation_scale(dimensions), place, origin)
    steps = place.sum() - (dimensions + 1) * np.append(place, 0)
    chains = _chains(*_sorted(keys, bits), steps)
    lattice = ScatteredLattice(corners[:points], weights[:points], len(keys), chains)
    normalise(lattice)
    return lattice


def normalise(lattice: Lattice) -> None:
    """Fold the constant of the blur and the symmetric normalisation into the weights, in place."""
    dimensions = lattice.corners.shape[1] - 1
    mass = np.zeros((lattice.size, 1), np.float32)
    _add_weights(lattice.corners, lattice.weights, mass)
    lattice.blur(mass)
    _scale_weights(lattice.corners, lattice.weights, mass, np.float32(1.0 / (1.0 + 2.0**-dimensions)))


def _packing(features: Float) -> tuple[Long, np.int64, int]:
    """Place values that pack a corner's first d coordinates into one integer, the offset, and its length in bits."""
    ranges = coordinate_ranges(features.min(axis=1), features.max(axis=1))[:-1]
    place, origin, total = [], 0, 1
    for first, last in reversed(ranges):
        place.append(total)
        origin += first * total
        total *= last - first + 1
    if total >= PACKED_LIMIT:
        raise CrfError(
            f"The CRF's features span {total:.3g} lattice cells; the limit is {PACKED_LIMIT:.3g}.",
            fix="Raise the CRF's standard deviations (sxy, srgb) or make the image smaller.",
        )
    return np.array(place[::-1], np.int64), np.int64(origin), total.bit_length()


@cache
def _embedding(d: int) -> Callable[..., tuple[Index, Float, Long]]:
    """The embedding for d dimensions; the count is built into the code, which unrolls its loops."""

    @compiled
    def embed(features: Float, scale: Float, place: Long, origin: Any) -> tuple[Index, Float, Long]:
        """Corners (n, d + 1) and barycentric weights (n, d + 1) of each point, and the packed key of each corner.

        Corners are numbered as they are met: near numbers belong to near pixels, which the caches reward.
        """
        n = features.shape[1]
        corners = np.empty((n, d + 1), np.uint32)
        weights = np.empty((n, d + 1), np.float32)
        keys = np.empty(n + BLOCK * (d + 1), np.int64)
        count = uint64(0)
        # A hash table with linear probing. It holds corner numbers only: their keys lie close together in `keys`.
        bits = 13
        while (1 << bits) < SLOTS_A_POINT * n:
            bits += 1
        table = np.full(1 << bits, EMPTY)

        ones = place.sum()
        turn = (d + 1) * place  # from one corner to the next, one coordinate turns back by d + 1
        within = np.empty((d + 1, BLOCK), np.float32)
        nearest = np.empty((d + 1, BLOCK), np.float32)
        rank = np.empty((d + 1, BLOCK), np.int32)
        key_of = np.empty((d + 1, BLOCK), np.int64)
        slot_of = np.empty((BLOCK, d + 1), np.uint32)

        for start in range(0, n, BLOCK):
            block = min(BLOCK, n - start)
            locate(features, start, block, scale, within, nearest, rank)
            for x in range(block):
                key = -origin
                for i in range(d):
                    key += int64(nearest[i, x]) * place[i]
                key_of[0, x] = key
            for corner in range(1, d + 1):
                for x in range(block):
                    key = key_of[corner - 1, x] + ones
                    for i in range(d):
                        key -= turn[i] if rank[i, x] == d + 1 - corner else 0
                    key_of[corner, x] = key
            for i in range(d):  # sort the offsets, greatest first
                for j in range(d - i):
                    for x in range(block):
                        one, other = within[j, x], within[j + 1, x]
                        within[j, x], within[j + 1, x] = max(one, other), min(one, other)
            for x in range(block):
                point = uint64(start + x)
                weights[point, uint64(0)] = (within[d, x] + float32(1)) - within[0, x]
                for i in range(1, d + 1):
                    weights[point, uint64(i)] = within[d - i, x] - within[d - i + 1, x]

            most = int64(count) + block * (d + 1)
            if most > keys.size:
                grown = np.empty(2 * most, np.int64)
                grown[:count] = keys[:count]
                keys = grown
            if 2 * most > table.size:
                bits += 2
                table = np.full(1 << bits, EMPTY)
                for corner in range(count):
                    slot = (uint64(keys[corner]) * HASH_FACTOR) >> uint64(64 - bits)
                    while table[slot] != EMPTY:
                        slot = (slot + uint64(1)) & uint64(table.size - 1)
                    table[slot] = corner
            shift, last = uint64(64 - bits), uint64(table.size - 1)
            for i in range(d + 1):
                for x in range(block):
                    slot_of[x, i] = uint32((uint64(key_of[i, x]) * HASH_FACTOR) >> shift)
            for x in range(block):
                coming = uint64(min(x + FETCHED_AHEAD, block - 1))
                for i in range(d + 1):
                    prefetch(table, uint64(slot_of[coming, uint64(i)]))
                for i in range(d + 1):
                    key = key_of[uint64(i), uint64(x)]
                    slot = uint64(slot_of[uint64(x), uint64(i)])
                    corner = table[slot]
                    while corner != EMPTY and keys[uint64(corner)] != key:
                        slot = (slot + uint64(1)) & last
                        corner = table[slot]
                    if corner == EMPTY:
                        table[slot] = count
                        corner = table[slot]
                        keys[count] = key
                        count += uint64(1)
                    corners[uint64(start + x), uint64(i)] = corner
        return corners, weights, keys[:count].copy()

    return embed


@compiled
def _sorted(keys: Long, bits: int) -> tuple[Long, Index]:
    """Sort by a least-significant-digit radix sort: the sorted keys and the corner of each."""
    size = keys.size
    source, target = keys.copy(), np.empty_like(keys)
    source_corner, target_corner = np.arange(size).astype(np.uint32), np.empty(size, np.uint32)
    digit_mask = uint64((1 << RADIX_BITS) - 1)
    for shift in range(0, bits, RADIX_BITS):
        position = np.zeros((1 << RADIX_BITS) + 1, np.uint64)
        for i in range(size):
            position[((uint64(source[i]) >> uint64(shift)) & digit_mask) + uint64(1)] += uint64(1)
        for digit in range(1, position.size):
            position[digit] += position[digit - 1]
        for i in range(size):
            digit = (uint64(source[i]) >> uint64(shift)) & digit_mask
            to = position[digit]
            position[digit] += uint64(1)
            target[to] = source[i]
            target_corner[to] = source_corner[i]
        source, target = target, source
        source_corner, target_corner = target_corner, source_corner
    return source, source_corner


@compiled
def _chains(keys: Long, corner: Index, steps: Long) -> Index:
    """Follow the neighbours in each direction, see `ScatteredLattice.chains`.

    All loops are without branches on the keys: which corners have neighbours is a coin toss to the processor.
    """
    size = keys.size
    none, end = uint32(size), uint64(size)
    chains = np.empty(steps.size * size + 1, np.uint32)
    following = np.empty(size, np.uint32)
    preceded = np.empty(size, np.uint8)
    length = np.zeros(size + 1, np.uint32)  # of the chain from a corner on; 0 for none
    place = np.empty(size + 1, np.uint64)
    filled = uint64(0)
    for direction in range(steps.size):
        following[:] = none
        preceded[:] = 0
        _match(keys, abs(steps[direction]), following, preceded)  # the blur looks the same from both ends
        for k in range(size):
            at = end - uint64(k) - uint64(1)
            length[at] = length[uint64(following[at])] + uint32(1)
        for k in range(size):
            at = uint64(k)
            # Loaded before it is known whether they are needed, so that choosing takes no branch.
            continued, members, number = place[at], length[at], corner[at]
            starts = preceded[at] == 0
            to = filled if starts else continued
            chains[to] = number | (CHAIN_START if starts else uint32(0))
            # A corner alone is written too, but nothing advances: the next chain overwrites it.
            filled += uint64(members) if starts & (members > uint32(1)) else uint64(0)
            place[uint64(following[at])] = to + uint64(1)
    return chains[: int64(filled)].copy()


@compiled
def _match(keys: Long, step: int, following: Index, preceded: NDArray[np.uint8]) -> None:
    """Find the neighbour of each corner, whose key is greater by `step`.

    In sorted order the neighbours come in the order of the corners: this is a merge. Each of its steps waits for the
    one before, which is why two halves are merged in turn.

    Args:
        keys: (n,) ascending.
        step: above 0.
        following: (n,) written where there is a neighbour: its place in `keys`.
        preceded: (n,) set to 1 where a corner is one's neighbour.
    """
    end = uint64(keys.size)
    half = end // uint64(2)
    half_end = uint64(np.searchsorted(keys, keys[half] + step))
    i, j = uint64(0), uint64(0)
    k, m = half, half_end
    while i < half and j < half_end and m < end:
        i, j = _advance(keys, step, following, preceded, i, j)
        k, m = _advance(keys, step, following, preceded, k, m)
    while i < half and j < half_end:
        i, j = _advance(keys, step, following, preceded, i, j)
    while m < end:
        k, m = _advance(keys, step, following, preceded, k, m)


@compiled
def _advance(keys: Long, step: int, following: Index, preceded: NDArray[np.uint8], i: Any, j: Any) -> tuple[Any, Any]:
    """One step of the merge: note whether corner j is the neighbour of corner i, and leave the lesser one behind."""
    sought, found = keys[i] + step, keys[j]
    same = sought == found
    following[i] = uint32(j) if same else uint32(keys.size)
    preceded[j] = same
    return i + uint64(sought <= found), j + uint64(found <= sought)


@cache
def _chain_blur(channels: int) -> Callable[[Float, Index], None]:
    """The blur along chains: each corner gains half of each neighbour, one direction after another."""

    @compiled_loosely
    def blur(values: Float, chains: Index) -> None:
        # Without branches: where chains begin is a coin toss to the processor.
        here = uint64(0)
        value = load(values, here, channels)  # corner 0 is not yet in a chain and gets back what it holds
        before, weight_before = value, float32(0)
        for i in range(chains.size):
            entry = chains[uint64(i)]
            coming = uint64(entry & CORNER_MASK) * uint64(channels)
            weight_after = float32(0) if entry >= CHAIN_START else HALF
            after = load(values, coming, channels)
            store(values, here, channels, multiply_add(weight_after, after, multiply_add(weight_before, before, value)))
            # The row just written may be the one that comes, where a direction ends and the next begins.
            before, value = value, load(values, coming, channels)
            weight_before, here = weight_after, coming
        store(values, here, channels, multiply_add(weight_before, before, value))

    return blur


@compiled
def _add_weights(corners: Index, weights: Float, mass: Float) -> None:
    for p in range(corners.shape[0]):
        for i in range(corners.shape[1]):
            mass[uint64(corners[p, i]), 0] += weights[p, i]


@compiled
def _scale_weights(corners: Index, weights: Float, mass: Float, gain: Any) -> None:
    for p in range(corners.shape[0]):
        reached = float32(0)
        for i in range(corners.shape[1]):
            reached += weights[p, i] * mass[uint64(corners[p, i]), 0]
        factor = np.sqrt(gain / (gain * reached + float32(1e-20)))
        for i in range(corners.shape[1]):
            weights[p, i] *= factor
