"""Photos as files: which they are, how large, and their pixels as RGB.

What a file is comes from its first bytes, never from its name. Limits are checked on the header, before any pixel is
decoded. Every function may be called from several threads at once.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from toco.model.errors import TocoError
from toco.model.photos.pixels import UnsupportedImageFormat, shrunk_rgb, shrunk_size, turns, upright

MAX_PIXELS: Final = 400_000_000
"""Default limit on width times height; larger photos are refused before decoding."""

MAX_BYTES: Final = 1_700_000_000
"""Default limit on the encoded size; an uncompressed photo of `MAX_PIXELS` still fits."""

HUGE_PIXELS: Final = 64_000_000
"""Photos of more pixels, as decoded, are decoded one at a time, and made RGB and shrunk in bands."""

PHOTO_FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF")
"""Pillow's names of the formats that are read. Of a file of many pictures (animated, pages): the first one."""

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif",
     ".heic", ".heif", ".hif"}
)  # fmt: skip
"""File name endings that claim to be a photo; used only to report, not skip, files whose content is none."""

HEAD_BYTES: Final = 32
"""As many first bytes tell a photo from other files."""

# First bytes of files that people send by mistake: (offset, bytes, name).
_OTHER_FORMATS: Final = (
    (4, b"ftyp", "MP4 or QuickTime"),
    (0, b"%PDF", "PDF"),
    (0, b"FUJIFILMCCD-RAW", "camera raw"),
    (8, b"CR\x02", "camera raw"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)

_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_EITHER_BRANDS: Final = frozenset({b"mif1", b"msf1"})  # AVIF or HEIF: the brands behind tell
_REDUCED: Final = 254  # TIFF tag NewSubfileType; its first bit: a reduced copy of another picture of the file

_MARKS: Final = frozenset({"1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I;16B", "I"})  # whole numbers or colours

_one_huge = threading.Lock()


@contextmanager
def _huge() -> Iterator[None]:
    """Let one huge photo be decoded at a time, and Pillow's own limit, a global, not stand in its way."""
    with _one_huge:
        pillows, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = pillows


class UnreadableImage(TocoError):
    """The file claims to be a photo but cannot be decoded."""

    code = "unreadable_image"
    kind = "invalid"


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
        pictures: how many the file holds; this is the first.
    """

    pixels: npt.NDArray[np.uint8]
    original_size: tuple[int, int]
    format: str = ""
    turned: bool = False
    pictures: int = 1


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
    with opened_image(source, max_pixels, max_bytes) as image:
        return ImageHeader(_format(image), image.width, image.height)


def read_image(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, long_side: int | None = None
) -> DecodedImage:
    """Decode a photo to upright 8-bit RGB.

    EXIF rotation is applied. Transparent pixels are laid on white, as viewers show them. CMYK is converted without
    its colour profile. 16-bit samples keep their high byte; 32-bit integers beyond 16 bits and floats beyond 0..1
    have no agreed white, so their own range is stretched to 0..255. Of animations and pages, the first is read.

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
    with opened_image(source, max_pixels, max_bytes) as image:
        width, height = image.size
        target = shrunk_size(width, height, long_side)
        image.draft(None, target)  # does nothing but for JPEGs of at least twice the target
        pictures = _pictures(image)
        turned_tiff = isinstance(image, TiffImagePlugin.TiffImageFile) and turns(_orientation(image))
        with _huge() if image.width * image.height > HUGE_PIXELS else nullcontext():
            rgb = shrunk_rgb(_loaded(image, source), target, band_pixels=HUGE_PIXELS // 4)
        orientation = _orientation(image)
        if turns(orientation):
            rgb = upright(rgb, orientation)
            if orientation >= 5:  # a quarter turn
                width, height = height, width
        turned = turned_tiff or turns(orientation)  # loading a TIFF turns it upright
        return DecodedImage(np.array(rgb), (height, width), _format(image), turned, pictures)


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
    with opened_image(source, max_pixels, max_bytes) as image:
        if image.mode not in ("P", "L"):
            raise UnsupportedImageFormat(
                f"{_name(source)} has samples of kind {image.mode!r}, not class indices.",
                fix="Store masks as palette or 8-bit grey PNG.",
            )
        return np.array(_loaded(image, source))


def read_stored(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> npt.NDArray[np.uint8 | np.uint16 | np.int32]:
    """Read a picture whose values or colours are marks: as they are stored, palette colours not applied.

    Args:
        source: a PNG or TIFF, or its content.
        max_pixels: limit on width times height.
        max_bytes: limit on the encoded size.

    Returns:
        (H, W) or (H, W, 3) whole numbers; what is wholly transparent is 0.

    Raises:
        UnsupportedImageFormat: of a format that changes colours a little, or of other samples.
        UnreadableImage, ImageTooLarge: like `read_image`.
    """
    with opened_image(source, max_pixels, max_bytes) as image:
        if _format(image) not in ("PNG", "TIFF") or image.mode not in _MARKS:
            raise UnsupportedImageFormat(
                f"{_name(source)} is {_format(image)} of samples of kind {image.mode!r}.", fix="Store masks as PNG."
            )
        found = np.array(_loaded(image, source))
        if found.dtype == np.bool_:
            return found.astype(np.uint8)
        if image.mode in ("LA", "RGBA"):
            found[found[..., -1] == 0] = 0
            return found[..., 0] if image.mode == "LA" else found[..., :3]
        return found


def is_photo(head: bytes) -> bool:
    """Return whether a file that begins with these `HEAD_BYTES` is a photo of a format that is read."""
    return _sniff(head) is not None


def _name(source: Path | bytes) -> str:
    return repr(str(source)) if isinstance(source, Path) else f"The image ({len(source):,} bytes)"


def _sniff(prefix: bytes) -> str | None:
    if prefix[4:8] == b"ftyp":
        others = {prefix[at : at + 4] for at in range(16, HEAD_BYTES, 4)}
        if prefix[8:12] in _HEIF_BRANDS or (prefix[8:12] in _EITHER_BRANDS and not others & {b"avif", b"avis"}):
            return "HEIF"
    if prefix[8:11] == b"CR\x02":  # Canon's raw files are TIFFs whose first picture is a preview
        return None
    Image.init()
    for name in PHOTO_FORMATS:
        # Pillow's own tests of first bytes; one that answers with text means "known, but not built in".
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        if accept is not None and accept(prefix) is True:
            return name
    return None


def _opener(kind: str) -> Callable[[IO[bytes], str], ImageFile.ImageFile]:
    """Return the format's own class rather than Image.open.

    Pillow's warnings and errors about large pictures follow a global of its own, while our limit is the caller's.
    """
    if kind == "HEIF":
        from pi_heif.as_plugin import HeifImageFile  # noqa: PLC0415 - a codec that few photos need

        return cast("Callable[[IO[bytes], str], ImageFile.ImageFile]", HeifImageFile)
    return Image.OPEN[kind][0]


@contextmanager
def opened_image(source: Path | bytes, max_pixels: int, max_bytes: int) -> Iterator[ImageFile.ImageFile]:
    """Open a photo with its header read and its limits checked.

    Raises:
        UnsupportedImageFormat, UnreadableImage, ImageTooLarge: as `probe_image`.
    """
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
            fix="Send JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC or AVIF.",
        )
    try:
        image = _opener(kind)(file, "")
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"{name} declares a huge {kind} picture.", fix="Scale it down.") from None
    except MemoryError:
        raise
    except Exception as error:  # parsers fed with corrupt headers raise whatever they stumble over
        raise UnreadableImage(
            f"{name} has a broken {kind} header: {error}.", fix="The file is damaged or cut short; send it again."
        ) from error
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image):
        raise UnsupportedImageFormat(
            f"{name} is a camera raw file: its first picture is a preview.", fix="Develop it to JPEG, PNG or TIFF."
        )
    return image


def _is_raw(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Say whether the first picture of a TIFF is a reduced copy of another, as in DNG, NEF and ARW."""
    return bool(int(image.tag_v2.get(_REDUCED, 0)) & 1)


def _pictures(image: ImageFile.ImageFile) -> int:
    """Return how many pictures the file of an opened photo holds; a telephone's JPEG has further ones for itself."""
    if _format(image) == "JPEG":
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - a damaged picture behind the first one; the first may be whole
        return 1


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
    """Return the EXIF orientation of a photo; broken metadata says "upright"."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - as for corrupt pixels; the photo itself is fine
        return 1
