"""Masks without classes that come beside the photos of a job."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Final

from toco.jobs.settings import Settings
from toco.model.formats.mask_files import MAX_JSON_BYTES, FoundMasks, MaskFile, find_masks, pack_masks
from toco.model.photos.archives import ArchiveLimits, open_archive
from toco.model.photos.images import UnreadableImage
from toco.service.api.submission import Photo
from toco.service.api.uploaded_form import Sent

_MASKS_A_PHOTO: Final = 100  # files of masks; more are packed as one PNG or JSON a photo


@contextmanager
def with_masks(sent: Sent, file: IO[bytes] | None, settings: Settings) -> Iterator[Sent]:
    """Give the photos of a request the masks that came with them.

    Args:
        sent: the photos.
        file: a zip or a tar of PNGs and JSONs, or one COCO file; None where no masks came.
        settings: limits.

    Raises:
        InvalidArchive, ArchiveTooLarge
        NoMaskMatches: there are masks of none of the photos.
    """
    if file is None:
        yield sent
        return
    with ExitStack() as stack:
        file.seek(0)
        if file.read(64).lstrip()[:1] in (b"{", b"["):
            file.seek(0)
            content = file.read(MAX_JSON_BYTES + 1)
            files = [MaskFile("masks.json", lambda: content)]
        else:
            most = settings.max_files_per_job * _MASKS_A_PHOTO
            limits = ArchiveLimits(files=most, file_bytes=settings.max_image_bytes, ratio=settings.max_archive_ratio)
            archive = stack.enter_context(open_archive(file, limits))
            files = [MaskFile(name, partial(archive.read, name)) for name in sorted(archive.files)]
        found = find_masks(files, sent.names)
        found.require_match()
        yield replace(sent, photos=_with_own(sent.photos, found), notes=(*sent.notes, *found.notes()))


def _with_own(photos: Iterator[Photo], found: FoundMasks) -> Iterator[Photo]:
    """Give each photo its masks, one after the other: an archive is read by one thread. Raises ArchiveTooLarge."""
    for photo in photos:
        files = found.files.get(photo.name, ())
        try:
            yield replace(photo, masks=pack_masks(files)) if files else photo
        except UnreadableImage as error:
            yield replace(photo, error=error)
