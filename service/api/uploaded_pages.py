"""Files of many pages that come among the photos of a job."""

from collections.abc import Iterator
from dataclasses import replace

from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.model.photos.pages import page_name, page_numbers, read_page
from toco.service.api.submission import Photo


def each_page(photos: Iterator[Photo], settings: Settings) -> Iterator[Photo]:
    """Yield a photo for each page of a TIFF; others as they are, those in the object store as well.

    Masks of such a file are those of its first page. A page that cannot be read fails alone.

    Args:
        photos: of a job, as they come in.
        settings: limits.
    """
    limits = {"max_pixels": settings.max_image_pixels, "max_bytes": settings.max_image_bytes}
    for photo in photos:
        try:
            pages = page_numbers(photo.content, **limits) if photo.content is not None else ()
        except TocoError:  # the submission says what is wrong with it
            pages = ()
        if photo.content is None or len(pages) < 2:
            yield photo
            continue
        for number, page in enumerate(pages, 1):
            own = replace(photo, name=page_name(photo.name, number, len(pages)), header=None)
            try:
                content = read_page(photo.content, page, **limits)
            except TocoError as error:
                yield replace(own, content=None, error=error)
            else:
                yield replace(own, content=content, masks=photo.masks if number == 1 else b"")
