"""Image-level tags: of tables and folder names, and found again for each photo.

A photo is *tagged* (perhaps with no tag at all: nothing of interest is on it) or *not listed*; the two are kept
apart. A tagged photo's list is complete, or names only some of what is on it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Final
from urllib.parse import unquote

from toco.model.errors import TocoError

_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|' + r"'((?:[^'\\]|\\.)*)'")
_SEPARATORS: Final = re.compile(r"[;,|\n\r\t]")
_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_MOST_NAMED: Final = 5


class AmbiguousImageName(TocoError):
    """Several rows of a tag table may mean the same photo."""

    code = "ambiguous_image_name"
    kind = "invalid"


class AmbiguousRow(AmbiguousImageName):
    """One row of a tag table may mean several photos."""


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """The tags of one photo, as written.

    Attributes:
        tags: distinct, in the order given; empty if nothing of interest is on the photo.
        complete: whether tags that are not listed are known to be absent.
        split: the part of the data set that the table names, or empty.
    """

    tags: tuple[str, ...]
    complete: bool = True
    split: str = ""

    @property
    def says_nothing(self) -> bool:
        """Whether no tag is listed and none is known to be absent: as if the photo were not listed."""
        return not self.tags and not self.complete


@dataclass(frozen=True, slots=True)
class Matched:
    """Which row of a table means which of some photos.

    Attributes:
        rows: name of the row by name of the photo.
        ambiguous: photos that several rows, or rows that several photos, may be meant by: they get no row.
        unused: rows that mean none of the photos, in order.
    """

    rows: dict[str, str]
    ambiguous: dict[str, AmbiguousImageName]
    unused: tuple[str, ...]


class TagTable(Mapping[str, TaggedImage]):
    """Maps names of photos to their tags.

    Names are kept as relative paths with forward slashes (see `row_name`). Rows that name the same photo twice are
    merged: their tags are joined, and the list is complete only if every row says so (a row a tag is a common way to
    write tables).

    Args:
        rows: pairs of name and tags.
    """

    def __init__(self, rows: Iterable[tuple[str, TaggedImage]]) -> None:
        self._rows: dict[str, TaggedImage] = {}
        for name, tagged in rows:
            key = row_name(name)
            known = self._rows.get(key, TaggedImage(()))
            self._rows[key] = TaggedImage(
                tuple(dict.fromkeys((*known.tags, *tagged.tags))),
                known.complete and tagged.complete,
                known.split or tagged.split,
            )
        self._by_file: dict[str, list[str]] = {}
        for key in self._rows:
            self._by_file.setdefault(PurePosixPath(key).name, []).append(key)

    def __getitem__(self, name: str) -> TaggedImage:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def row_of(self, photo: str | PurePath) -> str | None:
        """Return the name of the row that means a photo, or None if the table does not list it.

        A row means a photo if one path ends with the other (`x.jpg` and `photos/x.jpg`); the row may leave out the
        file name's ending. The row that agrees in most parts wins.

        Raises:
            AmbiguousImageName: two rows agree equally well.
        """
        found = self._agreeing(str(photo))
        return None if found is None else found[0]

    def find(self, photo: str | PurePath) -> TaggedImage | None:
        """Return the tags of a photo, or None if the table does not list it. Raises like `row_of`."""
        row = self.row_of(photo)
        return None if row is None else self._rows[row]

    def match(self, photos: Iterable[str | PurePath]) -> Matched:
        """Find the row of each of some photos; unlike `find`, no row is given to two of them.

        Where several photos agree with one row, the one of the same path or else the one that agrees in most parts
        gets it; if those are several, the row is ambiguous and none gets it.
        """
        ambiguous: dict[str, AmbiguousImageName] = {}
        claims: dict[str, list[tuple[tuple[bool, int], str]]] = {}
        for photo in map(str, photos):
            try:
                found = self._agreeing(photo)
            except AmbiguousImageName as error:
                ambiguous[photo] = error
                continue
            if found is not None:
                row, parts = found
                claims.setdefault(row, []).append(((row == row_name(photo), parts), photo))
        rows: dict[str, str] = {}
        for row, claimants in claims.items():
            best = max(claim for claim, _ in claimants)
            winners = [photo for claim, photo in claimants if claim == best]
            if len(winners) == 1:
                rows[winners[0]] = row
                continue
            listed = ", ".join(map(repr, winners[:_MOST_NAMED])) + (", ..." if len(winners) > _MOST_NAMED else "")
            doubt = AmbiguousRow(
                f"The row {row!r} may be any of the photos {listed}.",
                fix="Write the tag table with paths relative to the folder of photos.",
            )
            ambiguous |= dict.fromkeys(winners, doubt)
        doubtful = {row for row, claimants in claims.items() if any(photo in ambiguous for _, photo in claimants)}
        doubtful |= {row for photo in ambiguous for row in self._candidates(photo)}
        used = doubtful.union(rows.values())
        return Matched(rows, ambiguous, tuple(row for row in self._rows if row not in used))

    def unused(self, photos: Iterable[str | PurePath]) -> tuple[str, ...]:
        """Return the rows that mean none of the photos, in order: misspelt names, most often."""
        return self.match(photos).unused

    def _agreeing(self, photo: str) -> tuple[str, int] | None:
        """Return the row that means a photo and in how many parts of the path the two agree. Raises like `row_of`."""
        agreeing = self._candidates(photo)
        if not agreeing:
            return None
        most = max(agreeing.values())
        best = [row for row, parts in agreeing.items() if parts == most]
        if len(best) > 1:
            raise AmbiguousImageName(
                f"{photo!r} may be any of the rows {', '.join(map(repr, best[:_MOST_NAMED]))}.",
                fix="Write the tag table with paths relative to the folder of photos.",
            )
        return best[0], most

    def _candidates(self, photo: str) -> dict[str, int]:
        """Return the rows that may mean a photo, and in how many parts of the path they agree with it."""
        path = PurePosixPath(row_name(photo))
        for wanted in (path, path.with_suffix("")) if path.name else ():
            agreeing = {}
            for key in self._by_file.get(wanted.name, ()):
                pairs = list(zip(reversed(PurePosixPath(key).parts), reversed(wanted.parts), strict=False))
                if all(ours == theirs for ours, theirs in pairs):
                    agreeing[key] = len(pairs)
            if agreeing:
                return agreeing
        return {}


def normalise_name(name: str) -> str:
    """Return a photo's name as a path with forward slashes and without a leading `./` or `/`."""
    return str(PurePosixPath(name.strip().replace("\\", "/"))).lstrip("/")


