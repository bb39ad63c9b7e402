"""Pictures for people: masks over photos, heat pictures, contact sheets.

Everything takes and returns (H, W, 3) uint8 RGB arrays. Colours of classes are those of the palette.

References:
    Ottosson, "A perceptual color space for image processing" (2020): OKLab, its matrices and cube root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from toco.model.errors import InvalidArray
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.palette import PALETTE

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

_HATCH_PERIOD: Final = 8
_INK: Final = (32, 33, 36)
_PAPER: Final = (255, 255, 255)
_FAINT: Final = (108, 112, 118)

# From indigo through magenta and orange to cream: dark is cold, and no two heights look alike in grey either.
_HEAT_ANCHORS: Final = ((13, 8, 60), (92, 18, 120), (178, 42, 104), (236, 98, 58), (250, 176, 50), (253, 250, 190))

_LMS_OF_RGB: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB_OF_LMS: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Convert (..., 3) uint8 sRGB to OKLab: lightness 0..1, then two colour axes; distances are as seen."""
    value = rgb / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ _LMS_OF_RGB.T) @ _LAB_OF_LMS.T
    return lab


def _rgb_of_oklab(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    linear = np.clip((lab @ np.linalg.inv(_LAB_OF_LMS).T) ** 3 @ np.linalg.inv(_LMS_OF_RGB).T, 0.0, 1.0)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(value * 255).astype(np.uint8)


@lru_cache(maxsize=1)
def heat_colours() -> npt.NDArray[np.uint8]:
    """Return the colour map of CAMs, perceptually uniform: equal steps of the score look equally large.

    Returns:
        (256, 3) uint8 RGB, from dark (0) to light (1), read-only.
    """
    anchors = oklab(np.array(_HEAT_ANCHORS, np.uint8))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(anchors, axis=0), axis=1))])
    at = np.linspace(0.0, length[-1], 256)
    colours = _rgb_of_oklab(np.stack([np.interp(at, length, axis) for axis in anchors.T], axis=1))
    colours.setflags(write=False)
    return colours


def heat_map(cam: npt.NDArray[np.floating]) -> Picture:
    """Colour a CAM, (h, w) floats in 0..1 (clipped).

    Raises:
        InvalidArray: not 2-D, or empty.
    """
    if cam.ndim != 2 or not cam.size:
        raise InvalidArray(f"A CAM of shape {cam.shape}.", fix="Give a non-empty (h, w) array.")
    return heat_colours()[np.round(np.clip(cam.astype(np.float32), 0.0, 1.0) * 255).astype(np.uint8)]


