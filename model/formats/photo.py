"""The photo's own file in an export: copied byte for byte where tools will read it right."""

import io
from pathlib import PurePosixPath
from typing import Final

from PIL import ExifTags, Image

from toco.model.formats.artifacts import encode_jpeg
from toco.model.photos.images import SUFFIXES, probe_image, read_image

_SUFFIX_OF_FORMAT: Final = {"JPEG": ".jpg"}
# Photos that must be written anew lose as little as JPEG allows.
_JPEG_QUALITY: Final = 95


def export_photo(data: bytes, name: str, *, jpeg_only: bool = False) -> tuple[str, bytes]:
    """Return the suffix and bytes under which a photo goes into an export.

    The bytes are the original ones, unless the photo is turned by its EXIF data (most training tools ignore that, and
    photo and mask would not match) or the format holds JPEG only: then it is decoded as for labelling and written
    upright as JPEG.

    Args:
        data: the original bytes.
        name: the photo's name, whose suffix is kept if the bytes are.
        jpeg_only: the format takes no other kind of file.

    Raises:
        UnreadableImage, UnsupportedImageFormat, ImageTooLarge: as `probe_image` and `read_image`.
    """
    kind = probe_image(data).format
    suffix = PurePosixPath(name).suffix
    if _is_upright(data) and (kind == "JPEG" or not jpeg_only):
        if jpeg_only or suffix.lower() not in SUFFIXES:
            suffix = _SUFFIX_OF_FORMAT.get(kind, f".{kind.lower()}")
        return suffix, data
    return ".jpg", encode_jpeg(read_image(data).pixels, quality=_JPEG_QUALITY)


def _is_upright(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
