"""From a decoded picture of any kind to upright 8-bit RGB of a wanted size, in bounded memory."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from toco.model.errors import TocoError

# EXIF orientation to the operation that makes the photo upright (EXIF 2.32, tag 0x0112).
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN_MODES: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK", "HSV"})
_ALPHA_MODES: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_WIDE_MODES: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})


class UnsupportedImageFormat(TocoError):
    """The file is no photo, or of a format that is not read."""

    code = "unsupported_image_format"
    kind = "unsupported"


def turns(orientation: int) -> bool:
    """Return whether an EXIF orientation turns or mirrors the photo."""
    return orientation in _UPRIGHT


def upright(picture: Image.Image, orientation: int) -> Image.Image:
    """Return a picture as its EXIF orientation wants it shown."""
    return picture.transpose(_UPRIGHT[orientation])


def shrunk_size(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    """Return (width, height) in pixels of a photo whose longer side has at most `long_side`."""
    longest = max(width, height)
    if long_side is None or longest <= long_side:
        return width, height
    return max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest))


def shrunk_rgb(image: Image.Image, target: tuple[int, int], *, band_pixels: int) -> Image.Image:
    """Convert a loaded picture of any mode to RGB of a size.

    A picture of more than four bands is converted and reduced band by band, so that beside the decoded picture itself
    little memory is used.

    Args:
        image: loaded.
        target: (width, height) in pixels.
        band_pixels: of one band.

    Raises:
        UnsupportedImageFormat: its samples are of a kind that is not read.
    """
    convert = _converter(image, band_pixels)
    if image.width * image.height <= 4 * band_pixels or image.size == target:
        rgb = convert(image)
        if rgb.size != target:
            rgb = rgb.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return rgb
    # As `reducing_gap` does: means over blocks down to about twice the target, then an exact resize.
    factor = max(1, min(image.width // target[0], image.height // target[1]) // 2)
    small = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top, band in _bands(image, band_pixels, multiple=factor):
        small.paste(convert(band).reduce(factor), (0, top // factor))
    box = (0.0, 0.0, image.width / factor, image.height / factor)
    return small.resize(target, Image.Resampling.BILINEAR, box=box)


def _bands(image: Image.Image, band_pixels: int, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield the first row and the pixels of bands over the whole width, of a multiple of so many rows."""
    rows = max(1, band_pixels // image.width // multiple) * multiple
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _converter(image: Image.Image, band_pixels: int) -> Callable[[Image.Image], Image.Image]:
    """Return what makes RGB of the picture or of parts of it; see `images.read_image` for the rules."""
    mode = image.mode
    if mode in _ALPHA_MODES or (mode in _PLAIN_MODES and "transparency" in image.info):
        return _on_white
    if mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for Adobe's, which stores the inks inverted; without its marker they are not.
        return lambda part: part.point(lambda ink: 255 - ink).convert("RGB")
    if mode in _PLAIN_MODES:
        return lambda part: part.convert("RGB")
    if mode in ("I", "F"):
        return partial(_stretched, span=_span(image, band_pixels))
    if mode in _WIDE_MODES:
        return _high_bytes
    raise UnsupportedImageFormat(
        f"Samples of kind {mode!r} in a {image.format} file are not read.", fix="Convert the photo to 8-bit RGB."
    )


def _on_white(part: Image.Image) -> Image.Image:
    layer = part.convert("RGBA")
    white = Image.new("RGB", layer.size, (255, 255, 255))
    white.paste(layer, mask=layer.getchannel("A"))
    return white


def _high_bytes(part: Image.Image) -> Image.Image:
    samples = np.asarray(part).astype(np.uint16, copy=False)
    return Image.fromarray((samples >> 8).astype(np.uint8)).convert("RGB")


def _values(part: Image.Image) -> npt.NDArray[np.float32]:
    return np.nan_to_num(np.asarray(part).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _span(image: Image.Image, band_pixels: int) -> tuple[float, float]:
    """Return the samples that become black and white: 0..1 or 0..65535, or their own range if they go beyond."""
    white = 1.0 if image.mode == "F" else 65535.0
    extremes = [(float(found.min()), float(found.max())) for _, part in _bands(image, band_pixels)
                for found in (_values(part),)]  # fmt: skip
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    return (low, high) if low < 0.0 or high > white else (0.0, white)


def _stretched(part: Image.Image, *, span: tuple[float, float]) -> Image.Image:
    low, high = span
    samples = np.round((_values(part) - low) * (255.0 / max(high - low, 1e-12)))
    return Image.fromarray(samples.astype(np.uint8)).convert("RGB")
