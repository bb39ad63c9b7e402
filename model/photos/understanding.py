"""What a written word means to a model, and why; words that are not understood are told, never guessed.

A word is looked up in this order: the user's own mapping, the names of the classes, their synonyms, the other number
(cats, scissor), kinds (terrier, farmer). Close spellings are suggested, never taken.
"""

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from toco.model.options import Frozen
from toco.model.photos.classes import Vocabulary, fold
from toco.model.photos.kinds import classes_of_kind

if TYPE_CHECKING:
    import inflect

Why = Literal["exact", "synonym", "plural", "kind", "mapping", "unknown", "ambiguous"]
Mapped = Mapping[str, str]
"""Folded words to the words that they stand for; an empty one says that the word is to be ignored."""

NO_MAPPING: Final[Mapped] = MappingProxyType({})


class UnderstoodTag(Frozen):
    """A tag as written, and as understood.

    Attributes:
        written: by the user.
        understood: canonical class name, or None.
        why: how it was understood, or why not: `unknown`, or `ambiguous` (it may mean several things). None with
            `mapping` says that the user wants the word ignored.
        suggestions: classes that may be meant, the likeliest first; empty where the word is understood.
    """

    written: str
    understood: str | None
    why: Why
    suggestions: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the tag says that something is on the photo, but not what."""
        return self.why in {"unknown", "ambiguous"}


def understand(word: str, vocabulary: Vocabulary, mapping: Mapped = NO_MAPPING) -> UnderstoodTag:
    """Find what a word means to a model.

    Args:
        word: as written.
        vocabulary: the model's classes.
        mapping: the user's own words; see `mapping.fold_mapping`.
    """
    target = mapping.get(fold(word))
    if target is None:
        return _look_up(word, word, vocabulary)
    if not target:
        return UnderstoodTag(written=word, understood=None, why="mapping")
    found = _look_up(word, target, vocabulary)
    return found if found.is_open else found.model_copy(update={"why": "mapping"})


def understand_all(
    words: Iterable[str], vocabulary: Vocabulary, mapping: Mapped = NO_MAPPING
) -> tuple[UnderstoodTag, ...]:
    """Find what the tags of a photo mean, in order, each once; see `understand`."""
    return tuple(understand(word, vocabulary, mapping) for word in dict.fromkeys(words))


def _look_up(written: str, word: str, vocabulary: Vocabulary) -> UnderstoodTag:
    if (name := vocabulary.find(word)) is not None:
        why: Why = "exact" if fold(name) == fold(word) else "synonym"
        return UnderstoodTag(written=written, understood=name, why=why)
    forms = _other_numbers(word)
    for form in forms:
        if (name := vocabulary.find(form)) is not None:
            return UnderstoodTag(written=written, understood=name, why="plural")
    for form in (word, *forms):
        names, sure = _classes_of_kind(form, vocabulary)
        if len(names) == 1 and sure:
            return UnderstoodTag(written=written, understood=names[0], why="kind")
        if names:
            return UnderstoodTag(written=written, understood=None, why="ambiguous", suggestions=names)
    return UnderstoodTag(written=written, understood=None, why="unknown", suggestions=vocabulary.close(word))


def _classes_of_kind(word: str, vocabulary: Vocabulary) -> tuple[tuple[str, ...], bool]:
    """Return the classes of a vocabulary that a word may be a kind of, and whether it can be nothing else."""
    kinds, sure = classes_of_kind(word)
    found = [vocabulary.find(kind) for kind in kinds]
    names = [name for name in found if name is not None]
    if not names:
        return (), False
    # Where ducks are a class beside birds, a mallard may be either: how near a kind is, the table does not say.
    nearer = [name for name in vocabulary.names if name not in names and _is_kind_of_another(name, names, vocabulary)]
    return (*names, *nearer), sure and len(names) == len(found) and not nearer


def _is_kind_of_another(name: str, others: Iterable[str], vocabulary: Vocabulary) -> bool:
    """Say whether the table has a class as a kind of one of some other classes, and not as a class of its own."""
    above = {vocabulary.find(kind) for kind in classes_of_kind(name)[0]}
    return name not in above and not above.isdisjoint(others)


@lru_cache(maxsize=65_536)
def _other_numbers(word: str) -> tuple[str, ...]:
    """Return the singular of a plural word and the plural of a singular one, as far as English forms them."""
    spaced = " ".join(word.replace("_", " ").replace("-", " ").casefold().split())
    if not any(sign.isalpha() for sign in spaced):
        return ()
    engine = _grammar()
    singular = engine.singular_noun(spaced)
    return (str(singular),) if singular else (str(engine.plural_noun(spaced)),)


@cache
def _grammar() -> "inflect.engine":
    import inflect  # noqa: PLC0415 - takes a second to load, and most words are written as the classes are

    return inflect.engine()
