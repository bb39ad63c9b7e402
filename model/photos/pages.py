"""Pages of a TIFF, each as a photo of its own.

Thumbnails and transparency masks that stand beside the pages are none. Frames of animations are not pages.
"""

import io
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from PIL import Image, TiffImagePlugin

from toco.model.photos.images import MAX_BYTES, MAX_PIXELS, ImageTooLarge, UnreadableImage, opened_image

Pages = Literal["first", "each"]
"""Which pages of a file are labelled."""

MAX_PAGES: Final = 10_000

_KIND: Final = 254  # TIFF tag NewSubfileType; bit 0: a reduced copy, bit 2: a transparency mask
_ORIENTATION: Final = 274


def page_numbers(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> tuple[int, ...]:
    """Return which pictures of a file are pages, from 0 on; of anything but a TIFF the first alone.

    Args:
        source: a file, or its content.
        max_pixels: limit on width times height of the first.
        max_bytes: limit on the encoded size.

    Raises:
        UnsupportedImageFormat, UnreadableImage, ImageTooLarge: as `images.probe_image`, for the first; or there are
            more than `MAX_PAGES`.
    """
    with opened_image(source, max_pixels, max_bytes) as image:
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            return (0,)
        pages: list[int] = []
        number = 0
        while number <= MAX_PAGES:
            try:
                image.seek(number)
                kind = int(image.tag_v2.get(_KIND, 0))
            except EOFError:
                return tuple(pages) or (0,)
            except Exception:  # noqa: BLE001 - a damaged page: reading it will tell
                kind = 0
            if not kind & 0b101:
                pages.append(number)
            number += 1
        raise ImageTooLarge(f"The file has over {MAX_PAGES:,} pages.", fix="Split it.")


def read_page(source: Path | bytes, number: int, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a page as a TIFF of its own, upright, its samples as they are.

    Args:
        source: a file, or its content.
        number: one of `page_numbers`.
        max_pixels: limit on width times height of the page.
        max_bytes: limit on the encoded size of the file.

    Raises:
        UnreadableImage: the page is damaged, or of a kind that cannot be written.
        UnsupportedImageFormat, ImageTooLarge: as `images.read_image`.
    """
    with opened_image(source, max_pixels, max_bytes) as image:
        try:
            image.seek(number)
            pixels = image.width * image.height
            if pixels <= max_pixels:
                image.load()  # turns it upright
                written = io.BytesIO()
                Image.Image.save(image, written, "TIFF", compression="tiff_deflate", tiffinfo={_ORIENTATION: 1})
                return written.getvalue()
        except MemoryError:
            raise
        except Exception as error:  # decoders fed with corrupt data raise whatever they stumble over
            raise UnreadableImage(
                f"Page {number + 1} cannot be read: {error}.", fix="The file is damaged; send the page by itself."
            ) from error
    raise ImageTooLarge(f"Page {number + 1} has {pixels:,} pixels; the limit is {max_pixels:,}.", fix="Scale it down.")


def page_name(name: str, number: int, count: int) -> str:
    """Return the name of a page's photo: the second of twelve of `a/scan.tif` is `a/scan.page-02.tif`.

    Args:
        name: of the file.
        number: from 1 on.
        count: of all pages.
    """
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}.page-{number:0{len(str(count))}}{path.suffix or '.tif'}"))
