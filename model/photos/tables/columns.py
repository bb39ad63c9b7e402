"""What the columns of a tag table are called, and what its cells look like."""

import re
from pathlib import PurePosixPath
from typing import Final, Literal

from toco.model.photos.images import SUFFIXES

Cell = str | tuple[str, ...]
"""A cell: text, or a list where the format has lists (JSON)."""

Field = Literal["image", "tags", "split", "complete", "confidence"]

# Folded names (see `folded`), the best first: a table may have an id beside a file name.
_IMAGE: Final = (
    "image", "filename", "filepath", "imagepath", "imagefile", "imagefilename", "imagefilepath", "imagename",
    "imgpath", "imgfile", "imgname", "img", "file", "path", "photo", "photoname", "photopath", "photofile", "picture",
    "fname", "imageurl", "imgurl", "imageuri", "photourl", "url", "uri", "imageid", "imgid", "photoid", "fileid",
    "name", "key", "id", "images", "files", "photos",
)  # fmt: skip
_TAGS: Final = tuple(
    re.compile(rf"(image|img|photo|file)?{stem}(name|names|list|text)?\d*")
    for stem in ("tags?", "labels?", "class(es)?", "categor(y|ies)", "keywords?", "annotations?", "objects?", "species")
)
_SPLIT: Final = frozenset({"split", "subset", "set", "partition", "usage", "datasplit"})
_COMPLETE: Final = frozenset({"complete", "iscomplete", "exhaustive"})
_CONFIDENCE: Final = frozenset({"confidence"})
# Columns that say something else of a photo, whatever their cells look like.
_ABOUT_THE_PHOTO: Final = frozenset(
    {"", "index", "width", "height", "w", "h", "size", "md5", "sha256", "hash", "source", "date", "time", "timestamp",
     "x", "y", "xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2", "bbox", "area", "group", "fold", "license",
     "isoccluded", "istruncated", "isgroupof", "isdepiction", "isinside"}
)  # fmt: skip

SPLIT_WORDS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})
NOT_KNOWN: Final = frozenset({"nan", "none", "null", "<na>", "n/a", "#n/a", "na"})
"""How programs write a cell that nobody filled in (folded to lower case)."""

YES: Final = frozenset({"1", "1.0", "true", "yes", "x", "✓"})
NO: Final = frozenset({"0", "0.0", "false", "no"})
OPEN: Final = frozenset({"-1", "-1.0"}) | NOT_KNOWN
"""Cells of a column a class that leave it open (CheXpert's -1 and the like)."""


_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")


def folded(name: Cell) -> str:
    """Return the comparison form of a column's name: case, spaces, hyphens, underscores and dots do not count."""
    return re.sub(r"[\s_\-.:]+", "", name.casefold()) if isinstance(name, str) else ""


def field_of(name: Cell) -> Field | None:
    """Return which field of a row a column of this name holds, or None."""
    text = folded(name)
    if text in _IMAGE:
        return "image"
    if any(stem.fullmatch(text) for stem in _TAGS):
        return "tags"
    if text in _SPLIT:
        return "split"
    if text in _COMPLETE:
        return "complete"
    return "confidence" if text in _CONFIDENCE else None


def image_rank(name: Cell) -> int:
    """Return how far down the list of names for the photo's column a name stands."""
    text = folded(name)
    return _IMAGE.index(text) if text in _IMAGE else len(_IMAGE)


def tags_rank(name: Cell) -> int:
    """Return how far down the list of names for the tags' column a name stands."""
    text = folded(name)
    return next((rank for rank, stem in enumerate(_TAGS) if stem.fullmatch(text)), len(_TAGS))


def says_no_class(name: Cell) -> bool:
    """Return whether a column of this name never stands for a class: it says something else of the photo."""
    return folded(name) in _ABOUT_THE_PHOTO or field_of(name) in ("image", "split", "complete", "confidence")


def is_header(row: tuple[Cell, ...]) -> bool:
    """Return whether a row names the photo's column and one more, or two others, and holds no photo itself."""
    fields = [field for cell in row if (field := field_of(cell)) is not None]
    named = ("image" in fields and sum(map(bool, row)) > 1) or len(fields) > 1
    return named and not any(looks_like_photo(cell) for cell in row)


def looks_like_photo(cell: Cell) -> bool:
    """Return whether a cell ends like the file name of a photo."""
    if not isinstance(cell, str):
        return False
    path = cell.replace("\\", "/")
    if "://" in path:
        path = path.partition("?")[0]
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def is_number(cell: Cell) -> bool:
    """Return whether a cell is a finite number."""
    return (
        isinstance(cell, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", cell.strip().lower()) is not None
    )


def is_binary(cell: Cell) -> bool:
    """Return whether a cell says yes, no or "left open", or is blank."""
    return isinstance(cell, str) and (not cell or cell.casefold() in YES | NO | OPEN)
