"""The photo's own file in an export: copied byte for byte where tools will read it right."""

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

from toco.model.formats.artifacts import encode_jpeg
from toco.model.photos.images import SUFFIXES, read_image

# Names that tools go by, and then do not read what is in truth a JPEG, as some albums give it out.
_NEW_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif", ".avif"})
_SUFFIX_OF_FORMAT: Final = {"JPEG": ".jpg"}
# Photos that must be written anew lose as little as JPEG allows.
_JPEG_QUALITY: Final = 95


def export_photo(
    data: bytes,
    name: str,
    *,
    kind: str = "",
    turned: bool = False,
    jpeg_only: bool = False,
    jpeg_for: Collection[str] = (),
) -> tuple[str, bytes]:
    """Return the suffix and bytes under which a photo goes into an export.

    The bytes are the original ones, unless the photo is turned by its EXIF data (most training tools ignore that, and
    photo and mask would not match) or the format does not take its kind: then it is decoded as for labelling and
    written upright as JPEG.

    Args:
        data: the original bytes.
        name: the photo's name, whose suffix is kept if the bytes are.
        kind: what the labelling found the file to be, one of `PHOTO_FORMATS`; empty looks for itself.
        turned: what the labelling found about its EXIF data; counts with `kind` alone.
        jpeg_only: the format takes no other kind of file.
        jpeg_for: kinds that it does not take, some of `PHOTO_FORMATS`.

    Raises:
        UnreadableImage, UnsupportedImageFormat, ImageTooLarge: as `read_image`.
    """
    decoded = None
    if not kind:
        decoded = read_image(data)
        kind, turned = decoded.format, decoded.turned
    if turned or kind in jpeg_for or (jpeg_only and kind != "JPEG"):
        decoded = decoded or read_image(data)
        return ".jpg", encode_jpeg(decoded.pixels, quality=_JPEG_QUALITY)
    suffix = PurePosixPath(name).suffix
    lies = suffix.lower() in _NEW_SUFFIXES and kind not in ("HEIF", "AVIF")
    if jpeg_only or lies or suffix.lower() not in SUFFIXES:
        suffix = _SUFFIX_OF_FORMAT.get(kind, f".{kind.lower()}")
    return suffix, data
