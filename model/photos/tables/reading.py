"""`read_table`: the tags of many photos from a file or folder, and what was understood of it.

Every door reads tags here: the command line, the REST service's manifests and archives, the Python client.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toco.model.photos.tables.annotations import coco_rows, voc_rows
from toco.model.photos.tables.cells import (
    Cells,
    InvalidTagFile,
    decoded,
    is_spreadsheet,
    json_cells,
    json_lines_cells,
    spreadsheet_cells,
    text_cells,
)
from toco.model.photos.tables.columns import field_of, is_number, looks_like_photo
from toco.model.photos.tables.layout import Layout, tagged_rows, understand
from toco.model.photos.tags import TaggedImage, TagTable, row_name

TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods"})
"""File name endings that say "a table of tags"."""

MAX_TABLE_BYTES: Final = 64 * 1024 * 1024

_MOST_NAMED: Final = 3
_WHAT_WE_READ: Final = "Send a CSV, TSV, .xlsx, JSON Lines, JSON or COCO instances file."


@dataclass(frozen=True, slots=True)
class TableReading:
    """A table of tags and what was understood of it.

    Attributes:
        name: of the file.
        table: the rows.
        kind: what the file is, in words; empty if no file was read.
        encoding: of its text; empty where the format leaves none open.
        layout: how it lists tags, in words.
        image_column: name of the column of photos; empty in annotation files.
        tag_columns: names of the columns of tags, or of the classes.
        kept_columns: further columns that are used (split, complete, confidence).
        ignored_columns: columns that say nothing here.
        rows: how many rows the file has.
        certain: whether a header or the look of the names says that it lists photos; else it may be any table.
        warnings: what the user should look at.
    """

    name: str
    table: TagTable
    kind: str
    layout: str
    rows: int
    certain: bool = True
    encoding: str = ""
    image_column: str = ""
    tag_columns: tuple[str, ...] = ()
    kept_columns: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what was understood as lines of text, warnings last."""
        encoding = f", {self.encoding}" if self.encoding else ""
        said = [f"{self.name}: {self.kind}{encoding}; {self.layout}; {self.rows} rows, {len(self.table)} photos"]
        if self.image_column:
            said.append(f"  photos in {self.image_column!r}, tags in {_listed(self.tag_columns)}")
        if self.kept_columns:
            said.append(f"  also used: {_listed(self.kept_columns)}")
        if self.ignored_columns:
            said.append(f"  not used: {_listed(self.ignored_columns)}")
        return said + [f"  note: {warning}" for warning in self.warnings]

    def as_json(self) -> dict[str, Any]:
        """Return what was understood as JSON values, without the rows."""
        return {
            "name": self.name,
            "kind": self.kind,
            "encoding": self.encoding,
            "layout": self.layout,
            "image_column": self.image_column,
            "tag_columns": list(self.tag_columns),
            "kept_columns": list(self.kept_columns),
            "ignored_columns": list(self.ignored_columns),
            "rows": self.rows,
            "photos": len(self.table),
            "warnings": list(self.warnings),
        }


def read_table(path: Path) -> TableReading:
    """Read the tags of many photos from a file or a folder of VOC XML annotations.

    Files may be tables with a header or without (comma, tab, semicolon or bar between columns; any usual encoding),
    spreadsheets, JSON Lines, JSON lists, or COCO instances. A table lists the tags in a cell, or has a column a class.

    Raises:
        InvalidTagFile: names the file and the line that does not fit.
    """
    if path.is_dir():
        return _annotations(str(path), "a folder of VOC XML annotations", voc_rows(path))
    try:
        if path.stat().st_size > MAX_TABLE_BYTES and path.suffix.lower() != ".json":
            raise InvalidTagFile(f"{str(path)!r} has over {MAX_TABLE_BYTES:,} bytes.", fix="Split the table.")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidTagFile(f"{str(path)!r} cannot be read: {error.strerror}.", fix="Check the path.") from None
    return parse_table(content, str(path))


