"""What a run over a folder is to do: each photo with the tags that it is labelled by, or the reason why not."""

from dataclasses import dataclass
from pathlib import Path

from toco.model.errors import TocoError
from toco.model.formats.mask_files import FoundMasks, MaskFile
from toco.model.photos.assignment import Assignment, LeftOut, Untagged
from toco.model.photos.collection import Collection


@dataclass(frozen=True, slots=True)
class PlannedPhoto:
    """One photo of a run.

    Attributes:
        name: path relative to the folder of photos, forward slashes.
        path: the file.
        tags: as written; empty for background alone; None lets the classifier choose.
        part: of the data set that its table names, as written, or empty.
        masks: files of masks without classes to merge.
    """

    name: str
    path: Path
    tags: tuple[str, ...] | None
    part: str = ""
    masks: tuple[MaskFile, ...] = ()


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
) -> Plan:
    """Decide about each photo of a folder.

    Args:
        root: the folder, or the one photo.
        collection: what it holds.
        assignment: the photos' tags.
        untagged: what becomes of photos that nothing lists; see `Assignment.tags_of`.
        masks: of the photos, without classes.
    """
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
            planned.append(PlannedPhoto(name, path, tags, assignment.part_of(name), masks_of.get(name, ())))
    return Plan(tuple(planned), failures, skipped)
