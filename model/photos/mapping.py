"""The user's own words: a mapping to classes, for other languages and house codes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from toco.model.errors import TocoError
from toco.model.photos.classes import fold
from toco.model.photos.tables.cells import InvalidTagFile, decoded, is_spreadsheet, spreadsheet_cells, text_cells

MAX_WORDS: Final = 10_000
_HEADER: Final = ("word", "class")


class InvalidMapping(TocoError):
    """A mapping of words to classes does not fit."""

    code = "invalid_mapping"
    kind = "invalid"


def fold_mapping(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a mapping as `understanding.understand` takes it: by folded word.

    Args:
        pairs: words as written, and the class (or any word that means one) that each stands for; empty to ignore it.

    Raises:
        InvalidMapping: a blank word, one with two meanings, or too many.
    """
    mapping: dict[str, str] = {}
    for word, meaning in pairs:
        if not fold(word):
            raise InvalidMapping(f"A blank word stands for {meaning!r}.", fix="Give the word.")
        if mapping.setdefault(fold(word), meaning.strip()) != meaning.strip():
            raise InvalidMapping(
                f"{word!r} stands for {mapping[fold(word)]!r} and for {meaning.strip()!r}.", fix="Keep one of the two."
            )
    if len(mapping) > MAX_WORDS:
        raise InvalidMapping(f"A mapping of {len(mapping):,} words.", fix=f"Give at most {MAX_WORDS:,}.")
    return mapping


def read_mapping(path: Path) -> dict[str, str]:
    """Read a mapping from a file; see `parse_mapping`. Raises InvalidMapping."""
    try:
        return parse_mapping(path.read_bytes(), name=str(path))
    except OSError as error:
        raise InvalidMapping(f"{str(path)!r} cannot be read: {error.strerror}.", fix="Check the path.") from None


def parse_mapping(content: bytes, *, name: str = "mapping") -> dict[str, str]:
    """Read a mapping from lines of `word,class`; the class may be empty, a header `word,class` may come first.

    Args:
        content: of a CSV or TSV file in any usual encoding, or of a spreadsheet.
        name: what to call it in errors.

    Raises:
        InvalidMapping: names the line that does not fit.
    """
    try:
        if is_spreadsheet(content):
            cells = spreadsheet_cells(content, name)
        else:
            text, encoding, _ = decoded(content, name)
            cells = text_cells(text, name, encoding)
    except InvalidTagFile as error:
        raise InvalidMapping(error.detail, fix=error.fix) from None
    pairs: list[tuple[str, str]] = []
    for line, row in cells.rows:
        words = [str(cell).strip() for cell in row]
        if not pairs and tuple(word.casefold() for word in words) == _HEADER:
            continue
        if len(words) != len(_HEADER):
            raise InvalidMapping(
                f"{name}, line {line}: {len(words)} columns.", fix="Write lines like Hund,dog; Hund, ignores the word."
            )
        pairs.append((words[0], words[1]))
    return fold_mapping(pairs)
