"""What lies in a folder or an archive: photos, tables of tags, what is refused and what is left out.

A photo is told by its first bytes, never by its name; a name that claims to be one counts too, so that reading it tells
what is wrong. What cannot be taken refuses only itself. The same rules hold for folders and archives.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from toco.model.errors import TocoError
from toco.model.photos.images import HEAD_BYTES, SUFFIXES, UnreadableImage, is_photo
from toco.model.photos.names import InvalidName, require_relative
from toco.model.photos.tables.reading import MAX_TABLE_BYTES, TABLE_SUFFIXES

_SYSTEM: Final = frozenset(
    {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir", "lost+found"}
)
_MOST_NAMED: Final = 3

Kind = Literal["photo", "table", "other"]


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file that may list tags.

    Attributes:
        name: path relative to the collection.
        load: reads its content.
        surely: whether its name says "a table"; a `.json` may be anything.
    """

    name: str
    load: Callable[[], bytes]
    surely: bool


@dataclass(slots=True)
class Collection:
    """What a folder or an archive holds.

    Attributes:
        photos: names relative to it, sorted, forward slashes.
        tables: files that may list tags, in order.
        refused: photos that cannot be taken, and why.
        left_out: files that are no photos, by the reason.
    """

    photos: list[str] = field(default_factory=list)
    tables: list[TableFile] = field(default_factory=list)
    refused: dict[str, TocoError] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, name: str, reason: str) -> None:
        """Note a file that is no photo."""
        self.left_out.setdefault(reason, []).append(name)

    def notes(self) -> list[str]:
        """Return sentences about what was left out and refused."""
        said = []
        for reason, names in self.left_out.items():
            said.append(f"Left out, {reason}: {listed(names)}.")
        for error, count in Counter(type(error).__name__ for error in self.refused.values()).items():
            names = [name for name, found in self.refused.items() if type(found).__name__ == error]
            said.append(f"{count} refused: {listed(names)}. {self.refused[names[0]].detail}")
        return said


def listed(names: Iterable[str]) -> str:
    """Return a few names and how many more there are."""
    names = list(names)
    more = len(names) - _MOST_NAMED
    return ", ".join(repr(name) for name in names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def is_hidden(name: str) -> bool:
    """Return whether a path leads to or through a hidden or system file."""
    parts = [part for part in PurePosixPath(name).parts if part != ".."]
    return any(part.startswith(".") or part.casefold() in _SYSTEM for part in parts)


def kind_of(name: str, head: Callable[[], bytes]) -> Kind:
    """Return what a file is.

    Args:
        name: its path.
        head: reads its first `HEAD_BYTES`; asked only where the name does not say what it is.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return "photo"
    if suffix in TABLE_SUFFIXES or suffix == ".json":
        return "table"
    return "photo" if is_photo(head()) else "other"


def add_file(found: Collection, name: str, kind: Kind, *, size: int, load: Callable[[], bytes]) -> None:
    """Note a file of a folder or an archive that is neither hidden nor refused."""
    if kind == "photo":
        found.photos.append(name)
    elif kind == "other":
        found.leave_out(name, "no photo")
    elif size > MAX_TABLE_BYTES:
        found.leave_out(name, f"no table of under {MAX_TABLE_BYTES:,} bytes")
    else:
        found.tables.append(TableFile(name, load, surely=not name.lower().endswith(".json")))


def finish(found: Collection) -> Collection:
    """Sort what was found; a `.json` named for a photo says something of that photo alone, and is no table."""
    found.photos.sort(key=lambda name: name.split("/"))
    stems = {*found.photos, *(str(PurePosixPath(name).with_suffix("")) for name in found.photos)}
    tables = []
    for table in sorted(found.tables, key=lambda table: table.name):
        if not table.surely and table.name[: -len(".json")] in stems:
            found.leave_out(table.name, "a note on one photo")
        else:
            tables.append(table)
    found.tables = tables
    return found


def read_folder(root: Path, *, but: Iterable[Path | None] = ()) -> Collection:
    """List what a folder holds, through and through.

    Links to files are followed, links to folders are not.

    Args:
        root: the folder, or one photo.
        but: folders to pass over: results and masks that lie in the same place.

    Raises:
        UnreadableImage: there is no such file or folder.
    """
    found = Collection()
    if root.is_file():
        found.photos.append(root.name)
        return found
    if not root.is_dir():
        raise UnreadableImage(f"There is no file or folder {str(root)!r}.", fix="Check the path.")
    passed = {path.resolve() for path in but if path is not None}
    for folder, folders, files in os.walk(root):
        base = Path(folder)
        kept = []
        for child in sorted(folders):
            path = base / child
            name = path.relative_to(root).as_posix()
            if is_hidden(child):
                found.leave_out(name, "hidden or the system's own")
            elif path.is_symlink():
                found.leave_out(name, "a link to a folder")
            elif path.resolve() not in passed:
                kept.append(child)
        folders[:] = kept
        for child in files:
            _add_path(found, base / child, (base / child).relative_to(root).as_posix())
    return finish(found)


def find_images(root: Path) -> list[Path]:
    """List the photos of a folder, those included that `read_folder` refuses (reading them tells what is wrong).

    Raises:
        UnreadableImage: there is no such file or folder.
    """
    if root.is_file():
        return [root]
    found = read_folder(root)
    return sorted(root / name for name in (*found.photos, *found.refused))


def _add_path(found: Collection, path: Path, name: str) -> None:
    if is_hidden(path.name):
        found.leave_out(name, "hidden or the system's own")
        return
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            found.leave_out(name, "no plain file")
            return
        kind = kind_of(name, lambda: _head(path))
    except OSError as error:
        if path.suffix.lower() in SUFFIXES:
            found.refused[name] = UnreadableImage(
                f"{name!r} cannot be opened: {error.strerror}.", fix="Check the file."
            )
        else:
            found.leave_out(name, "cannot be opened")
        return
    if kind == "photo":
        try:
            require_relative(name)
        except InvalidName as error:
            found.refused[name] = error
            return
    add_file(found, name, kind, size=status.st_size, load=path.read_bytes)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
