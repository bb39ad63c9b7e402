"""How a table says which tags a photo has: which columns mean what, decided from its header and its cells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from toco.model.photos.tables.cells import Cells, InvalidTagFile
from toco.model.photos.tables.columns import (
    NO,
    NOT_KNOWN,
    OPEN,
    SPLIT_WORDS,
    YES,
    Cell,
    Field,
    field_of,
    folded,
    image_rank,
    is_binary,
    is_header,
    is_number,
    looks_like_photo,
    says_no_class,
    tags_rank,
)
from toco.model.photos.tags import TaggedImage, split_tags

_FIX: Final = "Write a header such as image,tags and lines like a.jpg,cat;dog, or a column of 0 and 1 for each class."
_UNLABELLED: Final = frozenset({"unlabeled", "unlabelled", "background"})  # Roboflow's word for "none of them"
_MOST_NAMED: Final = 5

Row = tuple[int, tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table mean what.

    Attributes:
        kind: `list` where cells hold tags, `classes` where a column stands for a class.
        names: of the columns; `column 1` and so on where there is no header.
        has_header: whether the first row is one.
        image: column of the photo's name.
        tags: columns of tags, or of classes.
        split, complete, confidence: columns of these, or None.
        blank_is_open: whether a blank cell of a class leaves it open; else it says no.
        notes: what the user should know.
    """

    kind: Literal["list", "classes"]
    names: tuple[str, ...]
    has_header: bool
    image: int
    tags: tuple[int, ...]
    split: int | None = None
    complete: int | None = None
    confidence: int | None = None
    blank_is_open: bool = False
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of further columns that are used."""
        return tuple(self.names[at] for at in (self.split, self.complete, self.confidence) if at is not None)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the columns that say nothing here."""
        used = {self.image, *self.tags, self.split, self.complete, self.confidence}
        return tuple(name for at, name in enumerate(self.names) if at not in used)


def understand(cells: Cells, name: str) -> Layout:
    """Decide what the columns of a table mean.

    Args:
        cells: of the whole table.
        name: what to call it in errors.

    Raises:
        InvalidTagFile: it holds no row, or no column of photos or of tags is found.
    """
    rows = cells.rows
    header = cells.header
    has_header = header is not None
    if header is None and rows:
        first = rows[0][1]
        has_header = is_header(first) or _is_unnamed_header(first, rows[1:])
        header = tuple(str(cell) for cell in first) if has_header else None
        rows = rows[1:] if has_header else rows
    if not header and not rows:
        raise InvalidTagFile(f"{name} has no row.", fix=_FIX)
    if header is None:
        return _without_header(rows, name)
    return _with_header(header, rows, name, own_row=cells.header is None)


def tagged_rows(cells: Cells, layout: Layout, name: str) -> Iterator[tuple[str, TaggedImage]]:
    """Yield the photo's name and tags of each row.

    Raises:
        InvalidTagFile: names the line that does not fit.
    """
    own_row = layout.has_header and cells.header is None
    for line, row in cells.rows[1:] if own_row else cells.rows:
        where = f"{name}, line {line}"
        found = _fitted(row, layout, where)
        image = found[layout.image]
        if not isinstance(image, str) or not image:
            raise InvalidTagFile(f"{where}: no image name.", fix="Write lines like a.jpg,cat;dog.")
        split = found[layout.split] if layout.split is not None else ""
        tags, complete = (_listed if layout.kind == "list" else _marked)(found, layout)
        if layout.complete is not None:
            complete = complete and _truth(found[layout.complete], where)
        if layout.confidence is not None and str(found[layout.confidence]) in NO:
            tags, complete = (), False  # the tag was looked for, and is not there
        yield image, TaggedImage(tags, complete, split if isinstance(split, str) else "")


def _is_unnamed_header(first: tuple[Cell, ...], rest: Sequence[Row]) -> bool:
    """Say whether the first row names columns in words of its own: a column below it holds photos, it does not."""
    if any(looks_like_photo(cell) for cell in first) or not rest or len(first) < 2:
        return False
    return any(
        all(len(row) > at and looks_like_photo(row[at]) for _, row in rest) and first[at] for at in range(len(first))
    )


