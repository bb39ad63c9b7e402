"""What may be wrong with the tags and photos of a data set. It says so, with a score; it changes nothing.

Wrong and missing tags are found by confident learning: scores that were not learnt from the photo's own tags say how
much belief a class needs to be among the tagged ones, and pairs of photo and class that contradict it are suspects. Of
the model's classes its classifier is asked; a word that it does not know is taught by the other photos
(`word_beliefs`). Photos that look alike, that are dark or small, and words that always come together are counted.

References:
    Northcutt, Jiang, Chuang, "Confident Learning" (2021); Thyagarajan et al., "Identifying Incorrect Annotations in
    Multi-Label Classification Data" (2022), as in `cleanlab`: each class is judged by itself.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from toco.model.options import Frozen
from toco.model.photos.classes import MAX_CLASSES, fold
from toco.model.photos.fingerprint import alike
from toco.model.photos.word_beliefs import taught

Kind = Literal[
    "wrong_tag", "missing_tag", "looks_alike", "too_dark", "too_small", "always_together", "too_few", "not_checked"
]

DARK: Final = 0.08
"""Photos of less mean brightness (0..1) are too dark."""

SMALL: Final = 96
"""Photos whose shorter side has fewer pixels are too small."""

FEW: Final = 10
"""Classes of fewer photos are too few to say anything about, and to train on."""

TAUGHT: Final = 10
"""Photos, of those that do not look alike, with a word that the model does not know, and without: with fewer of either
the word is not checked."""

RECOGNISED: Final = 0.85
"""Share of pairs of photos with and without such a word that have to be told apart by what the others teach: with less
the word is not checked, as most suspects would have the right tags."""

MOST_WORDS: Final = MAX_CLASSES
"""Words that the model does not know and that are checked, those on most photos first: the time is bounded."""

_JUDGED: Final = 3  # photos with and without a class of the model, at least: with fewer there is nothing to compare
_TOGETHER: Final = 5  # photos of both words, at least


@dataclass(frozen=True, slots=True)
class ExaminedPhoto:
    """What is known of a photo.

    Attributes:
        name: of the photo.
        tags: canonical class names, and words that were not understood as they are written.
        scores: (C,) float32 in 0..1, the classifier's belief in each class.
        complete: whether classes that are not tagged are known to be absent.
        fingerprint: see `photos.fingerprint`.
        brightness: mean, 0..1.
        size: (H, W) in pixels.
        look: (d,) float16, what the classifier reads of the photo; empty where that is not known, then the photo
            teaches no word, and none is judged on it.
    """

    name: str
    tags: frozenset[str]
    scores: npt.NDArray[np.float32]
    complete: bool = True
    fingerprint: str = ""
    brightness: float = 1.0
    size: tuple[int, int] = (SMALL, SMALL)
    look: npt.NDArray[np.float16] = field(default_factory=lambda: np.zeros(0, np.float16))


class Finding(Frozen):
    """Something that deserves a look.

    Attributes:
        kind: of the trouble.
        score: 0..1, how sure it is; within one kind the worst come first.
        photos: that it is about; empty where it is about a class.
        tag: the class or word that it is about, or empty.
        detail: one sentence.
    """

    kind: Kind
    score: float
    photos: tuple[str, ...] = ()
    tag: str = ""
    detail: str


def examine(
    photos: Sequence[ExaminedPhoto], classes: Sequence[str], *, on_word: Callable[[], None] = lambda: None
) -> list[Finding]:
    """Return what may be wrong, the surest of each kind first.

    Args:
        photos: all of the data set.
        classes: C names, in the order of the photos' scores.
        on_word: called before each word that is taught by the photos: a second of work, or two.
    """
    photos, groups, kinds = _in_one_spelling(photos, classes), groups_of(photos), get_args(Kind)
    found = [
        *doubted_classes(photos, classes),
        *doubted_words(photos, classes, groups, on_word=on_word),
        *_doubles(photos, groups),
        *_bad_photos(photos),
        *_words(photos),
    ]
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), -finding.score, finding.photos))


def groups_of(photos: Sequence[ExaminedPhoto]) -> list[int]:
    """Return for each photo the position of the first of those that look like it."""
    return alike([photo.fingerprint for photo in photos])


def doubted_classes(photos: Sequence[ExaminedPhoto], classes: Sequence[str]) -> Iterator[Finding]:
    """Yield what the classifier contradicts: classes that a photo does not seem to show, or to show without a tag.

    A class that fewer than three photos have, or lack, is not judged. Nothing is missing on a photo whose list of tags
    may be incomplete. Arguments as of `examine`.
    """
    for channel, name in enumerate(classes):
        judged = [photo for photo in photos if photo.complete or name in photo.tags]
        tagged = np.array([name in photo.tags for photo in judged], np.bool_)
        if min(tagged.sum(), (~tagged).sum()) >= _JUDGED:
            beliefs = np.array([photo.scores[channel] for photo in judged], np.float64)
            yield from _contradicted(name, judged, tagged, beliefs, "the classifier's belief in it is")
        elif tagged.any():
            yield _not_checked(name, int(tagged.sum()), int((~tagged).sum()), _JUDGED)


def doubted_words(
    photos: Sequence[ExaminedPhoto],
    classes: Sequence[str],
    groups: Sequence[int],
    *,
    on_word: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """Yield what the other photos contradict of words that the model does not know, as `doubted_classes` does.

    A word that fewer than `TAUGHT` photos have, or lack, is not judged, nor one that is not recognised in photos that
    did not teach it.

    Args:
        photos: all of the data set.
        classes: C names, which the model knows.
        groups: of the photos, see `groups_of`.
        on_word: see `examine`.
    """
    known = set(classes)
    count = Counter(tag for photo in photos for tag in photo.tags if tag not in known)
    for rank, (word, number) in enumerate(sorted(count.items(), key=lambda pair: (-pair[1], pair[0]))):
        if number < TAUGHT:
            yield _not_checked(word, number, len(photos) - number, TAUGHT)
            continue
        if rank >= MOST_WORDS:
            detail = f"{word!r} is not checked: {MOST_WORDS} words that the model does not know are on more photos."
            yield Finding(kind="not_checked", score=0.0, tag=word, detail=detail)
            continue
        places = [at for at, photo in enumerate(photos) if photo.look.size and (photo.complete or word in photo.tags)]
        judged, group = [photos[at] for at in places], np.array([groups[at] for at in places], np.int64)
        tagged = np.array([word in photo.tags for photo in judged], np.bool_)
        apart = [len(np.unique(group[side])) for side in (tagged, ~tagged)]
        if min(apart) < TAUGHT:
            yield _not_checked(word, apart[0], apart[1], TAUGHT, " (photos that look alike count once)")
        else:
            on_word()
            beliefs, recognised = taught(np.stack([photo.look for photo in judged]), tagged, group)
            if recognised >= RECOGNISED:
                yield from _contradicted(word, judged, tagged, beliefs, "by what other photos teach, belief in it is")
            else:
                detail = f"{word!r} is not checked: its photos teach too little of it to recognise it in others."
                yield Finding(kind="not_checked", score=1 - recognised, tag=word, detail=detail)


def _contradicted(
    name: str,
    judged: Sequence[ExaminedPhoto],
    tagged: npt.NDArray[np.bool_],
    beliefs: npt.NDArray[np.float64],
    whose: str,
) -> Iterator[Finding]:
    """Yield what the beliefs (n,) in a class or word contradict of its tags (n,)."""
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - a second of imports, and the doctor's alone

    both = np.stack([1 - beliefs, beliefs], axis=1)
    wrong = find_label_issues(tagged.astype(np.int64), both, filter_by="both", n_jobs=1)
    for at in np.flatnonzero(wrong).tolist():
        photo, sees = judged[at], float(beliefs[at])
        if tagged[at]:
            detail = f"{photo.name!r} is tagged {name!r}; {whose} {sees:.2f}."
            yield Finding(kind="wrong_tag", score=1 - sees, photos=(photo.name,), tag=name, detail=detail)
        else:
            detail = f"{photo.name!r} is not tagged {name!r}; {whose} {sees:.2f}."
            yield Finding(kind="missing_tag", score=sees, photos=(photo.name,), tag=name, detail=detail)


def _not_checked(name: str, having: int, lacking: int, least: int, counted: str = "") -> Finding:
    """Say that a class or word is not checked, as too few photos have it, or are known to lack it."""
    if having < least:
        number, why = having, f"{least} photos have to have it, and {having} do"
    else:
        number, why = lacking, f"it has to be known of {least} photos to lack it, and is of {lacking}"
    detail = f"{name!r} is not checked: {why}{counted}."
    return Finding(kind="not_checked", score=1 - number / least, tag=name, detail=detail)


def _in_one_spelling(photos: Sequence[ExaminedPhoto], classes: Sequence[str]) -> list[ExaminedPhoto]:
    """Write words that differ in case, spaces, hyphens or underscores alone as the first photo that has them does."""
    spelled = {fold(name): name for name in classes}
    tags = [frozenset(spelled.setdefault(fold(tag), tag) for tag in sorted(photo.tags)) for photo in photos]
    return [replace(photo, tags=found) for photo, found in zip(photos, tags, strict=True)]


def _doubles(photos: Sequence[ExaminedPhoto], groups: Sequence[int]) -> Iterator[Finding]:
    alike_ones: dict[int, list[ExaminedPhoto]] = {}
    for photo, group in zip(photos, groups, strict=True):
        alike_ones.setdefault(group, []).append(photo)
    for members in alike_ones.values():
        if len(members) > 1:
            names = tuple(photo.name for photo in members)
            differ = len({photo.tags for photo in members}) > 1
            detail = f"{len(members)} photos look alike" + (", and their tags differ." if differ else ".")
            yield Finding(kind="looks_alike", score=1.0 if differ else 0.5, photos=names, detail=detail)


def _bad_photos(photos: Sequence[ExaminedPhoto]) -> Iterator[Finding]:
    for photo in photos:
        if photo.brightness < DARK:
            detail = f"{photo.name!r} is dark: mean brightness {photo.brightness:.2f} of 1."
            yield Finding(kind="too_dark", score=1 - photo.brightness / DARK, photos=(photo.name,), detail=detail)
        side = min(photo.size)
        if side < SMALL:
            detail = f"{photo.name!r} is small: {photo.size[1]} x {photo.size[0]} pixels."
            yield Finding(kind="too_small", score=1 - side / SMALL, photos=(photo.name,), detail=detail)


def _words(photos: Sequence[ExaminedPhoto]) -> Iterator[Finding]:
    count = Counter(tag for photo in photos for tag in photo.tags)
    for tag, number in count.items():
        if number < FEW:
            detail = f"{tag!r} is on {number} photo{'' if number == 1 else 's'}; masks and figures of it say little."
            yield Finding(kind="too_few", score=1 - number / FEW, tag=tag, detail=detail)
    together = Counter((one, other) for photo in photos for one in photo.tags for other in photo.tags if one < other)
    for (one, other), number in together.items():
        rarer = min((one, other), key=lambda tag: (count[tag], tag))
        if number >= _TOGETHER and number == count[rarer]:
            partner = other if rarer == one else one
            detail = f"{rarer!r} never comes without {partner!r} ({number} photos): nothing tells the two apart."
            yield Finding(kind="always_together", score=number / count[partner], tag=f"{one};{other}", detail=detail)
