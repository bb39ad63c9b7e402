"""Regions as annotation tools write them, back to masks: brush strokes, polygons, run lengths in a box.

What is read comes from outside: every size is checked before memory is taken for it.

References:
    label-studio-sdk 2.1, `converter/brush.py`, `decode_rle` (semantics only).
    docs.cvat.ai, "CVAT for images 1.1" (`mask` with `rle`, `left`, `top`, `width`, `height`; `polygon` with `points`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from toco.model.formats.sent_mask import InvalidMask

Region = npt.NDArray[np.bool_]
"""(H, W) bool."""

_CHANNELS: Final = 4  # Label Studio's brush is RGBA, of which the last counts
_MOST_CORNERS: Final = 1_000_000


def decode_brush_rle(rle: Sequence[int], size: tuple[int, int]) -> Region:
    """Decode the `rle` of a brush region in Label Studio; see `label_studio.encode_brush_rle` for its layout.

    Args:
        rle: bytes, 0..255.
        size: (H, W) that it must have.

    Raises:
        InvalidMask: damaged, or of another size.
    """
    try:
        bits = np.unpackbits(np.array(rle, np.uint8))
    except (ValueError, TypeError, OverflowError):
        raise InvalidMask("A brush region whose rle is no list of bytes.", fix="Save the annotation again.") from None
    stream = _Bits(bits)
    total, word, sizes = stream.take(32), stream.take(5) + 1, [stream.take(4) + 1 for _ in range(4)]
    if total != size[0] * size[1] * _CHANNELS:
        raise InvalidMask(
            f"A brush region of {total // _CHANNELS:,} pixels on a photo of {size[0] * size[1]:,}.",
            fix="Annotate the photo that was labelled.",
        )
    flat = np.zeros(total, bool)
    place = 0
    while place < total:
        repeats = stream.take(1)
        count = stream.take(sizes[stream.take(2)]) + 1
        if place + count > total:
            raise InvalidMask("A brush region longer than its photo.", fix="Save the annotation again.")
        flat[place : place + count] = stream.nonzero(1 if repeats else count, word)
        place += count
    return flat.reshape(*size, _CHANNELS)[..., -1]


class _Bits:
    """A bit stream, most significant bit first."""

    def __init__(self, bits: npt.NDArray[np.uint8]) -> None:
        self._bits, self._place = bits, 0

    def take(self, count: int) -> int:
        """Return the next number of so many bits. Raises InvalidMask at the end."""
        return int("".join(map(str, self._next(count).tolist())), 2)

    def nonzero(self, count: int, width: int) -> npt.NDArray[np.bool_]:
        """Return which of the next numbers are not 0. Raises InvalidMask at the end."""
        return np.asarray(self._next(count * width).reshape(count, width).any(axis=1))

    def _next(self, count: int) -> npt.NDArray[np.uint8]:
        found = self._bits[self._place : self._place + count]
        if len(found) < count:
            raise InvalidMask("A brush region that ends in the middle.", fix="Save the annotation again.")
        self._place += count
        return found


def fill_polygon(corners: Iterable[Sequence[float]], size: tuple[int, int]) -> Region:
    """Return the pixels whose centres lie inside a polygon (even-odd rule).

    Args:
        corners: (x, y) in pixels; the centre of the first pixel is at 0.5.
        size: (H, W) of the photo.

    Raises:
        InvalidMask: corners that are no numbers, or too many of them.
    """
    try:
        found = np.array(list(corners), np.float64).reshape(-1, 2)
    except (ValueError, TypeError):
        raise InvalidMask("A polygon whose corners are no numbers.", fix="Save the annotation again.") from None
    if len(found) > _MOST_CORNERS or not np.isfinite(found).all():
        raise InvalidMask(f"A polygon of {len(found):,} corners, or beyond all measure.", fix="Simplify it.")
    inside = np.zeros(size, bool)
    limit = 4.0 * max(size)
    x1, y1 = np.clip(found, -limit, limit).T
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    first, last = (0, 0) if len(found) < 3 else (max(0, int(y1.min())), min(size[0], int(np.ceil(y1.max()))))
    for row in range(first, last):
        middle = row + 0.5
        crossed = (y1 <= middle) != (y2 <= middle)
        share = (middle - y1[crossed]) / (y2[crossed] - y1[crossed])
        edges = np.sort(x1[crossed] + share * (x2[crossed] - x1[crossed]))
        columns = np.clip(np.ceil(edges - 0.5), 0, size[1]).astype(int)
        for left, right in zip(columns[::2], columns[1::2], strict=True):
            inside[row, left:right] = True
    return inside


def decode_box_runs(runs: Sequence[int], box: tuple[int, int, int, int], size: tuple[int, int]) -> Region:
    """Decode CVAT's run lengths over a box: row by row, background first.

    Args:
        runs: lengths.
        box: left, top, width, height in pixels.
        size: (H, W) of the photo.

    Raises:
        InvalidMask: they do not fill the box, or the box lies outside the photo.
    """
    left, top, width, height = box
    outside = left < 0 or top < 0 or width < 1 or height < 1 or left + width > size[1] or top + height > size[0]
    if outside or any(run < 0 for run in runs) or sum(runs) != width * height:
        raise InvalidMask(
            f"A mask of {sum(runs):,} pixels in the box {box} of a photo of {size[1]} x {size[0]}.",
            fix="Export the annotations again.",
        )
    values = np.arange(len(runs)) % 2 == 1
    inside = np.zeros(size, bool)
    inside[top : top + height, left : left + width] = np.repeat(values, runs).reshape(height, width)
    return inside


def label_studio_region(region: Any, size: tuple[int, int]) -> Region | None:
    """Return the pixels of a region of a Label Studio annotation, or None where it says nothing of single pixels.

    Choices and key points do not; nor do rectangles: a box round a thing is not its mask.

    Args:
        region: an entry of `result`.
        size: (H, W) of the upright photo.

    Raises:
        InvalidMask: damaged, turned, or drawn on a photo of another size.
    """
    value = region.get("value") if isinstance(region, dict) else None
    kind = region.get("type") if isinstance(region, dict) else None
    if not isinstance(value, dict) or kind not in ("brushlabels", "polygonlabels"):
        return None
    drawn = (region.get("original_height"), region.get("original_width"))
    if drawn != size:
        raise InvalidMask(
            f"A region drawn on {drawn[1]} x {drawn[0]} pixels; the photo has {size[1]} x {size[0]}.",
            fix="Annotate the photo that was labelled.",
        )
    if region.get("image_rotation") or value.get("rotation"):
        raise InvalidMask("A turned region.", fix="Draw it unturned.")
    height, width = size
    if kind == "brushlabels":
        return decode_brush_rle(value.get("rle") or (), size)
    try:
        corners = [(x * width / 100, y * height / 100) for x, y in value["points"]]
    except (KeyError, TypeError, ValueError):
        raise InvalidMask("A polygon without its corners.", fix="Save the annotation again.") from None
    return fill_polygon(corners, size)
