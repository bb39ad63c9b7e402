"""Photos of a folder and their tags, packed as they are sent."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from toco.model.formats.mask_files import folder_files
from toco.model.photos.assignment import Assignment, PlacedTable, assign, in_memory, place_tables
from toco.model.photos.collection import Collection
from toco.model.photos.images import UnreadableImage
from toco.model.photos.tables.reading import read_table


def assigned(collection: Collection, tags: Path | str | Mapping[str, Sequence[str]] | None) -> Assignment:
    """Find the tags of the photos under a folder.

    Args:
        collection: what the folder holds.
        tags: see `Client.label_folder`.

    Raises:
        InvalidTagFile, NoRowMatches
    """
    if tags is None:
        placed = place_tables(collection)
    else:
        placed = [PlacedTable("", read_table(Path(tags))) if isinstance(tags, str | Path) else in_memory(tags)]
    found = assign(collection.photos, placed)
    found.require_match()
    return found


def pack(file: IO[bytes], root: Path, collection: Collection, assignment: Assignment) -> None:
    """Write the photos and their tags as a tar; a photo that cannot be taken is noted among the refused ones."""
    collection.refused |= assignment.refused
    # Links are followed, those of the file system's own (hard links) too.
    with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
        lines = []
        for name in collection.photos:
            if name in assignment.refused:
                continue
            path = root if root.is_file() else root / name
            try:
                with path.open("rb") as photo:
                    archive.addfile(archive.gettarinfo(arcname=name, fileobj=photo), photo)
            except OSError as error:
                why = f"{name!r} cannot be read: {error.strerror}."
                collection.refused[name] = UnreadableImage(why, fix="Check the file.")
                continue
            if name in assignment.tagged:
                split = {"split": part} if (part := assignment.part_of(name)) else {}
                lines.append(json.dumps({"image": name, "tags": list(assignment.tagged[name].tags)} | split))
        if lines:
            content = "\n".join(lines).encode()
            entry = tarfile.TarInfo("manifest.jsonl")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def pack_files(file: IO[bytes], root: Path) -> None:
    """Write a folder of masks as a tar, or a single file under its name. Raises InvalidMask if there is none."""
    with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
        for entry in folder_files(root):
            content = entry.load()
            header = tarfile.TarInfo(entry.name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
