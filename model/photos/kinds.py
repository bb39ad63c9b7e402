"""Kinds of classes: a terrier is a dog, a farmer is a person. The table is WordNet's, made by `wordnet.make_kinds`."""

from functools import cache
from pathlib import Path
from typing import Final

from toco.model.photos.classes import fold

_TABLE: Final = Path(__file__).parent / "wordnet" / "kinds.tsv"
_OTHER: Final = "?"


def classes_of_kind(word: str) -> tuple[tuple[str, ...], bool]:
    """Return the VOC and COCO classes (COCO's names) that a word is a kind of, and whether it is nothing else.

    Args:
        word: singular; case, spaces and hyphens do not count.

    Returns:
        `(("dog",), True)` for a terrier; `(("dog", "person"), True)` for a boxer, which is either;
        `(("bird",), False)` for a crane, which is also a machine; `((), True)` for a word that is not in the table.
    """
    classes = _table().get(fold(word), "")
    named = tuple(name for name in classes.split("|") if name not in ("", _OTHER))
    return named, _OTHER not in classes


@cache
def _table() -> dict[str, str]:
    """Classes, with `|` between, by folded word."""
    lines = (line.split("\t") for line in _TABLE.read_text(encoding="utf-8").splitlines())
    return {word: classes for classes, words in lines for word in words.split()}
