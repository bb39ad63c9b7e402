"""What is to be learnt of a job, and from which of its photos; needs its tags alone, no photo, no network, no torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, NamedTuple

from toco.model.errors import TocoError
from toco.model.learning.sample import choose_photos, tokens_a_photo
from toco.model.learning.settings import ReportSettings, SampleSettings
from toco.model.photos.classes import MAX_CLASSES, Vocabulary, fold
from toco.model.photos.understanding import NO_MAPPING, Mapped, understand

ONLY_BESIDE_WHOLE: Final = "Words are learnt beside a whole model; this one is of learnt words itself."


class CannotLearn(TocoError):
    """Words cannot be learnt from these photos."""

    code = "cannot_learn"
    kind = "invalid"


class Plan(NamedTuple):
    """Which photos are read, and how many tokens of each are kept.

    Attributes:
        positions: of the photos in the job.
        tokens: of each.
        words: in the order of the learnt model.
    """

    positions: tuple[int, ...]
    tokens: int
    words: tuple[str, ...]


def plan_learning(tags: Sequence[Sequence[str]], settings: SampleSettings | None = None) -> Plan:
    """Choose the photos to learn from.

    Args:
        tags: words of each photo of the job; spellings that differ in case or spaces alone are one word.
        settings: the bounds of the sample.

    Raises:
        CannotLearn: there is no word, or more than a mask can hold.
    """
    settings = settings or SampleSettings()
    names: dict[str, str] = {}
    for words in tags:
        for word in words:
            names.setdefault(fold(word), word)
    if not names:
        raise CannotLearn("No photo has a word.", fix="Tag some photos.")
    if len(names) > MAX_CLASSES:
        raise CannotLearn(
            f"{len(names)} words; a mask holds {MAX_CLASSES} at most.",
            fix="Split the job, or map words to fewer classes.",
        )
    order = tuple(sorted(names.values(), key=fold))
    positions = choose_photos([{fold(word) for word in words} for words in tags], settings)
    return Plan(positions, tokens_a_photo(len(positions), settings), order)


def job_words(
    tags: Iterable[Sequence[str] | None], vocabulary: Vocabulary, mapping: Mapped = NO_MAPPING
) -> list[tuple[str, ...]]:
    """Return of each photo the classes that its words mean, and the words themselves that mean none.

    What a mapping stands a word for is what is learnt, if no class means that. Words that may mean several classes are
    left out: they are asked about.

    Args:
        tags: of each photo, as written; None where the classifier chooses.
        vocabulary: the model's classes.
        mapping: see `mapping.fold_mapping`.
    """

    @cache  # most photos have words that others have too
    def meaning(word: str) -> str:
        found = understand(word, vocabulary, mapping)
        return found.understood or ((mapping.get(fold(word)) or word) if found.why == "unknown" else "")

    return [tuple(dict.fromkeys(filter(None, map(meaning, written or ())))) for written in tags]


def learnable(words: Iterable[Sequence[str]], vocabulary: Vocabulary) -> list[str]:
    """Return the words of a job that no class means, and that enough photos show to be learnt from.

    Args:
        words: of each photo; see `job_words`.
        vocabulary: the model's classes.
    """
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for found in words:
        folded = {fold(word): word for word in found}
        counts.update(folded.keys())
        for key, word in folded.items():
            spelled.setdefault(key, word)
    known = {fold(name) for name in vocabulary.names}
    least = ReportSettings().least_photos
    return sorted(spelled[folded] for folded, photos in counts.items() if photos >= least and folded not in known)