def _column(rows: Sequence[Row], at: int) -> list[Cell]:
    return [row[at] if at < len(row) else "" for _, row in rows]


def _with_header(header: tuple[str, ...], rows: Sequence[Row], name: str, *, own_row: bool) -> Layout:
    image = _image_column(header, rows)
    if image is None:
        raise InvalidTagFile(f"{name} has no column of photos among {_named(header)}.", fix=_FIX)
    fields: dict[Field, int] = {}
    for at, title in enumerate(header):
        field = field_of(title)
        if field is not None and at != image:
            fields.setdefault(field, at)
    split, complete, confidence = fields.get("split"), fields.get("complete"), fields.get("confidence")
    taken = {image, split, complete}
    layout = Layout("list", header, has_header=True, image=image, tags=(), split=split, complete=complete)
    tags = _tags_columns(header, taken)
    if tags:
        return replace(layout, tags=tags, confidence=confidence)
    others = [at for at in range(len(header)) if at not in taken and any(_column(rows, at))]
    classes = tuple(at for at in others if not says_no_class(header[at]) and all(map(is_binary, _column(rows, at))))
    asking = [at for at in others if at not in classes and not says_no_class(header[at])]
    doubtful = next((at for at in asking if classes and all(is_number(c) or not c for c in _column(rows, at))), None)
    if doubtful is not None:
        value = next(cell for cell in _column(rows, doubtful) if cell and not is_binary(cell))
        raise InvalidTagFile(
            f"{name}: the column {header[doubtful]!r} holds {value!r}, where others hold 0 and 1.",
            fix="Write 1 where the class is on the photo and 0 where it is not, or take the column out.",
        )
    if classes:
        return _of_classes(layout, rows, classes)
    words = [at for at in asking if not all(is_number(cell) or not cell for cell in _column(rows, at))]
    if len(words) == 1:
        note = f"The column {header[words[0]]!r} was taken for the tags: no other can hold them."
        return replace(layout, tags=(words[0],), notes=(note,))
    where = f"{name}, line {rows[0][0] - own_row}" if rows else name
    raise InvalidTagFile(f"{where}: no column of tags; it lacks one among {_named(header)}.", fix=_FIX)


def _image_column(header: tuple[str, ...], rows: Sequence[Row]) -> int | None:
    """Return the column of the photos' names: the one named best of those that look like it."""

    def photos(at: int) -> bool:
        cells = [cell for cell in _column(rows, at) if cell]
        return bool(cells) and 2 * sum(map(looks_like_photo, cells)) > len(cells)

    named = [at for at, title in enumerate(header) if field_of(title) == "image"]
    fitting = [at for at in named if photos(at)] or named or [at for at in range(len(header)) if photos(at)]
    return min(fitting, key=lambda at: image_rank(header[at]), default=None)


def _tags_columns(header: tuple[str, ...], taken: set[int | None]) -> tuple[int, ...]:
    """Return the columns of tags: those named best, `tag1` and `tag2` together."""
    named = [at for at, title in enumerate(header) if field_of(title) == "tags" and at not in taken]
    best = min((tags_rank(header[at]) for at in named), default=0)
    return tuple(at for at in named if tags_rank(header[at]) == best)


def _of_classes(layout: Layout, rows: Sequence[Row], classes: tuple[int, ...]) -> Layout:
    cells = {str(cell).casefold() for at in classes for cell in _column(rows, at)}
    notes = []
    if cells & OPEN:
        notes.append("Cells of -1 and the like leave their class open: these photos' lists count as incomplete.")
    blank_is_open = "" in cells and bool(cells & NO)
    if blank_is_open:
        notes.append("Blank cells beside 0 and 1 leave their class open: these photos' lists count as incomplete.")
    return replace(layout, kind="classes", tags=classes, blank_is_open=blank_is_open, notes=tuple(notes))


