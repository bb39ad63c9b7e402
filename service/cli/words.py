"""What the commands share about words: how those that are not understood are handled, mapped and told."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from toco.model.photos.tag_check import UnknownTags

if TYPE_CHECKING:
    from toco.model.photos.tag_check import CheckedWord, TagCheck

_SHOWN_WORDS: Final = 20

UnknownWords = Annotated[
    UnknownTags,
    typer.Option(
        "--unknown-tags",
        help="Words that are not understood: learn them from the photos, leave open what they may own, or refuse.",
    ),
]
WordMap = Annotated[
    Path | None,
    typer.Option("--map", help="CSV of word,class: other languages, house codes; an empty class ignores the word."),
]
OpenPhotos = Annotated[
    bool, typer.Option("--open-photos", help="Export photos too of whose mask every pixel is open (255).")
]


def read_word_map(path: Path | None) -> dict[str, str]:
    """Read what `--map` names. Raises InvalidMapping."""
    from toco.model.photos.mapping import read_mapping

    return {} if path is None else read_mapping(path)


def check_lines(check: "TagCheck") -> Iterator[str]:
    """Yield, as lines, the words that are not written as the model's classes are, and what they were understood as."""
    told = [word for word in check.words if word.why not in {"exact", "synonym"}]
    for word in told[:_SHOWN_WORDS]:
        yield f"  {word_line(word)}"
    if len(told) > _SHOWN_WORDS or check.unlisted_words:
        yield f"  ... {len(told) - _SHOWN_WORDS + check.unlisted_words} more; `toco tags check` lists them"


def missing(open_tags: Sequence[str], empty_tags: Sequence[str]) -> Iterator[str]:
    """Yield what a photo's mask does not show although it was tagged, and why."""
    if open_tags:
        yield f"not understood: {', '.join(open_tags)}"
    if empty_tags:
        yield f"no pixel found: {', '.join(empty_tags)}"


def word_line(word: "CheckedWord") -> str:
    """Return `kitty -> cat (kind), 12 photos`, or `hors: unknown, 1 photo; did you mean horse?`."""
    photos = f"{word.photos} photo{'' if word.photos == 1 else 's'}"
    if word.understood is not None:
        return f"{word.written} -> {word.understood} ({word.why}), {photos}"
    if not word.is_open:
        return f"{word.written}: ignored, {photos}"
    close = f"; did you mean {' or '.join(word.suggestions)}?" if word.suggestions else ""
    return f"{word.written}: {word.why}, {photos}{close}"
