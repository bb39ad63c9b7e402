"""What all tags of a job mean to a model, with counts; and what is done about words that are not understood."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from toco.model.options import Frozen
from toco.model.photos.classes import UnknownTag, Vocabulary
from toco.model.photos.understanding import NO_MAPPING, Mapped, UnderstoodTag, understand

UnknownTags = Literal["learn", "open", "refuse"]
"""What is done about words that are not understood: learn them from the photos at hand, leave open every pixel that
they may own, or refuse the request."""

LEARNING_UNAVAILABLE: Final = "Words are not learnt here: what may show them is left open (255), as with `open`."
_LISTED_WORDS: Final = 500  # of a refusal or a record; a house code a photo would make a table of its own

Count = Annotated[int, Field(ge=0)]


class CheckedWord(UnderstoodTag):
    """A word, what it means, and on how many photos it stands."""

    photos: Count


class TagCheck(Frozen):
    """What the tags of some photos mean.

    Attributes:
        words: each word as written, those that are left open first, then by number of photos.
        photos: with tags.
        open_photos: with a word that is left open.
        wholly_open_photos: with no other words: nothing is known of them.
        unlisted_words: how many words more there are.
    """

    words: tuple[CheckedWord, ...] = ()
    photos: Count = 0
    open_photos: Count = 0
    wholly_open_photos: Count = 0
    unlisted_words: Count = 0

    @property
    def open_words(self) -> tuple[CheckedWord, ...]:
        """The words that are not understood."""
        return tuple(word for word in self.words if word.is_open)


def check_tags(tags: Iterable[Sequence[str]], vocabulary: Vocabulary, mapping: Mapped = NO_MAPPING) -> TagCheck:
    """Find what the tags of photos mean to a model.

    Args:
        tags: those of each photo, as written; photos without any do not count.
        vocabulary: the model's classes.
        mapping: see `mapping.fold_mapping`.
    """
    meanings: dict[str, UnderstoodTag] = {}
    counts: Counter[str] = Counter()
    photos = open_photos = wholly_open = 0
    for written in tags:
        words = dict.fromkeys(written)
        for word in words:
            if word not in meanings:
                meanings[word] = understand(word, vocabulary, mapping)
        counts.update(list(words))
        photos += bool(words)
        has_open = any(meanings[word].is_open for word in words)
        open_photos += has_open
        wholly_open += has_open and all(meanings[word].understood is None for word in words)
    order = sorted(meanings.values(), key=lambda word: (not word.is_open, -counts[word.written], word.written))
    return TagCheck(
        words=tuple(CheckedWord(**word.model_dump(), photos=counts[word.written]) for word in order[:_LISTED_WORDS]),
        photos=photos,
        open_photos=open_photos,
        wholly_open_photos=wholly_open,
        unlisted_words=len(order[_LISTED_WORDS:]),
    )


def settle_unknown(policy: UnknownTags, check: TagCheck) -> tuple[str, ...]:
    """Decide what is done about words that are not understood; every door asks here before any photo is labelled.

    Returns:
        What the user has to be told.

    Raises:
        UnknownTag: the policy is `refuse` and there are such words; names each with its photos and what is close.
    """
    if not check.open_words:
        return ()
    if policy == "refuse":
        raise UnknownTag(
            f"{_several(len(check.open_words), 'word')} not understood: {', '.join(map(_listed, check.open_words))}.",
            fix="Write the words of the model, map them to its classes, or leave them open.",
        )
    told = (
        f"{_several(len(check.open_words), 'word')} not understood, on {_several(check.open_photos, 'photo')}; "
        f"{check.wholly_open_photos} of them {'has' if check.wholly_open_photos == 1 else 'have'} no other tag and "
        f"{'is' if check.wholly_open_photos == 1 else 'are'} left wholly open."
    )
    # Learning takes its place here: what it has learnt is known, and only the rest is left open.
    return (told, LEARNING_UNAVAILABLE) if policy == "learn" else (told,)


def _listed(word: CheckedWord) -> str:
    close = f"; did you mean {' or '.join(map(repr, word.suggestions))}?" if word.suggestions else ""
    return f"{word.written!r} ({_several(word.photos, 'photo')}{close})"


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
