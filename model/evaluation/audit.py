"""How good are the masks of a job? An estimate from a random sample that a person has checked, with its interval.

The sample is stratified: each photo belongs to the stratum of its rarest tag, so that rare classes are looked at too,
and weighs as many photos as it stands for. The estimate is IoU of one weighted confusion matrix, as in `evaluate`,
never a mean over photos. Its standard error comes from the bootstrap: photos are drawn again, with replacement, within
each stratum. The interval is symmetric round the estimate: percentiles of the bootstrap held the true figure too seldom
in simulated audits. The mean is over background and the classes that at least five photos of the job are tagged with;
rarer ones are listed, but a sample says next to nothing of them.

What it assumes: that the checked masks are the truth, that the sample was drawn before anyone looked at it, and that
all of it was checked; photos that were passed over because they are hard make any estimate too good.

References:
    Särndal, Swensson and Wretman, "Model Assisted Survey Sampling" (1992), 3.7 (stratified sampling).
    Rao and Wu, "Resampling inference with complex survey data" (JASA 1988): the rescaling for small strata.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from toco.model.errors import InvalidOption
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary

NO_TAG: Final = ""
"""The stratum of photos without a tag."""

LEAST_PHOTOS: Final = 5
"""Photos of the job that must be tagged with a class for it to be part of the mean."""

_LEAST_OF_A_STRATUM: Final = 2  # photos: the spread of one is not known
_REPLICATES: Final = 2_000
_SIDE: Final = 256  # mask indices

Areas = npt.NDArray[np.int64]
"""(3, V) pixels of each mask index: in the truth, in the label, and in both; 0 is background."""


class Interval(Frozen):
    """A figure in 0..1 with its interval.

    Attributes:
        estimate: from the sample.
        low: lower end of the interval.
        high: upper end.
    """

    estimate: float
    low: float
    high: float


class ClassEstimate(Interval):
    """IoU of a class.

    Attributes:
        name: of the class, or `background`.
        photos: of the sample that show it, by truth or label.
        in_mean: whether it is part of the mean.
    """

    name: str
    photos: Annotated[int, Field(ge=0)]
    in_mean: bool


class AuditEstimate(Frozen):
    """What a checked sample says of all photos.

    Attributes:
        miou: mean IoU over background and the classes that are not too rare.
        classes: IoU of each that the sample shows.
        photos: checked.
        population: photos that they stand for.
        level: how often such an interval holds the true figure.
        open_share: share of the pixels that the labels leave open (255); they count as background.
    """

    miou: Interval
    classes: tuple[ClassEstimate, ...]
    photos: int
    population: int
    level: float
    open_share: float


class Population(Frozen):
    """All photos that a sample stands for.

    Attributes:
        strata: photos by stratum.
        tagged: photos by tag.
    """

    strata: dict[str, int]
    tagged: dict[str, int]

    @classmethod
    def of(cls, tags: Sequence[Sequence[str]]) -> "Population":
        """Count the photos of a job by their canonical class names."""
        tagged = Counter(tag for found in tags for tag in set(found))
        return cls(strata=dict(Counter(strata_of(tags))), tagged=dict(tagged))


@dataclass(frozen=True, slots=True)
class Checked:
    """A photo of the sample, checked.

    Attributes:
        stratum: that it was drawn from.
        areas: of its classes; what IoU needs of a confusion matrix, in a hundredth of the memory.
        open_pixels: of its label.
        pixels: that its truth decides.
    """

    stratum: str
    areas: Areas
    open_pixels: int
    pixels: int


def strata_of(tags: Iterable[Sequence[str]]) -> list[str]:
    """Return the stratum of each photo: its rarest tag, of equally rare ones the first by name."""
    listed = [tuple(found) for found in tags]
    counts = Counter(tag for found in listed for tag in set(found))
    return [min(found, key=lambda tag: (counts[tag], tag)) if found else NO_TAG for found in listed]


def allocate(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Share a sample among strata: two of each at least, the rest in proportion to their sizes.

    Args:
        sizes: photos by stratum.
        count: photos to draw; where it is less than two a stratum, those that are largest get theirs first.

    Returns:
        Photos to draw by stratum, never more than there are.
    """
    left = min(count, sum(sizes.values()))
    given = dict.fromkeys(sizes, 0)
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        given[name] = min(_LEAST_OF_A_STRATUM, sizes[name], left)
        left -= given[name]
    while left:  # to whom is furthest below its share
        behind = max(sorted(sizes), key=lambda name: (sizes[name] - given[name]) and sizes[name] / (given[name] + 0.5))
        given[behind] += 1
        left -= 1
    return given


