"""Near-duplicate photos: a fingerprint of what a photo looks like, and the groups that look alike.

The fingerprint is a difference hash: the photo as 9 x 9 grey tiles, a bit for each neighbour to the right (64) and
below (64) that is brighter. Copies that were resized, compressed anew or a little brightened differ in few bits;
crops, mirrored and turned copies do not count as alike.

References:
    Krawetz, "Kind of like that" (2013): dHash.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray

NEAR_BITS: Final = 7
"""Fingerprints that differ in so many of their 128 bits at most are of photos that look alike."""

_BANDS: Final = NEAR_BITS + 1  # two that differ in `NEAR_BITS` bits agree in one band at least
_BAND_BYTES: Final = 16 // _BANDS
_TILES: Final = 9


def fingerprint(pixels: npt.NDArray[np.uint8]) -> str:
    """Return the fingerprint of a photo, 32 hex digits.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Raises:
        InvalidArray: another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise InvalidArray(f"Pixels of shape {pixels.shape} and dtype {pixels.dtype}.", fix="Give (H, W, 3) uint8.")
    grey = cv2.cvtColor(cv2.resize(pixels, (4 * _TILES, 4 * _TILES), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    tiles = cv2.resize(grey.astype(np.float32), (_TILES, _TILES), interpolation=cv2.INTER_AREA)
    right = tiles[:-1, 1:] > tiles[:-1, :-1]
    below = tiles[1:, :-1] > tiles[:-1, :-1]
    return np.packbits(np.concatenate([right.ravel(), below.ravel()])).tobytes().hex()


def alike(fingerprints: Sequence[str], *, bits: int = NEAR_BITS) -> list[int]:
    """Return for each photo the position of the first one of its group: those that look alike, in a chain of pairs.

    The time grows with the number of photos, not its square, unless many look nearly alike.

    Args:
        fingerprints: of the photos; an empty one is alike to none.
        bits: at most so many differ, of 128; `NEAR_BITS` at most.
    """
    first: dict[str, int] = {}
    group = list(range(len(fingerprints)))
    for position, text in enumerate(fingerprints):
        if text:
            group[position] = first.setdefault(text, position)
    roots = list(first.values())
    hashes = np.array([list(bytes.fromhex(fingerprints[at])) for at in roots], np.uint8).reshape(len(roots), 16)
    parents = list(range(len(roots)))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = at = parents[parents[at]]
        return at

    for band in range(_BANDS):
        part = np.ascontiguousarray(hashes[:, band * _BAND_BYTES : (band + 1) * _BAND_BYTES]).view(np.uint16).ravel()
        order = np.argsort(part, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            for at, one in enumerate(bucket[:-1]):
                others = bucket[at + 1 :]
                distance = np.bitwise_count(hashes[others] ^ hashes[one]).sum(axis=1)
                for other in others[distance <= bits].tolist():
                    low, high = sorted((root(int(one)), root(other)))
                    parents[high] = low
    by_root = {roots[at]: roots[root(at)] for at in range(len(roots))}
    return [by_root.get(at, at) for at in group]
