"""Image-level tags: read from tables, folder names and annotation files, and found again for each photo.

A photo is *tagged* (perhaps with no tag at all: nothing of interest is on it) or *not listed*; the two are kept
apart. A tagged photo's list is complete, or names only some of what is on it.
"""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final

from toco.model.errors import TocoError

_IMAGE_COLUMNS: Final = ("image", "image_name", "file", "file_name", "filename", "photo", "path", "name", "id")
_TAG_COLUMNS: Final = ("tags", "tag", "labels", "label", "classes", "class")
_COMPLETE_COLUMNS: Final = ("complete",)
_YES: Final = frozenset({"1", "true", "yes", ""})  # an empty cell says nothing against the default
_NO: Final = frozenset({"0", "false", "no"})
_SEPARATORS: Final = re.compile(r"[;,|]")


class InvalidTagFile(TocoError):
    """A file of tags does not fit its format."""

    code = "invalid_tag_file"
    kind = "invalid"


class AmbiguousImageName(TocoError):
    """Several rows of a tag table may mean the same photo."""

    code = "ambiguous_image_name"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class TaggedImage:
    """The tags of one photo, as written.

    Attributes:
        tags: distinct, in the order given; empty if nothing of interest is on the photo.
        complete: whether tags that are not listed are known to be absent.
    """

    tags: tuple[str, ...]
    complete: bool = True


