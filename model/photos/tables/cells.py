"""From a file's bytes to the cells of a table: encodings, delimiters, spreadsheets and JSON."""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from charset_normalizer import from_bytes
from python_calamine import CalamineError, CalamineWorkbook

from toco.model.errors import TocoError
from toco.model.photos.tables.columns import Cell, field_of, is_header, looks_like_photo

_DELIMITERS: Final = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_SPREADSHEETS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods are zips; xls is an OLE file
_MAX_SHEET_BYTES: Final = 512 * 1024 * 1024  # unpacked
_SAMPLE_LINES: Final = 20
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_GUESSED: Final = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "euc_jp", "gb18030", "big5",
    "euc_kr",
)  # fmt: skip


class InvalidTagFile(TocoError):
    """A file of tags does not fit its format."""

    code = "invalid_tag_file"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a table.

    Attributes:
        kind: what the file is, in words.
        rows: line number (from 1) and cells of each row that is not blank; text is stripped.
        header: names of the columns where the format itself has them (JSON), else None.
        encoding: of the text; empty where the format leaves none open.
        notes: what the user should know.
    """

    kind: str
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]
    header: tuple[str, ...] | None = None
    encoding: str = ""
    notes: tuple[str, ...] = ()


def is_spreadsheet(content: bytes) -> bool:
    """Return whether the first bytes are those of an Excel or OpenDocument file."""
    return content.startswith(_SPREADSHEETS)


def decoded(content: bytes, name: str) -> tuple[str, str, tuple[str, ...]]:
    """Decode text of any usual encoding.

    Returns:
        The text, the name of its encoding, and what the user should know about a guess.

    Raises:
        InvalidTagFile: it is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).lstrip("\ufeff"), encoding.removesuffix("-sig"), ()
            except UnicodeDecodeError:
                break
    if content[:64].count(0) * 3 >= len(content[:64]) > 1:  # UTF-16 without a mark: every other byte of ASCII is 0
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
        try:
            return content.decode(encoding), encoding, ()
        except UnicodeDecodeError:
            pass
    if b"\x00" in content:
        raise InvalidTagFile(f"{name} is no text.", fix="Send a CSV, TSV, .xlsx, JSON Lines or JSON file.")
    try:
        return content.decode("utf-8"), "utf-8", ()
    except UnicodeDecodeError as error:
        guess = from_bytes(content, cp_isolation=list(_GUESSED)).best()
        if guess is None:
            raise InvalidTagFile(
                f"{name} is text of no encoding that we know (byte {error.start}).", fix="Save it as UTF-8."
            ) from None
    note = f"The encoding was guessed: {guess.encoding}. Look at the names with accents, or save the file as UTF-8."
    return content.decode(guess.encoding), guess.encoding, (note,)


def text_cells(text: str, name: str, encoding: str, notes: tuple[str, ...] = ()) -> Cells:
    """Read comma-, tab-, semicolon- or bar-separated text.

    Raises:
        InvalidTagFile: names the line that does not fit.
    """
    first, _, rest = text.partition("\n")
    skipped = 0
    delimiter = ""
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:  # Excel's own mark
        delimiter, text, skipped = first.strip()[4], rest, 1
    delimiter = delimiter or _delimiter(text)
    rows = _csv_rows(text, delimiter, name, skipped)
    kind = f"a table with {_DELIMITERS.get(delimiter, repr(delimiter))} between its columns"
    return Cells(kind, tuple(rows), encoding=encoding, notes=notes)


def spreadsheet_cells(content: bytes, name: str) -> Cells:
    """Read the first sheet with cells of an Excel (.xlsx, .xls) or OpenDocument file.

    Raises:
        InvalidTagFile: damaged, encrypted, too large, or without cells.
    """
    _check_unpacked(content, name)
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(content)) as book:
            sheets = [
                (title, book.get_sheet_by_name(title).to_python(skip_empty_area=False)) for title in book.sheet_names
            ]
    except (CalamineError, OSError, ValueError) as error:
        raise InvalidTagFile(
            f"{name} cannot be read as a spreadsheet: {error}.",
            fix="Save it as .xlsx or CSV again, without a password.",
        ) from None
    filled = [(title, rows) for title, rows in sheets if any(any(cell != "" for cell in row) for row in rows)]
    if not filled:
        raise InvalidTagFile(f"{name} has no filled cell.", fix="Send a table with a row a photo.")
    title, rows = filled[0]
    notes: tuple[str, ...] = ()
    if len(filled) > 1:
        others = ", ".join(repr(other) for other, _ in filled[1:4])
        notes = (f"Only the sheet {title!r} was read, not {others}.",)
    numbered = ((line, tuple(_spreadsheet_cell(cell) for cell in row)) for line, row in enumerate(rows, start=1))
    return Cells(f"a spreadsheet (sheet {title!r})", tuple((n, row) for n, row in numbered if any(row)), notes=notes)


def json_lines_cells(text: str, name: str, encoding: str) -> Cells:
    """Read JSON Lines, one object a line.

    Raises:
        InvalidTagFile: names the line that does not fit.
    """
    objects: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            said = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise InvalidTagFile(f"{name}, line {number}: {said}.", fix="Write one JSON object a line.") from None
        objects.append((number, _object(row, f"{name}, line {number}", line)))
    return _object_cells("JSON Lines", objects, name, encoding)


