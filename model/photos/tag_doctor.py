"""What may be wrong with the tags and photos of a data set. It says so, with a score; it changes nothing.

Wrong and missing tags are found by confident learning: the scores of a classifier that was not trained on these tags
say how much belief a class needs to be among the tagged ones, and pairs of photo and class that contradict it are
suspects. Photos that look alike, that are dark or small, and words that always come together are counted.

References:
    Northcutt, Jiang, Chuang, "Confident Learning" (2021); Thyagarajan et al., "Identifying Incorrect Annotations in
    Multi-Label Classification Data" (2022), as in `cleanlab`: each class is judged by itself.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from toco.model.options import Frozen
from toco.model.photos.fingerprint import alike

Kind = Literal["wrong_tag", "missing_tag", "looks_alike", "too_dark", "too_small", "always_together", "too_few"]

DARK: Final = 0.08
"""Photos of less mean brightness (0..1) are too dark."""

SMALL: Final = 96
"""Photos whose shorter side has fewer pixels are too small."""

FEW: Final = 10
"""Classes of fewer photos are too few to say anything about, and to train on."""

_TOGETHER: Final = 5  # photos of both words, at least
_JUDGED: Final = 3  # photos with and without a class, at least: with fewer there is nothing to compare


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
    """

    name: str
    tags: frozenset[str]
    scores: npt.NDArray[np.float32]
    complete: bool = True
    fingerprint: str = ""
    brightness: float = 1.0
    size: tuple[int, int] = (SMALL, SMALL)


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


def examine(photos: Sequence[ExaminedPhoto], classes: Sequence[str]) -> list[Finding]:
    """Return what may be wrong, the surest of each kind first.

    Args:
        photos: all of the data set.
        classes: C names, in the order of the photos' scores.
    """
    found = [*doubted_tags(photos, classes), *_doubles(photos), *_bad_photos(photos), *_words(photos)]
    kinds: tuple[Kind, ...] = (
        "wrong_tag", "missing_tag", "looks_alike", "too_dark", "too_small", "always_together", "too_few",
    )  # fmt: skip
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), -finding.score, finding.photos))


def doubted_tags(photos: Sequence[ExaminedPhoto], classes: Sequence[str]) -> Iterator[Finding]:
    """Yield tags that a photo does not seem to show, and classes that it seems to show without a tag.

    A class that fewer than three photos have, or lack, is not judged; nor is a class missing on a photo whose list of
    tags may be incomplete.
    """
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - a second of imports, and the doctor's alone

    for channel, name in enumerate(classes):
        judged = [photo for photo in photos if photo.complete or name in photo.tags]
        tagged = np.array([name in photo.tags for photo in judged], np.int64)
        if min(tagged.sum(), len(tagged) - tagged.sum()) < _JUDGED:
            continue
        belief = np.array([photo.scores[channel] for photo in judged], np.float64)
        wrong = find_label_issues(tagged, np.stack([1 - belief, belief], axis=1), filter_by="both", n_jobs=1)
        for at in np.flatnonzero(wrong):
            photo, sees = judged[at], float(belief[at])
            if tagged[at]:
                detail = f"{photo.name!r} is tagged {name!r}; the classifier's belief in it is {sees:.2f}."
                yield Finding(kind="wrong_tag", score=1 - sees, photos=(photo.name,), tag=name, detail=detail)
            else:
                detail = f"{photo.name!r} is not tagged {name!r}; the classifier's belief in it is {sees:.2f}."
                yield Finding(kind="missing_tag", score=sees, photos=(photo.name,), tag=name, detail=detail)


def _doubles(photos: Sequence[ExaminedPhoto]) -> Iterator[Finding]:
    groups: dict[int, list[ExaminedPhoto]] = {}
    for photo, group in zip(photos, alike([photo.fingerprint for photo in photos]), strict=True):
        groups.setdefault(group, []).append(photo)
    for members in groups.values():
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
