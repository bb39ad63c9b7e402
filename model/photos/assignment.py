"""Which photo gets which tags: a table counts for its own folder, and what does not fit is told alike everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from toco.model.errors import TocoError
from toco.model.photos.collection import Collection, TableFile, listed
from toco.model.photos.tables.cells import InvalidTagFile
from toco.model.photos.tables.reading import TableReading, parse_table
from toco.model.photos.tags import TaggedImage, TagTable

Untagged = Literal["refuse", "model", "skip", "background"]
"""What becomes of photos that no row lists: they fail, the classifier tags them, they are left out, or they count as
photos of nothing known."""

UNTAGGED: Final[tuple[Untagged, ...]] = ("refuse", "model", "skip", "background")


class EmptyTags(TocoError):
    """A photo has no tags, and nothing says what to do about it."""

    code = "empty_tags"
    kind = "invalid"


class NoRowMatches(TocoError):
    """No row of any table names any of the photos."""

    code = "no_row_matches"
    kind = "invalid"


class LeftOut(TocoError):
    """A photo without tags is to be left out."""

    code = "left_out"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class PlacedTable:
    """A table and the folder whose photos it lists.

    Attributes:
        folder: path relative to the collection; empty for all of it.
        reading: the table.
    """

    folder: str
    reading: TableReading


@dataclass(frozen=True, slots=True)
class Assignment:
    """The tags of some photos.

    Attributes:
        photos: all of them.
        tagged: by photo; those that nothing lists are missing.
        refused: photos whose row is ambiguous.
        unused: rows that name no photo, by the name of their table.
        tables: those that were read.
        given: whether tags were given at all; if not, the classifier tags every photo.
    """

    photos: tuple[str, ...]
    tagged: Mapping[str, TaggedImage] = field(default_factory=dict)
    refused: Mapping[str, TocoError] = field(default_factory=dict)
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: tuple[TableReading, ...] = ()
    given: bool = False

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Photos that nothing lists."""
        return tuple(name for name in self.photos if name not in self.tagged and name not in self.refused)

    def tags_of(self, photo: str, untagged: Untagged | None) -> tuple[str, ...] | None:
        """Return the tags that a photo is labelled by; None lets the classifier choose.

        An empty list means one thing: the photo is known to show none of the classes.

        Args:
            photo: one of `photos`.
            untagged: what becomes of photos that nothing lists; None lets the classifier tag them where no tags were
                given at all, and refuses them otherwise.

        Raises:
            EmptyTags: it is not listed, and such photos are refused.
            LeftOut: it is not listed, and such photos are left out.
            AmbiguousImageName: several rows may mean it, or its row several photos.
        """
        if photo in self.refused:
            raise self.refused[photo]
        found = self.tagged.get(photo)
        if found is not None:
            return found.tags
        what = untagged or ("refuse" if self.given else "model")
        if what == "refuse":
            raise EmptyTags(
                f"{photo!r} is not among the tagged photos.",
                fix="Tag it, or choose to skip untagged photos, to let the model tag them or to take them for "
                "background.",
            )
        if what == "skip":
            raise LeftOut(f"{photo!r} is not among the tagged photos.")
        return None if what == "model" else ()

    def part_of(self, photo: str) -> str:
        """Return the part of the data set that a photo's table names, as written, or nothing."""
        found = self.tagged.get(photo)
        return found.split if found else ""

    def lines(self) -> list[str]:
        """Return what was understood of the tables, and what does not fit, as lines of text."""
        return [line for table in self.tables if table.kind for line in table.lines()] + self.notes()

    def notes(self) -> list[str]:
        """Return sentences about rows and photos that do not fit each other."""
        said = []
        for table, rows in self.unused.items():
            said.append(f"{_count(rows, 'row')} of {table!r} {_verb(rows, 'name')} no photo: {self._with_guess(rows)}.")
        if self.given and (unlisted := self.unlisted):
            said.append(f"{_count(unlisted, 'photo')} {_verb(unlisted, 'have')} no row: {listed(unlisted)}.")
        if doubtful := self.refused:
            said.append(f"{_count(doubtful, 'photo')} {_verb(doubtful, 'have')} no clear row: {listed(doubtful)}.")
        return said

    def require_match(self) -> None:
        """Raise NoRowMatches if there are rows, and none of them names a photo: a wrong table, or a wrong folder."""
        if self.unused and not self.tagged and not self.refused:
            raise NoRowMatches(
                " ".join(self.notes()[: len(self.unused)]), fix="Check the names, or give another table."
            )

    def _with_guess(self, rows: Sequence[str]) -> str:
        folded = {PurePosixPath(photo).name.casefold(): photo for photo in self.unlisted}
        guess = folded.get(PurePosixPath(rows[0]).name.casefold())
        return listed(rows) + (f" (is {rows[0]!r} the photo {guess!r}?)" if guess is not None else "")