def json_cells(content: Any, name: str, encoding: str) -> Cells:
    """Read a JSON list of objects, or an object of tags by name (`{"a.jpg": ["cat"]}`).

    Raises:
        InvalidTagFile: it is neither.
    """
    if isinstance(content, dict):
        if not all(isinstance(value, list | str) for value in content.values()):
            raise InvalidTagFile(
                f"{name} does not fit: a JSON object must hold COCO instances or lists of tags by photo.",
                fix='Write {"a.jpg": ["cat", "dog"]}, or a list of objects with image and tags.',
            )
        objects: list[tuple[int, Mapping[str, Any]]] = [
            (number, {"image": image, "tags": tags}) for number, (image, tags) in enumerate(content.items(), start=1)
        ]
        return _object_cells("a JSON object of tags by photo", objects, name, encoding)
    objects = [
        (number, _object(entry, f"{name}, entry {number}", json.dumps(entry)))
        for number, entry in enumerate(content, start=1)
    ]
    return _object_cells("a JSON list", objects, name, encoding)


def _object(entry: Any, where: str, text: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise _lacking(where, text)
    return entry


def _object_cells(kind: str, objects: Sequence[tuple[int, Mapping[str, Any]]], name: str, encoding: str) -> Cells:
    columns: dict[str, str] = {}  # what the first object with a field calls it; others may call it otherwise
    rows = []
    for number, entry in objects:
        fields = {str(key): value for key, value in entry.items()}
        for field in ("image", "tags"):
            own = next((key for key in fields if field_of(key) == field), None)
            if own is not None and columns.setdefault(field, own) not in fields:
                fields[columns[field]] = fields.pop(own)
        rows.append((number, fields))
    header = tuple(dict.fromkeys(key for _, fields in rows for key in fields))
    tags = columns.get("tags")
    for number, fields in rows:
        if tags is not None and (tags not in fields or not _lists_tags(fields[tags])):
            raise _lacking(f"{name}, line {number}", json.dumps(fields))
    cells = ((n, tuple(_json_cell(fields.get(key), f"{name}, line {n}") for key in header)) for n, fields in rows)
    return Cells(kind, tuple(cells), header, encoding)


def _lists_tags(value: Any) -> bool:
    return value is None or isinstance(value, str | list) or (isinstance(value, dict) and _is_choice(value))


def _lacking(where: str, text: str) -> InvalidTagFile:
    return InvalidTagFile(
        f"{where}: {text[:80]!r} lacks an image name or a list of tags.",
        fix='Write objects like {"image": "a.jpg", "tags": ["cat", "dog"]}.',
    )


def _json_cell(value: Any, where: str) -> Cell:
    """Return a JSON value as a cell; a list may hold words, numbers, or objects with a name."""
    if isinstance(value, list):
        words = [entry.get("name") if isinstance(entry, dict) else entry for entry in value]
        if any(word is None or isinstance(word, list | dict) for word in words):
            raise InvalidTagFile(
                f"{where}: {json.dumps(value)[:80]} is no list of tags.", fix='Write "tags": ["cat", "dog"].'
            )
        return tuple(dict.fromkeys(text for word in words if (text := _scalar(word))))
    if isinstance(value, dict):
        return tuple(str(key) for key, said in value.items() if said in (True, 1)) if _is_choice(value) else str(value)
    return _scalar(value)


def _is_choice(value: Mapping[str, Any]) -> bool:
    return all(said in (True, False, 0, 1) for said in value.values())


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return "" if value is None else str(value).strip()


def _spreadsheet_cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a spreadsheet knows no whole numbers
    return _scalar(value)


def _check_unpacked(content: bytes, name: str) -> None:
    """Refuse a spreadsheet that unpacks to far more than a table has: its headers may lie, so it is unpacked."""
    if not content.startswith(b"PK"):
        return
    left = _MAX_SHEET_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                with archive.open(info) as stream:
                    while piece := stream.read(1024 * 1024):
                        left -= len(piece)
                        if left < 0:
                            raise InvalidTagFile(f"{name} unpacks to too much.", fix="Save it as CSV.")
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError) as error:
        raise InvalidTagFile(f"{name} cannot be read as a spreadsheet: {error}.", fix="Save it again.") from None


def _csv_rows(text: str, delimiter: str, name: str, skipped: int) -> list[tuple[int, tuple[Cell, ...]]]:
    # strict: a quote that is never closed must not swallow the rest of the file
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[tuple[int, tuple[Cell, ...]]] = []
    try:
        for cells in reader:
            row = tuple(cell.strip() for cell in cells)
            if any(row):
                rows.append((reader.line_num + skipped, row))
    except csv.Error as error:
        raise InvalidTagFile(
            f"{name}, line {reader.line_num + skipped}: {error}.", fix="Close the quotes, or save it as CSV again."
        ) from None
    return rows


def _delimiter(text: str) -> str:
    """Guess what stands between columns: what makes a header of the first line, else what ends the photos' names."""
    lines = [line for line in text.splitlines()[: 2 * _SAMPLE_LINES] if line.strip()][:_SAMPLE_LINES]
    first = lines[0] if lines else ""
    present = [delimiter for delimiter in _DELIMITERS if delimiter in first]

    def parts(line: str, delimiter: str) -> list[str]:
        return [cell.strip().strip('"') for cell in line.split(delimiter)]

    for delimiter in present:
        if is_header(tuple(parts(first, delimiter))):
            return delimiter
    for delimiter in present:
        columns = zip(*(parts(line, delimiter) for line in lines), strict=False)
        if any(all(map(looks_like_photo, column)) for column in columns):
            return delimiter
    return present[0] if present else ","