def _without_header(rows: Sequence[Row], name: str) -> Layout:
    width = max(len(row) for _, row in rows)
    names = tuple(f"column {number}" for number in range(1, width + 1))

    def share(at: int) -> int:
        return sum(looks_like_photo(cell) for cell in _column(rows, at))

    image = max(range(width), key=share)  # the first of equals
    others = [at for at in range(width) if at != image]
    if not others:
        raise InvalidTagFile(f"{name}, line {rows[0][0]}: one column alone, without tags.", fix=_FIX)
    even = len({len(row) for _, row in rows}) == 1
    numbers = [at for at in others if all(is_number(cell) for cell in _column(rows, at))]
    words = [at for at in others if at not in numbers]
    last = width - 1
    if even and width == 3 and numbers == [last] and {str(cell) for cell in _column(rows, last)} <= {"0", "1"}:
        return Layout("list", names, has_header=False, image=image, tags=tuple(words), complete=last)
    if not words and len(others) > 1:
        raise InvalidTagFile(
            f"{name} has columns of numbers and no header that says which classes they stand for.", fix=_FIX
        )
    if not even or not numbers or not words:
        split, notes = _split_without_header(rows, words, name) if even and width > 2 else (None, ())
        tags = tuple(at for at in others if at != split)
        return Layout("list", names, has_header=False, image=image, tags=tags, split=split, notes=notes)
    ignored = ", ".join(names[at] for at in numbers)
    notes = (f"Only numbers, not tags: {ignored}.",)
    return Layout("list", names, has_header=False, image=image, tags=tuple(words), notes=notes)


def _split_without_header(rows: Sequence[Row], words: Sequence[int], name: str) -> tuple[int | None, tuple[str, ...]]:
    """Return the last column if it holds parts of a data set and not tags.

    Raises:
        InvalidTagFile: `train` may be either.
    """
    values = {str(cell).casefold() for cell in _column(rows, words[-1])}
    if not values <= SPLIT_WORDS or len(words) < 2:
        return None, ()
    if values == {"train"}:
        raise InvalidTagFile(
            f"{name}: the last column holds 'train' alone: a tag, or the part of a data set?",
            fix="Write a header (image,tags,split), or the tags as cat;train.",
        )
    return words[-1], ("The last column was taken for the split, not for tags.",)


def _fitted(row: tuple[Cell, ...], layout: Layout, where: str) -> tuple[Cell, ...]:
    """Return a row of as many cells as there are columns; `a.jpg,cat,dog` under `image,tags` is joined."""
    width = len(layout.names)
    if len(row) > width:
        last = width - 1
        spare = row[width:]
        if any(spare) and layout.tags != (last,):
            raise InvalidTagFile(
                f"{where}: {len(row)} columns where {width} are due.",
                fix='Write several tags as cat;dog, or in quotes: "cat,dog".',
            )
        return (*row[:last], ";".join(str(cell) for cell in row[last:])) if any(spare) else row[:width]
    return (*row, *[""] * (width - len(row)))


def _listed(row: tuple[Cell, ...], layout: Layout) -> tuple[tuple[str, ...], bool]:
    """Return the tags that a row lists, and whether anything is known of it."""
    known = True
    tags: list[str] = []
    for at in layout.tags:
        cell = row[at]
        if isinstance(cell, str) and cell.casefold() in NOT_KNOWN:
            known = False
        else:
            tags += split_tags(cell) if isinstance(cell, str) else cell
    return tuple(dict.fromkeys(tags)), known or bool(tags)


def _marked(row: tuple[Cell, ...], layout: Layout) -> tuple[tuple[str, ...], bool]:
    """Return the classes that a row marks, and whether all others are known to be absent."""
    cells = {layout.names[at].strip(): str(row[at]).casefold() for at in layout.tags}
    tags = tuple(title for title, cell in cells.items() if cell in YES and folded(title) not in _UNLABELLED)
    complete = not any(cell in OPEN or (not cell and layout.blank_is_open) for cell in cells.values())
    return tags, complete


def _truth(cell: Cell, where: str) -> bool:
    text = str(cell).casefold()
    if not text or text in YES:  # a blank cell says nothing against the default
        return True
    if text in NO:
        return False
    raise InvalidTagFile(f"{where}: complete = {cell!r}.", fix="Write 1 or 0.")


def _named(header: Sequence[str]) -> str:
    listed = ", ".join(repr(title) for title in header[:_MOST_NAMED])
    return listed + (", ..." if len(header) > _MOST_NAMED else "")