def place_tables(collection: Collection) -> list[PlacedTable]:
    """Read the tables that lie among photos; each counts for the photos of its own folder.

    A table whose folder holds no photo counts for the next folder above that does. A file that turns out to be no
    table of tags is left out of the collection; a `.json` may be anything, so nothing is said against it.

    Raises:
        InvalidTagFile: there is no other table than broken ones.
    """
    placed = []
    broken: list[InvalidTagFile] = []
    for file in collection.tables:
        try:
            reading = parse_table(file.load(), file.name)
        except InvalidTagFile as error:
            collection.leave_out(file.name, "no table of tags")
            if file.surely:
                broken.append(error)
            continue
        folder = _folder_of(file, collection.photos)
        if not reading.certain and not assign(collection.photos, [PlacedTable(folder, reading)]).tagged:
            collection.leave_out(file.name, "no table of tags")
        else:
            placed.append(PlacedTable(folder, reading))
    if broken and not placed:
        raise broken[0]
    return placed


def assign(photos: Iterable[str], tables: Sequence[PlacedTable], *, others: Sequence[str] | None = None) -> Assignment:
    """Find the tags of photos in tables; the table of the nearest folder that lists a photo counts.

    Args:
        photos: their names.
        tables: see `place_tables`; several of one folder are joined.
        others: tags of the photos that no table lists; None for none.
    """
    photos = tuple(photos)
    by_folder: dict[str, list[PlacedTable]] = {}
    for table in tables:
        by_folder.setdefault(table.folder, []).append(table)
    tagged: dict[str, TaggedImage] = {}
    refused: dict[str, TocoError] = {}
    unused: dict[str, tuple[str, ...]] = {}
    for folder in sorted(by_folder, key=lambda folder: -len(PurePosixPath(folder).parts)):
        below = [photo for photo in photos if not folder or photo.startswith(f"{folder}/")]
        inner = {photo[len(folder) + 1 :] if folder else photo: photo for photo in below}
        joined = TagTable(row for table in by_folder[folder] for row in table.reading.table.items())
        matched = joined.match(list(inner) if len(inner) == len(below) else below)
        for name, row in matched.rows.items():
            found = joined[row]
            if not found.says_nothing and inner[name] not in tagged:
                tagged[inner[name]] = found
        for name, error in matched.ambiguous.items():
            if inner[name] not in tagged:
                refused[inner[name]] = error
        missing = set(matched.unused)
        for table in by_folder[folder]:
            rows = tuple(row for row in table.reading.table if row in missing)
            if rows:
                unused[table.reading.name] = rows
    if others is not None:
        shared = TaggedImage(tuple(dict.fromkeys(others)))
        tagged |= {photo: shared for photo in photos if photo not in tagged and photo not in refused}
    readings = tuple(table.reading for table in tables)
    return Assignment(photos, tagged, refused, unused, readings, given=bool(tables) or others is not None)


def in_memory(table: TagTable | Mapping[str, Sequence[str]], name: str = "tags") -> PlacedTable:
    """Return a table, or tags by name, that no file holds, for all of a collection."""
    if not isinstance(table, TagTable):
        table = TagTable((photo, TaggedImage(tuple(tags))) for photo, tags in table.items())
    return PlacedTable("", TableReading(name, table, "", "", len(table)))


def _folder_of(file: TableFile, photos: Sequence[str]) -> str:
    for folder in PurePosixPath(file.name).parents:
        path = "" if str(folder) == "." else str(folder)
        if not path or any(photo.startswith(f"{path}/") for photo in photos):
            return path
    return ""


def _count(names: Iterable[str], what: str) -> str:
    number = len(list(names))
    return f"{number} {what}{'' if number == 1 else 's'}"


def _verb(names: Iterable[str], verb: str) -> str:
    single = {"name": "names", "have": "has"}
    return single[verb] if len(list(names)) == 1 else verb