class TagTable(Mapping[str, TaggedImage]):
    """Maps names of photos to their tags.

    Names are kept as relative paths with forward slashes. Rows that name the same photo twice are merged: their tags
    are joined, and the list is complete only if every row says so (a row a tag is a common way to write tables).

    Args:
        rows: pairs of name and tags.
    """

    def __init__(self, rows: Iterable[tuple[str, TaggedImage]]) -> None:
        self._rows: dict[str, TaggedImage] = {}
        for name, tagged in rows:
            key = normalise_name(name)
            known = self._rows.get(key, TaggedImage(()))
            self._rows[key] = TaggedImage(
                tuple(dict.fromkeys((*known.tags, *tagged.tags))), known.complete and tagged.complete
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
        path = PurePosixPath(normalise_name(str(photo)))
        for wanted in (path, path.with_suffix("")):
            agreeing: dict[int, list[str]] = {}
            for key in self._by_file.get(wanted.name, ()):
                pairs = list(zip(reversed(PurePosixPath(key).parts), reversed(wanted.parts), strict=False))
                if all(ours == theirs for ours, theirs in pairs):
                    agreeing.setdefault(len(pairs), []).append(key)
            if agreeing:
                best = agreeing[max(agreeing)]
                if len(best) > 1:
                    raise AmbiguousImageName(
                        f"{str(photo)!r} may be any of the rows {', '.join(map(repr, best))}.",
                        fix="Write the tag table with paths relative to the folder of photos.",
                    )
                return best[0]
        return None

    def find(self, photo: str | PurePath) -> TaggedImage | None:
        """Return the tags of a photo, or None if the table does not list it. Raises like `row_of`."""
        row = self.row_of(photo)
        return None if row is None else self._rows[row]

    def unused(self, photos: Iterable[str | PurePath]) -> tuple[str, ...]:
        """Return the rows that mean none of the photos, in order: misspelt names, most often."""
        used = {self.row_of(photo) for photo in photos}
        return tuple(row for row in self._rows if row not in used)


def normalise_name(name: str) -> str:
    """Return a photo's name as a path with forward slashes and without a leading `./` or `/`."""
    return str(PurePosixPath(name.strip().replace("\\", "/"))).lstrip("/")


def split_tags(text: str) -> tuple[str, ...]:
    """Split `cat; dog` at `;`, `,` or `|` into distinct tags."""
    return tuple(dict.fromkeys(tag.strip() for tag in _SEPARATORS.split(text) if tag.strip()))


def read_tags(path: Path) -> TagTable:
    """Read the tags of many photos from a file or folder.

    Recognised are tables (`image,tags[,complete]`, header optional; comma, semicolon or tab between columns), JSON
    Lines (`{"image": ..., "tags": [...], "complete": true}`), COCO instances JSON, and a folder of VOC XML
    annotations.

    Raises:
        InvalidTagFile: names the file and the line that does not fit.
    """
    if path.is_dir():
        return read_voc_annotations(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTagFile(
            f"{str(path)!r} is not UTF-8 text (byte {error.start}).", fix="Save it as a UTF-8 CSV or JSON Lines file."
        ) from None
    except OSError as error:
        raise InvalidTagFile(f"{str(path)!r} cannot be read: {error.strerror}.", fix="Check the path.") from None
    if path.suffix.lower() == ".json":
        return parse_coco_instances(text, name=str(path))
    return parse_tags(text, name=str(path))


def parse_tags(text: str, *, name: str = "tags") -> TagTable:
    """Read a table or JSON Lines; see `read_tags`.

    Args:
        text: the content.
        name: what to call it in errors.

    Raises:
        InvalidTagFile: names the line that does not fit.
    """
    if text.lstrip()[:1] == "{":
        return TagTable(_json_lines(text, name))
    return TagTable(_table_rows(text, name))


def tags_for_all(photos: Iterable[str | PurePath], tags: Sequence[str]) -> TagTable:
    """Give the same tags to every photo."""
    tagged = TaggedImage(tuple(dict.fromkeys(tags)))
    return TagTable((str(photo), tagged) for photo in photos)


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


def read_voc_annotations(folder: Path) -> TagTable:
    """Read the tags of photos from a folder of VOC XML annotations (every object named, difficult ones too).

    Raises:
        InvalidTagFile: there is no XML file, or one does not fit.

    References:
        VOC 2012 development kit, section 3.2 (annotation files).
    """
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise InvalidTagFile(
            f"There is no annotation (*.xml) in the folder {str(folder)!r}.",
            fix="Name a folder of VOC XML annotations, or a CSV, JSON Lines or COCO JSON file.",
        )
    return TagTable(_voc_rows(files))


def parse_coco_instances(text: str, *, name: str = "instances") -> TagTable:
    """Read the tags of photos from COCO instances JSON; photos without annotations are tagged with nothing.

    Raises:
        InvalidTagFile: not JSON, or without the keys `images`, `annotations` and `categories`.
    """
    try:
        content = json.loads(text)
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        tags: dict[Any, dict[str, None]] = {image["id"]: {} for image in content["images"]}
        for annotation in content["annotations"]:
            tags[annotation["image_id"]][names[annotation["category_id"]]] = None
        return TagTable((image["file_name"], TaggedImage(tuple(tags[image["id"]]))) for image in content["images"])
    except json.JSONDecodeError as error:
        raise InvalidTagFile(f"{name}, line {error.lineno}: {error.msg}.", fix="Mend the JSON.") from None
    except (KeyError, TypeError) as error:
        raise InvalidTagFile(
            f"{name} does not fit COCO instances: {type(error).__name__} {error}.",
            fix="It needs images (id, file_name), annotations (image_id, category_id) and categories (id, name).",
        ) from None


def _json_lines(text: str, name: str) -> Iterator[tuple[str, TaggedImage]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidTagFile(f"{name}, line {number}: {error.msg}.", fix="Write one JSON object a line.") from None
        fields = {str(key).casefold(): value for key, value in row.items()} if isinstance(row, dict) else {}
        image = next((fields[key] for key in _IMAGE_COLUMNS if key in fields), None)
        tags = next((fields[key] for key in _TAG_COLUMNS if key in fields), None)
        if isinstance(tags, str):
            tags = split_tags(tags)
        if not isinstance(image, str) or not image or not isinstance(tags, list | tuple):
            raise InvalidTagFile(
                f"{name}, line {number}: {line[:80]!r} lacks an image name or a list of tags.",
                fix='Write lines like {"image": "a.jpg", "tags": ["cat", "dog"]}.',
            )
        complete = _truth(str(fields.get("complete", "")), name, number)
        yield image, TaggedImage(tuple(dict.fromkeys(str(tag).strip() for tag in tags if str(tag).strip())), complete)


def _table_rows(text: str, name: str) -> Iterator[tuple[str, TaggedImage]]:
    delimiter = _delimiter(text)
    # strict: a quote that is never closed must not swallow the rest of the file
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    columns: dict[str, int] | None = None
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if columns is None:
                columns = _header(row)
                if columns is not None:
                    continue
                columns = {"image": 0, "tags": 1}
                if len(row) == 3 and row[2] in ("0", "1"):
                    columns["complete"] = 2
            yield _table_row(row, columns, name, reader.line_num)
    except csv.Error as error:
        raise InvalidTagFile(
            f"{name}, line {reader.line_num}: {error}.", fix="Close the quotes, or save it as CSV again."
        ) from None


def _delimiter(text: str) -> str:
    """Guess what stands between columns from the first line: tab, comma, else semicolon."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    for delimiter in ("\t", ",", ";"):
        if _header([cell.strip().strip('"') for cell in first.split(delimiter)]):
            return delimiter
    return next((delimiter for delimiter in ("\t", ",", ";") if delimiter in first), ",")


def _header(row: Sequence[str]) -> dict[str, int] | None:
    """Return the column of each field if the row is a header, else None."""
    names = [cell.casefold() for cell in row]
    columns = {}
    for field, spellings in (("image", _IMAGE_COLUMNS), ("tags", _TAG_COLUMNS), ("complete", _COMPLETE_COLUMNS)):
        for spelling in spellings:
            if spelling in names:
                columns[field] = names.index(spelling)
                break
    return columns if "image" in columns and "tags" in columns else None


def _table_row(row: list[str], columns: Mapping[str, int], name: str, line: int) -> tuple[str, TaggedImage]:
    last = max(columns.values())
    if len(row) > last + 1 and columns["tags"] == last:
        row = [*row[:last], ";".join(row[last:])]  # `a.jpg,cat,dog` without quotes
    if len(row) > last + 1:
        raise InvalidTagFile(
            f"{name}, line {line}: {len(row)} columns where {last + 1} are due.",
            fix='Write several tags as cat;dog, or in quotes: "cat,dog".',
        )
    row += [""] * (last + 1 - len(row))
    if not row[columns["image"]]:
        raise InvalidTagFile(f"{name}, line {line}: no image name.", fix="Write lines like a.jpg,cat;dog.")
    complete = _truth(row[columns["complete"]], name, line) if "complete" in columns else True
    return row[columns["image"]], TaggedImage(split_tags(row[columns["tags"]]), complete)


def _truth(text: str, name: str, line: int) -> bool:
    if text.casefold() in _YES | _NO:
        return text.casefold() in _YES
    raise InvalidTagFile(f"{name}, line {line}: complete = {text!r}.", fix="Write 1 or 0.")


def _voc_rows(files: Iterable[Path]) -> Iterator[tuple[str, TaggedImage]]:
    for path in files:
        try:
            root = ET.parse(path).getroot()  # noqa: S314 - expat has bounded entity expansion since 2.4.1
        except (ET.ParseError, OSError) as error:
            raise InvalidTagFile(f"{str(path)!r}: {error}.", fix="Mend or remove the annotation.") from None
        # `part` elements have names too (head, hand, foot): direct children alone.
        tags = (entry.strip() for entry in (child.findtext("name", "") for child in root.findall("object")))
        yield root.findtext("filename") or path.stem, TaggedImage(tuple(dict.fromkeys(tag for tag in tags if tag)))