def row_name(name: str) -> str:
    """Return a name for comparison: like `normalise_name`, letters composed (NFC, as against the Mac's NFD).

    Of an address (`https://...`), the path; a leading `../` says nothing here.
    """
    if scheme := _SCHEME.match(name.strip()):
        name = unquote(re.split(r"[?#]", name.strip()[scheme.end() :], maxsplit=1)[0])
    name = unicodedata.normalize("NFC", normalise_name(name))
    while name.startswith("../"):
        name = name[3:]
    return name


def split_tags(text: str) -> tuple[str, ...]:
    """Split `cat; dog` at `;`, `,` or `|` into distinct tags; `["cat", "dog"]` and other written lists are read too."""
    text = text.strip()
    if text and _BRACKETS.get(text[0]) == text[-1]:
        quoted = [double or single for double, single in _QUOTED.findall(text)]
        if quoted:  # also where no comma stands between, as numpy prints lists
            return tuple(dict.fromkeys(tag.strip() for tag in quoted if tag.strip()))
        text = text[1:-1]
    return tuple(dict.fromkeys(tag.strip() for tag in _SEPARATORS.split(text) if tag.strip()))


def tags_from_folders(photos: Iterable[PurePath]) -> TagTable:
    """Take the name of each photo's folder for its tags (`cat/1.jpg`, `cat,dog/2.jpg`).

    The lists count as incomplete: who sorts photos into folders names what each shows first of all. Photos outside
    any folder are not listed.

    Args:
        photos: paths relative to the root of the collection.
    """
    return TagTable(
        (str(photo), TaggedImage(split_tags(photo.parent.name), complete=False))
        for photo in photos
        if photo.parent.name
    )
