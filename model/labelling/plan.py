"""What a run over a folder is to do: each photo with the tags that it is labelled by, or the reason why not."""

from dataclasses import dataclass, replace
from pathlib import Path

from toco.model.errors import TocoError
from toco.model.formats.mask_files import FoundMasks, MaskFile
from toco.model.photos.assignment import Assignment, LeftOut, Untagged
from toco.model.photos.collection import Collection
from toco.model.photos.images import DecodedImage, Opener, UnreadableImage, read_image
from toco.model.photos.names import UniqueNames
from toco.model.photos.pages import Pages, page_name, page_numbers, read_page


@dataclass(frozen=True, slots=True)
class PlannedPhoto:
    """One photo of a run.

    Attributes:
        name: path relative to the folder of photos, forward slashes.
        path: the file.
        tags: as written; empty for background alone; None lets the classifier choose.
        part: of the data set that its table names, as written, or empty.
        masks: files of masks without classes to merge.
        page: of the file, where each page is a photo; None for the first picture of any file.
    """

    name: str
    path: Path
    tags: tuple[str, ...] | None
    part: str = ""
    masks: tuple[MaskFile, ...] = ()
    page: int | None = None

    @property
    def source(self) -> Path | Opener:
        """What a labeler reads it from."""
        return self.path if self.page is None else self._decoded

    def content(self) -> bytes:
        """Return the bytes of the photo: of a page, a TIFF of it alone.

        Raises:
            UnreadableImage: the file cannot be opened, or the page is damaged.
            ImageTooLarge
        """
        if self.page is not None:
            return read_page(self.path, self.page)
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UnreadableImage(
                f"{str(self.path)!r} cannot be opened: {error.strerror}.", fix="Check the path."
            ) from None

    def _decoded(self, long_side: int | None) -> DecodedImage:
        return read_image(self.content(), long_side=long_side)


@dataclass(frozen=True, slots=True)
class Plan:
    """The photos of a run.

    Attributes:
        photos: to label, in order.
        failures: why others are not labelled, by name.
        skipped: how many are left out for want of tags.
    """

    photos: tuple[PlannedPhoto, ...]
    failures: dict[str, TocoError]
    skipped: int = 0


def plan_photos(
    root: Path,
    collection: Collection,
    assignment: Assignment,
    *,
    untagged: Untagged | None = None,
    masks: FoundMasks | None = None,
    pages: Pages = "first",
) -> Plan:
    """Decide about each photo of a folder.

    Args:
        root: the folder, or the one photo.
        collection: what it holds.
        assignment: the photos' tags.
        untagged: what becomes of photos that nothing lists; see `Assignment.tags_of`.
        masks: of the photos, without classes; of a file of many pages, of the first.
        pages: whether each page of a TIFF is a photo.
    """
    names = UniqueNames()
    for name in collection.photos:
        names.take(name)
    masks_of = masks.files if masks else {}
    planned, skipped = [], 0
    failures = dict(collection.refused)
    for name in collection.photos:
        try:
            tags = assignment.tags_of(name, untagged)
        except LeftOut:
            skipped += 1
        except TocoError as error:
            failures[name] = error
        else:
            path = root if root.is_file() else root / name
            photo = PlannedPhoto(name, path, tags, assignment.part_of(name), masks_of.get(name, ()))
            planned += _each_page(photo, names) if pages == "each" else [photo]
    return Plan(tuple(planned), failures, skipped)


def _each_page(photo: PlannedPhoto, names: UniqueNames) -> list[PlannedPhoto]:
    """Return a photo for each page of a file; labelling one that cannot be read tells what is wrong with it."""
    try:
        pages = page_numbers(photo.path)
    except TocoError:
        return [photo]
    if len(pages) == 1:
        return [photo]
    return [
        replace(
            photo,
            name=names.take(page_name(photo.name, number, len(pages))),
            page=page,
            masks=photo.masks if number == 1 else (),
        )
        for number, page in enumerate(pages, 1)
    ]