def read_tags(path: Path) -> TagTable:
    """Return the rows of `read_table`. Raises like it."""
    return read_table(path).table


def parse_table(content: bytes, name: str = "tags") -> TableReading:
    """Read a table from the content of its file; see `read_table`.

    Args:
        content: bytes of the file.
        name: what to call it in errors.

    Raises:
        InvalidTagFile: names the line that does not fit.
    """
    if is_spreadsheet(content):
        return _from_cells(spreadsheet_cells(content, name), name)
    text, encoding, notes = decoded(content, name)
    if text.lstrip()[:1] in ("{", "["):
        return _parse_json(text, name, encoding)
    return _from_cells(text_cells(text, name, encoding, notes), name)


def _parse_json(text: str, name: str, encoding: str) -> TableReading:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        several = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
        if several or not name.lower().endswith(".json"):
            return _from_cells(json_lines_cells(text, name, encoding), name)
        where = (
            f", line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else " is nested deeply"
        )
        raise InvalidTagFile(f"{name}{where}.", fix="Mend the JSON.") from None
    if isinstance(content, list):
        return _from_cells(json_cells(content, name, encoding), name)
    if any(field_of(key) == "image" and isinstance(value, str) for key, value in content.items()):
        return _from_cells(json_lines_cells(json.dumps(content), name, encoding), name)  # one line of JSON Lines
    if {"images", "annotations", "categories"} & content.keys() or not content:
        return _annotations(name, "COCO instances", coco_rows(content, name), encoding)
    return _from_cells(json_cells(content, name, encoding), name)


def _from_cells(cells: Cells, name: str) -> TableReading:
    layout = understand(cells, name)
    rows = list(tagged_rows(cells, layout, name))
    return TableReading(
        name=name,
        table=TagTable(rows),
        kind=cells.kind,
        layout="tags in a list" if layout.kind == "list" else "a column a class",
        rows=len(rows),
        certain=layout.has_header or any(looks_like_photo(image) for image, _ in rows),
        encoding=cells.encoding,
        image_column=layout.names[layout.image],
        tag_columns=tuple(layout.names[at] for at in layout.tags),
        kept_columns=layout.kept,
        ignored_columns=layout.ignored,
        warnings=(*cells.notes, *layout.notes, *_warnings(rows, layout)),
    )


def _annotations(name: str, kind: str, rows: Iterable[tuple[str, TaggedImage]], encoding: str = "") -> TableReading:
    listed = list(rows)
    return TableReading(
        name, TagTable(listed), kind, "the classes of each photo's objects", len(listed), encoding=encoding
    )


def _warnings(rows: list[tuple[str, TaggedImage]], layout: Layout) -> list[str]:
    said = []
    numbers = sorted({tag for _, tagged in rows for tag in tagged.tags if is_number(tag)})
    if numbers and layout.kind == "list":
        said.append(f"Some tags are numbers: {_listed(numbers)}. Write the classes' names if they are indices.")
    times = Counter(row_name(image) for image, _ in rows)
    first: dict[str, TaggedImage] = {}
    differing = {name for image, tagged in rows if first.setdefault(name := row_name(image), tagged) != tagged}
    if again := [name for name, count in times.items() if count > 1]:
        joined = f"; the tags of {len(differing)} differ and were joined" if differing else ""
        said.append(f"{len(again)} photos have more than one row ({_listed(again)}){joined}.")
    unknown = sum(not tagged.tags and not tagged.complete for _, tagged in rows)
    if unknown:
        said.append(f"{unknown} rows say nothing of their photo: it counts as not listed.")
    empty = sum(not tagged.tags and tagged.complete for _, tagged in rows)
    if empty and layout.kind == "list":
        said.append(f"{empty} rows have no tag: these photos are taken to show none of the classes.")
    return said


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(repr(name) for name in names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
