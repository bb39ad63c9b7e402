"""Photos as files: which they are, how large, and their pixels as RGB.

What a file is comes from its first bytes, never from its name. Limits are checked on the header, before any pixel is
decoded. Every function may be called from several threads at once.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile

from toco.model.errors import TocoError

MAX_PIXELS: Final = 100_000_000
"""Default limit on width times height; larger photos are refused before decoding."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""Default limit on the encoded size; an uncompressed photo of `MAX_PIXELS` still fits."""

PHOTO_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""Pillow's names of the formats that are read. GIF, JPEG, WebP, AVIF and TIFF of many pictures: the first one."""

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif"}
)
"""File name endings that claim to be a photo; used only to report, not skip, files whose content is none."""

HEAD_BYTES: Final = 32
"""As many first bytes tell a photo from other files."""

# First bytes of files that people send by mistake: (offset, bytes, name).
_OTHER_FORMATS: Final = (
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypmsf1", "HEIF"),
    (4, b"ftyp", "MP4 or QuickTime"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)

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


class UnreadableImage(TocoError):
    """The file claims to be a photo but cannot be decoded."""

    code = "unreadable_image"
    kind = "invalid"


class UnsupportedImageFormat(TocoError):
    """The file is no photo, or of a format that is not read."""

    code = "unsupported_image_format"
    kind = "unsupported"


class ImageTooLarge(TocoError):
    """The photo has more pixels or bytes than is allowed."""

    code = "image_too_large"
    kind = "too_large"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the first bytes of a photo say.

    Attributes:
        format: one of `PHOTO_FORMATS`.
        width, height: in pixels as stored; a photo that EXIF turns by a quarter is read with the two swapped.
    """

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A photo, upright.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, C-contiguous.
        original_size: (H, W) of the upright photo before any shrinking.
        format: one of `PHOTO_FORMATS`; empty where the pixels came from no file.
        turned: EXIF says that the file's own pixels are turned or mirrored.
    """

    pixels: npt.NDArray[np.uint8]
    original_size: tuple[int, int]
    format: str = ""
    turned: bool = False


Opener = Callable[[int], DecodedImage]
"""Fetches and decodes a photo, shrunk so that its longer side has at most the given number of pixels."""


def probe_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> ImageHeader:
    """Read format and size of a photo without decoding it.

    Args:
        source: a file, or its content.
        max_pixels: limit on width times height.
        max_bytes: limit on the encoded size.

    Raises:
        UnsupportedImageFormat: the content is none of `PHOTO_FORMATS`.
        UnreadableImage: there is no such file, or the header is broken.
        ImageTooLarge: over a limit.
    """
    with _opened(source, max_pixels, max_bytes) as image:
        return ImageHeader(_format(image), image.width, image.height)


def read_image(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, long_side: int | None = None
) -> DecodedImage:
    """Decode a photo to upright 8-bit RGB.

    EXIF rotation is applied. Transparent pixels are laid on white, as viewers show them. CMYK is converted without
    its colour profile. 16-bit samples keep their high byte; 32-bit integers beyond 16 bits and floats beyond 0..1
    have no agreed white, so their own range is stretched to 0..255.

    Args:
        source: a file, or its content.
        max_pixels: limit on width times height.
        max_bytes: limit on the encoded size.
        long_side: shrink the photo so that its longer side has at most this many pixels (aspect ratio kept);
            large JPEGs are then decoded at an eighth, a quarter or half of their size, which saves time and memory.

    Raises:
        UnsupportedImageFormat: the content is none of `PHOTO_FORMATS`, or its samples are of a kind that is not read.
        UnreadableImage: there is no such file, or it is truncated or corrupt.
        ImageTooLarge: over a limit; nothing was decoded.
    """
    with _opened(source, max_pixels, max_bytes) as image:
        width, height = image.size
        target = _shrunk(width, height, long_side)
        image.draft(None, target)  # does nothing but for JPEGs of at least twice the target
        rgb = _to_rgb(_loaded(image, source))
        if rgb.size != target:
            rgb = rgb.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
        orientation = _orientation(image)
        if orientation in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[orientation])
            if orientation >= 5:  # a quarter turn
                width, height = height, width
        return DecodedImage(np.array(rgb), (height, width), _format(image), orientation in _UPRIGHT)