def heat_picture(
    cam: npt.NDArray[np.floating], image: Picture | None = None, *, side: int | None = None, opacity: float = 0.6
) -> Picture:
    """Lay a coloured CAM over a photo.

    Args:
        cam: (h, w) floats in 0..1, of any size.
        image: (H, W, 3) uint8 RGB photo; without one, the coloured CAM alone.
        side: longest side of the picture in pixels; larger ones are shrunk.
        opacity: of the colours, 0..1. The photo shows through in grey, so that its colours are not taken for heat.

    Raises:
        InvalidArray: an array has another shape or dtype.
    """
    if image is None:
        return _shrunk(heat_map(cam), side)
    photo = _shrunk(_require_picture(image), side)
    height, width = photo.shape[:2]
    resized = np.asarray(
        cv2.resize(cam.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return _blend(np.asarray(grey, np.uint8), heat_map(resized), opacity)


def overlay_picture(
    image: Picture,
    mask: npt.NDArray[np.uint8],
    *,
    side: int | None = None,
    opacity: float = 0.5,
    legend: Vocabulary | None = None,
) -> Picture:
    """Lay a mask over a photo: classes in their colours with thin outlines, ignored pixels hatched.

    Args:
        image: (H, W, 3) uint8 RGB photo.
        mask: (h, w) uint8 mask indices, of any size.
        side: longest side of the picture in pixels; larger ones are shrunk.
        opacity: of the colours, 0..1.
        legend: names the classes shown, in the lower left corner.

    Raises:
        InvalidArray: an array has another shape or dtype.
    """
    photo = _shrunk(_require_picture(image), side)
    height, width = photo.shape[:2]
    indices = _resized_mask(mask, height, width)
    picture = _blend(photo, PALETTE[indices], opacity)
    background, ignored = indices == BACKGROUND, indices == IGNORE
    np.copyto(picture, photo, where=background[..., None])
    if ignored.any():
        np.copyto(picture, _hatched(photo), where=ignored[..., None])
    # The outline is drawn light on the inside, so that it shows on dark photos and dark colours alike.
    picture[_outline(indices) & ~background & ~ignored] = _PAPER
    return _with_legend(picture, indices, legend) if legend else picture


def mask_picture(mask: npt.NDArray[np.uint8]) -> Picture:
    """Colour a mask by the palette, (H, W) uint8 to (H, W, 3) uint8; ignored pixels are cream, as in VOC."""
    return PALETTE[_resized_mask(mask, *mask.shape[:2])]


def _require_picture(image: Picture) -> Picture:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InvalidArray(
            f"A photo of shape {image.shape} and dtype {image.dtype}.", fix="Give a non-empty (H, W, 3) uint8 array."
        )
    return image


def _shrunk(picture: Picture, side: int | None) -> Picture:
    height, width = picture.shape[:2]
    longest = max(height, width)
    if side is None or longest <= side:
        return picture
    target = max(1, round(width * side / longest)), max(1, round(height * side / longest))
    return np.asarray(cv2.resize(picture, target, interpolation=cv2.INTER_AREA), np.uint8)


def _resized_mask(mask: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
        raise InvalidArray(
            f"A mask of shape {mask.shape} and dtype {mask.dtype}.", fix="Give a non-empty (H, W) uint8 array."
        )
    if mask.shape == (height, width):
        return mask
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _blend(below: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], opacity: float) -> Picture:
    return np.asarray(cv2.addWeighted(below, 1 - opacity, above, opacity, 0.0), np.uint8)


def _hatched(photo: Picture) -> Picture:
    """Return the photo greyed, with light diagonal stripes."""
    height, width = photo.shape[:2]
    phase = (np.arange(height)[:, None] + np.arange(width)[None, :]) % _HATCH_PERIOD
    stripe = (phase < _HATCH_PERIOD // 4)[..., None]
    light = _blend(photo, np.full_like(photo, 255), 0.75)
    return np.where(stripe, light, _blend(photo, np.full_like(photo, 128), 0.4))


def _outline(indices: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Mark the pixels that differ from a neighbour above, below, left or right."""
    edge = np.zeros(indices.shape, bool)
    across, down = indices[:, 1:] != indices[:, :-1], indices[1:] != indices[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _with_legend(
    picture: Picture, indices: npt.NDArray[np.uint8], vocabulary: Vocabulary, *, hatch: bool = True
) -> Picture:
    shown = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    names = vocabulary.name_of_index | {IGNORE: "ignore"}
    entries = [(int(index), names.get(int(index), str(index))) for index in shown if index != BACKGROUND]
    if not entries:
        return picture
    size = max(10, min(24, max(picture.shape[:2]) // 40))
    font, line, margin = _font(size), round(size * 1.5), size // 2
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    wide = max(draw.textlength(name, font) for _, name in entries) + size + 3 * margin
    top = canvas.height - len(entries) * line - 2 * margin
    draw.rectangle((margin, top, margin + wide, canvas.height - margin), fill=(*_PAPER, 225))
    for row, (index, name) in enumerate(entries):
        middle = top + margin // 2 + row * line + line // 2
        chip = Image.fromarray(_hatched(_plain(size)) if hatch and index == IGNORE else _plain(size, index))
        corner = (2 * margin, middle - size // 2)
        canvas.paste(chip, corner)
        draw.rectangle((*corner, corner[0] + size, corner[1] + size), outline=_INK)
        draw.text((3 * margin + size, middle), name, _INK, font, anchor="lm")
    return np.asarray(canvas).copy()


def _plain(size: int, index: int = BACKGROUND) -> Picture:
    return np.broadcast_to(PALETTE[index], (size, size, 3))


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One photo of a contact sheet.

    Attributes:
        name: the photo's file name.
        tags: K class names.
        image: (H, W, 3) uint8 RGB photo, of any size.
        cams: (K, h, w) floats in 0..1, of any size.
        pseudo_mask: (H, W) uint8 mask indices, of any size.
        note: what else to say, such as the ignored share.
    """

    name: str
    tags: tuple[str, ...]
    image: Picture
    cams: npt.NDArray[np.floating]
    pseudo_mask: npt.NDArray[np.uint8]
    note: str = ""


_COLUMNS: Final = ("photo", "CAM", "pseudo mask", "overlay")
_GAP: Final = 8
_TEXT: Final = 13
_HEADER: Final = 28
_CAPTION: Final = 24


def contact_sheet(rows: Sequence[SheetRow], vocabulary: Vocabulary, *, cell: int = 300) -> Picture:
    """Draw a sheet with a row a photo: photo, CAM (one tile a tag), pseudo mask, overlay; name and tags above.

    Args:
        rows: the photos.
        vocabulary: the classes of the masks.
        cell: width and greatest height of one picture in pixels.

    Raises:
        InvalidArray: there are no rows, or an array has another shape or dtype.
    """
    if not rows:
        raise InvalidArray("A contact sheet of no photos.", fix="Give at least one.")
    bands = [_row(row, vocabulary, cell) for row in rows]
    width = len(_COLUMNS) * (cell + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEADER + sum(band.height for band in bands)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(_COLUMNS):
        draw.text((_GAP + column * (cell + _GAP), _HEADER // 2), title, _FAINT, _font(_TEXT), anchor="lm")
    top = _HEADER
    for band in bands:
        sheet.paste(band, (0, top))
        top += band.height
    return np.asarray(sheet).copy()


def _row(row: SheetRow, vocabulary: Vocabulary, cell: int) -> Image.Image:
    photo = _fitted(_require_picture(row.image), cell)
    height, width = photo.shape[:2]
    indices = _resized_mask(row.pseudo_mask, height, width)
    mask = _with_legend(mask_picture(indices), indices, vocabulary, hatch=False)
    pictures = (photo, _cam_tiles(row, height, width), mask, overlay_picture(photo, indices))

    band = Image.new("RGB", (len(pictures) * (cell + _GAP) + _GAP, _CAPTION + height + _GAP), _PAPER)
    draw = ImageDraw.Draw(band)
    draw.line((_GAP, 1, band.width - _GAP, 1), fill=(218, 220, 224))
    caption = " \u00b7 ".join(part for part in (", ".join(row.tags) or "no tags", row.note) if part)
    name_width = draw.textlength(row.name, _font(_TEXT))
    draw.text((_GAP, _CAPTION // 2 + 1), row.name, _INK, _font(_TEXT), anchor="lm")
    draw.text((_GAP + name_width + 12, _CAPTION // 2 + 1), caption, _FAINT, _font(_TEXT), anchor="lm")
    for column, picture in enumerate(pictures):
        left = _GAP + column * (cell + _GAP) + (cell - picture.shape[1]) // 2
        band.paste(Image.fromarray(picture), (left, _CAPTION))
    return band


def _fitted(photo: Picture, cell: int) -> Picture:
    """Scale a photo, up or down, to fit a square cell."""
    height, width = photo.shape[:2]
    scale = cell / max(height, width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, target, interpolation=method), np.uint8)


def _cam_tiles(row: SheetRow, height: int, width: int) -> Picture:
    """Lay the heat pictures of all tags side by side, in a near-square grid, on (height, width) pixels."""
    tiles = Image.new("RGB", (width, height), (241, 243, 244))
    if not row.tags:
        return np.asarray(tiles).copy()
    columns = int(np.ceil(np.sqrt(len(row.tags))))
    tile_rows = -(-len(row.tags) // columns)
    small = _shrunk(row.image, max(1, max(height, width) // columns))
    draw = ImageDraw.Draw(tiles)
    for position, (tag, cam) in enumerate(zip(row.tags, row.cams, strict=True)):
        left, top = position % columns * width // columns, position // columns * height // tile_rows
        right, bottom = (position % columns + 1) * width // columns, (position // columns + 1) * height // tile_rows
        heat = Image.fromarray(heat_picture(cam, small))
        heat.thumbnail((right - left, bottom - top))
        at = left + (right - left - heat.width) // 2, top + (bottom - top - heat.height) // 2
        tiles.paste(heat, at)
        if len(row.tags) > 1:
            corner = (at[0] + 4, at[1] + 3)
            draw.text(corner, tag, _PAPER, _font(_TEXT - 2), stroke_width=2, stroke_fill=_INK)
    return np.asarray(tiles).copy()
