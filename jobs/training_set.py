"""Which photos a training has, what they show, and which are kept aside."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from toco.jobs.training import SetPhoto
from toco.model.photos.classes import ClassName, Vocabulary, fold
from toco.model.photos.understanding import NO_MAPPING, Mapped, understand

MOST_KEPT: Final = 200  # photos that are judged; more take time and tell little
_MANY: Final = 20  # words that a note names


class TagReader:
    """Says which classes of a training a photo shows, by its tags as written.

    Args:
        start: classes of the model that the training starts from: their synonyms, plurals and kinds are understood.
        classes: of the training, or none: then every word is one, understood where the model knows it.
        mapping: the user's own words; see `mapping.fold_mapping`.
    """

    def __init__(self, start: Vocabulary, classes: Sequence[str] = (), mapping: Mapped = NO_MAPPING) -> None:
        self._given = bool(classes)
        self._mapping = mapping
        self._vocabulary = start
        self._own: dict[
            str, str
        ] = {}  # words that the model does not know as they were written first, by their folding
        self.unused: Counter[str] = Counter()  # words that are none of the classes, by number of photos
        if classes:
            known = [start.classes[start.channel(name)] if name in start else None for name in classes]
            self._vocabulary = Vocabulary(
                ClassName(name, index, () if entry is None else _spellings(entry, name))
                for index, (name, entry) in enumerate(zip(classes, known, strict=True), start=1)
            )

    def use_mapping(self, mapping: Mapped) -> None:
        """Take another mapping."""
        self._mapping = mapping

    def read(self, written: Iterable[str]) -> tuple[tuple[str, ...], bool]:
        """Return the classes of a photo, and whether its words leave none in doubt."""
        found: dict[str, None] = {}
        sure = True
        for word in dict.fromkeys(written):
            meant = understand(word, self._vocabulary, self._mapping)
            if meant.understood is not None:
                found[meant.understood] = None
            elif meant.why != "mapping":  # which says that the word is to be ignored
                sure = sure and not (self._given and meant.why == "ambiguous")
                if self._given:
                    self.unused[word] += 1
                else:
                    found[self._own.setdefault(fold(word), " ".join(word.split()))] = None
        return tuple(found), sure

    def meaning(self, word: str) -> str:
        """Return the class of the training that a word means, or an empty text."""
        meant = understand(word, self._vocabulary, self._mapping)
        return meant.understood or ("" if self._given else self._own.get(fold(word), ""))

    def notes(self) -> tuple[str, ...]:
        """Return what the user has to be told of words that are no classes."""
        if not self.unused:
            return ()
        named = ", ".join(f"{word!r} ({count})" for word, count in self.unused.most_common(_MANY))
        return (f"Words that are none of the classes, not trained: {named}.",)


def _spellings(entry: ClassName, name: str) -> tuple[str, ...]:
    return tuple(spelling for spelling in (entry.name, *entry.synonyms) if spelling != name)


def keep_aside(photos: Sequence[SetPhoto], share: float, seed: int) -> tuple[SetPhoto, ...]:
    """Choose photos to judge the model by; the same of the same set, and no class loses more than half of its photos.

    Args:
        photos: all.
        share: of them that are kept aside, 0..1; at most `MOST_KEPT`.
        seed: of the choice.

    Returns:
        The photos in their order, the chosen ones marked.
    """
    wanted = min(math.floor(share * len(photos)), MOST_KEPT)
    left = Counter(tag for photo in photos for tag in photo.tags)
    least = {tag: math.ceil(count / 2) for tag, count in left.items()}
    order = sorted(range(len(photos)), key=lambda n: hashlib.sha256(f"{seed}:{n}:{photos[n].name}".encode()).digest())
    kept: set[int] = set()
    for number in order:
        if len(kept) >= wanted:
            break
        tags = set(photos[number].tags)
        if all(left[tag] > least[tag] for tag in tags):
            kept.add(number)
            left.subtract(tags)
    return tuple(photo.model_copy(update={"kept": number in kept}) for number, photo in enumerate(photos))