def read_mask(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> npt.NDArray[np.uint8]:
    """Read a mask whose values are class indices: a palette or 8-bit grey picture, palette colours not applied.

    Args:
        source: a file, or its content.
        max_pixels: limit on width times height.
        max_bytes: limit on the encoded size.

    Returns:
        (H, W) uint8 as stored.

    Raises:
        UnsupportedImageFormat: it is no image, or one in colour or of more than 8 bits.
        UnreadableImage, ImageTooLarge: like `read_image`.
    """
    with _opened(source, max_pixels, max_bytes) as image:
        if image.mode not in ("P", "L"):
            raise UnsupportedImageFormat(
                f"{_name(source)} has samples of kind {image.mode!r}, not class indices.",
                fix="Store masks as palette or 8-bit grey PNG.",
            )
        return np.array(_loaded(image, source))


def is_photo(head: bytes) -> bool:
    """Return whether a file that begins with these `HEAD_BYTES` is a photo of a format that is read."""
    return _sniff(head) is not None


def _name(source: Path | bytes) -> str:
    return repr(str(source)) if isinstance(source, Path) else f"The image ({len(source):,} bytes)"


def _sniff(prefix: bytes) -> str | None:
    Image.init()
    for name in PHOTO_FORMATS:
        # Pillow's own tests of first bytes; one that answers with text means "known, but not built in".
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        if accept is not None and accept(prefix) is True:
            return name
    return None


@contextmanager
def _opened(source: Path | bytes, max_pixels: int, max_bytes: int) -> Iterator[ImageFile.ImageFile]:
    """Open a photo with its header read and its limits checked."""
    try:
        file: IO[bytes] = source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
        size = source.stat().st_size if isinstance(source, Path) else len(source)
    except OSError as error:
        raise UnreadableImage(f"{_name(source)} cannot be opened: {error.strerror}.", fix="Check the path.") from None
    with file:
        if size > max_bytes:
            raise ImageTooLarge(f"{_name(source)} has {size:,} bytes; the limit is {max_bytes:,}.", fix="Compress it.")
        prefix = file.read(HEAD_BYTES)
        file.seek(0)
        with _parsed(file, prefix, _name(source)) as image:
            if image.width * image.height > max_pixels:
                raise ImageTooLarge(
                    f"{_name(source)} has {image.width:,} x {image.height:,} pixels; the limit is {max_pixels:,}.",
                    fix="Scale it down.",
                )
            yield image


def _format(image: ImageFile.ImageFile) -> str:
    # Pillow's MPO is a JPEG with more pictures behind it, as many telephones write it.
    return "JPEG" if image.format == "MPO" else image.format or ""


def _parsed(file: IO[bytes], prefix: bytes, name: str) -> ImageFile.ImageFile:
    kind = _sniff(prefix)
    if kind is None:
        is_text = prefix.lstrip().lower()
        other = next((title for at, magic, title in _OTHER_FORMATS if is_text[at:].startswith(magic.lower())), "")
        raise UnsupportedImageFormat(
            f"{name} is {f'a {other} file' if other else 'empty' if not prefix else 'no image that we know'}.",
            fix="Send JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF.",
        )
    try:
        # The format's own class rather than Image.open: its warnings and errors about large pictures follow a global
        # of Pillow's, while our limit is the caller's.
        return Image.OPEN[kind][0](file, "")
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"{name} declares a huge {kind} picture.", fix="Scale it down.") from None
    except MemoryError:
        raise
    except Exception as error:  # parsers fed with corrupt headers raise whatever they stumble over
        raise UnreadableImage(
            f"{name} has a broken {kind} header: {error}.", fix="The file is damaged or cut short; send it again."
        ) from error


def _loaded(image: ImageFile.ImageFile, source: Path | bytes) -> ImageFile.ImageFile:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders fed with corrupt data raise whatever they stumble over
        raise UnreadableImage(
            f"{_name(source)} cannot be decoded: {error}.", fix="The file is damaged or cut short; send it again."
        ) from error
    return image


def _orientation(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation of a loaded photo; broken metadata says "upright"."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - as for corrupt pixels; the photo itself is fine
        return 1


def _shrunk(width: int, height: int, long_side: int | None) -> tuple[int, int]:
    longest = max(width, height)
    if long_side is None or longest <= long_side:
        return width, height
    return max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest))


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    """Convert any mode to RGB; see `read_image` for the rules."""
    mode = image.mode
    if mode in _ALPHA_MODES or (mode in _PLAIN_MODES and "transparency" in image.info):
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, (255, 255, 255))
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    if mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for Adobe's, which stores the inks inverted; without its marker they are not.
        return image.point(lambda ink: 255 - ink).convert("RGB")
    if mode in _PLAIN_MODES:
        return image.convert("RGB")
    if mode in _WIDE_MODES:
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    raise UnsupportedImageFormat(
        f"Samples of kind {mode!r} in a {image.format} file are not read.", fix="Convert the photo to 8-bit RGB."
    )


def _to_bytes(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Scale (H, W) grey samples of 16 bits or more to uint8 0..255."""
    if samples.dtype.itemsize == 2:
        return (samples.astype(np.uint16, copy=False) >> 8).astype(np.uint8)
    values = np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    white = 1.0 if samples.dtype.kind == "f" else 65535.0
    if low < 0.0 or high > white:
        values, white = values - low, max(high - low, 1e-12)
    return np.round(values * (255.0 / white)).astype(np.uint8)