def draw_sample(tags: Sequence[Sequence[str]], count: int, seed: int) -> list[int]:
    """Draw photos to check, at random within each stratum.

    Args:
        tags: canonical class names of each photo of the job.
        count: photos to draw.
        seed: of the draw; the same seed draws the same photos.

    Returns:
        Positions in `tags`, rising.

    Raises:
        InvalidOption: there is nothing to draw.
    """
    if count < 1 or not tags:
        raise InvalidOption(f"A sample of {count} of {len(tags)} photos.", fix="Draw at least one of at least one.")
    strata = strata_of(tags)
    generator = np.random.default_rng(seed)
    wanted = allocate(Counter(strata), count)
    drawn: list[int] = []
    for name in sorted(wanted):
        members = [position for position, stratum in enumerate(strata) if stratum == name]
        drawn += generator.choice(members, wanted[name], replace=False).tolist()
    return sorted(drawn)


def check(stratum: str, label: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> Checked:
    """Compare a label with its checked mask; both (H, W) uint8 indices. Pixels that the truth leaves open do not count.

    Raises:
        InvalidOption: they are of different sizes.
    """
    if label.shape != truth.shape:
        raise InvalidOption(f"A label of {label.shape}, a truth of {truth.shape}.", fix="Give masks of one size.")
    pairs = np.zeros(_SIDE * _SIDE, np.int64)
    for rows, columns in zip(
        np.array_split(truth, 1 + truth.size // 2**22), np.array_split(label, 1 + truth.size // 2**22), strict=True
    ):
        pairs += np.bincount((rows.astype(np.int32) * _SIDE + columns).ravel(), minlength=_SIDE * _SIDE)
    counts = pairs.reshape(_SIDE, _SIDE)[:IGNORE]
    open_pixels = int(counts[:, IGNORE].sum())
    decided = counts[:, :IGNORE].copy()
    decided[:, BACKGROUND] += counts[:, IGNORE]
    areas = np.stack([decided.sum(axis=1), decided.sum(axis=0), decided.diagonal()])
    return Checked(stratum, areas, open_pixels, int(counts.sum()))


def estimate(
    checked: Sequence[Checked],
    population: Population,
    vocabulary: Vocabulary,
    *,
    level: float = 0.9,
    seed: int = 0,
) -> AuditEstimate:
    """Estimate mIoU and IoU of each class over all photos of a job.

    Args:
        checked: the sample.
        population: the photos of the job.
        vocabulary: classes of the masks; those that the sample shows, by truth or label, are estimated.
        level: of the intervals.
        seed: of the bootstrap.

    Raises:
        InvalidOption: nothing was checked, or a photo of a stratum that the job does not have.
    """
    if not checked:
        raise InvalidOption("No photo of the sample is checked yet.", fix="Check or correct some, then ask again.")
    missing = {found.stratum for found in checked} - population.strata.keys()
    if missing:
        raise InvalidOption(f"The job has no photos of {min(missing)!r}.", fix="Give the strata of its photos.")
    truth, label, _ = np.sum([found.areas for found in checked], axis=0)
    present = set(np.flatnonzero(truth + label).tolist())
    names = vocabulary.name_of_index
    rows = [index for index in (BACKGROUND, *vocabulary.indices) if index in present]
    common = np.array([row == BACKGROUND or population.tagged.get(names[row], 0) >= LEAST_PHOTOS for row in rows])
    common = common if common.any() else ~common
    parts = np.stack([_parts(found.areas, rows) for found in checked])
    weights = _weights([found.stratum for found in checked], population.strata)
    groups = _groups(checked)
    reach = _quantile(level, freedom=max(len(checked) - len(groups), 1)) if len(checked) > 1 else math.inf
    point = _ious(np.einsum("n,nkr->kr", weights, parts))
    replicates = _ious(np.einsum("bn,nkr->bkr", _bootstrap(groups, weights, seed), parts))
    return AuditEstimate(
        miou=_interval(float(point[common].mean()), np.nanmean(replicates[:, common], axis=1), reach),
        classes=tuple(
            ClassEstimate(
                name=names[row],
                photos=int((parts[:, 0, place] > 0).sum()),
                in_mean=bool(common[place]),
                **_interval(float(point[place]), replicates[:, place], reach).model_dump(),
            )
            for place, row in enumerate(rows)
        ),
        photos=len(checked),
        population=sum(population.strata.values()),
        level=level,
        open_share=float(np.average([found.open_pixels / max(found.pixels, 1) for found in checked], weights=weights)),
    )


def _parts(areas: Areas, rows: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return union and intersection of each class: (2, R)."""
    truth, label, both = areas[:, rows].astype(np.float64)
    return np.stack([truth + label - both, both])


def _ious(parts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return IoU (..., R) of unions and intersections (..., 2, R); NaN where there is no union."""
    union = parts[..., 0, :]
    return np.divide(parts[..., 1, :], union, out=np.full_like(union, np.nan), where=union > 0)


def _weights(strata: Sequence[str], population: Mapping[str, int]) -> npt.NDArray[np.float64]:
    """Return how many photos each checked one stands for; strata that lack one are shared by the others."""
    drawn = Counter(strata)
    seen = sum(population[name] for name in drawn)
    return np.array([population[name] / drawn[name] for name in strata]) * sum(population.values()) / seen


def _groups(checked: Sequence[Checked]) -> list[list[int]]:
    """Return the places of the checked photos by stratum; one that was checked alone joins the next smallest."""
    strata: dict[str, list[int]] = {}
    for place, found in enumerate(checked):
        strata.setdefault(found.stratum, []).append(place)
    groups = sorted(strata.values(), key=len)
    while len(groups) > 1 and len(groups[0]) < _LEAST_OF_A_STRATUM:
        groups = sorted([groups[0] + groups[1], *groups[2:]], key=len)
    return groups


def _bootstrap(groups: Sequence[Sequence[int]], weights: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the weights (B, n) of replicates: n - 1 photos of a group of n drawn with replacement, and scaled up."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros((_REPLICATES, len(weights)))
    for places in groups:
        size = max(len(places) - 1, 1)
        times = generator.multinomial(size, np.full(len(places), 1 / len(places)), _REPLICATES)
        drawn[:, list(places)] = times * len(places) / size
    return drawn * weights


def _quantile(level: float, *, freedom: int) -> float:
    """Return how many standard errors an interval reaches: Student's t, to the first order of 1 / freedom."""
    normal = NormalDist().inv_cdf((1 + level) / 2)
    return normal + (normal**3 + normal) / (4 * freedom)


def _interval(point: float, replicates: npt.NDArray[np.float64], reach: float) -> Interval:
    """Return the interval round an estimate; all of 0..1 where one photo alone was checked."""
    known = replicates[~np.isnan(replicates)]
    if math.isinf(reach) or len(known) < _REPLICATES // 2:
        return Interval(estimate=point, low=0.0, high=1.0)
    half = reach * float(known.std())
    return Interval(estimate=point, low=max(point - half, 0.0), high=min(point + half, 1.0))
