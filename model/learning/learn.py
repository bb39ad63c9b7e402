"""The facade of learning: photos with words in, a learnt model out.

reader = ModelTokens(labeler.network, labeler.spec, labeler.device)
photos = [(path, ("mug", "person")), ...]
model = learn_words("kitchen", [words for _, words in photos], lambda k: read_image(photos[k][0]).pixels, reader)
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from toco.model.errors import TocoError
from toco.model.learning.fit import FitData, fit_words, start_labels
from toco.model.learning.learnt_model import LearntModel
from toco.model.learning.learnt_spec import LearntSpec
from toco.model.learning.planning import CannotLearn, Plan, plan_learning
from toco.model.learning.report import HeldOut, report_words, word_figures
from toco.model.learning.settings import FitSettings, ReportSettings, SampleSettings
from toco.model.learning.tokens import PhotoTokens, Pixels, TokenReader
from toco.model.options import Thresholds
from toco.model.photos.classes import IGNORE, ClassName, Vocabulary, fold

LEARNT_THRESHOLDS = Thresholds(high=0.6, low=0.25, plain=0.5)
_HELD_OUT_EVERY = 10  # of a word's photos in the sample, one in ten judges the fit


class SampledTokens(NamedTuple):
    """Tokens of one photo, thinned out: what a worker sends to where the fit runs.

    Attributes:
        tokens: (n, d) float16.
        prior: (n,) float32.
        own: (n, C) float32, C the encoder's own classes.
        known: (n,) uint8 mask index of a person's mask, 255 where open; None without one.
    """

    tokens: Tensor
    prior: Tensor
    own: Tensor
    known: Tensor | None = None


class Encoder(Protocol):
    """What a fit has to know of the encoder whose tokens it is given; a `TokenReader` is one."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words that the encoder knows by itself; None if it knows none."""
        ...

    @property
    def digest(self) -> str:
        """Identifies encoder and input size."""
        ...

    @property
    def side(self) -> int:
        """Of the square that photos are resized to before they are read."""
        ...


def thinned(found: PhotoTokens, count: int, seed: int, mask: np.ndarray | None = None) -> SampledTokens:
    """Keep some random tokens of a photo.

    Args:
        found: all its tokens.
        count: how many to keep at most.
        seed: of the choice; give the photo's position.
        mask: (H, W) uint8 a person's mask of it, 255 where open.
    """
    total = len(found.tokens)
    kept = torch.arange(total)
    if count < total:
        kept = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count].sort().values
    known = None
    if mask is not None:
        small = cv2.resize(mask, found.grid[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        known = torch.from_numpy(np.asarray(small, np.uint8)).flatten()[kept]
    return SampledTokens(found.tokens[kept], found.prior[kept], found.own[kept], known)


def learn_words(
    name: str,
    tags: Sequence[Sequence[str]],
    read_pixels: Callable[[int], Pixels],
    reader: TokenReader,
    *,
    masks: Mapping[int, Callable[[], np.ndarray]] | None = None,
    sample: SampleSettings | None = None,
    fit: FitSettings | None = None,
    report: ReportSettings | None = None,
    on_photo: Callable[[int, int], None] = lambda _done, _all: None,
) -> LearntModel:
    """Learn all words of a job from its own photos, in one process.

    Args:
        name: of the learnt model.
        tags: words of each photo of the job, known to the encoder or not.
        read_pixels: returns the (H, W, 3) uint8 RGB pixels of the photo at a position of `tags`; may raise `TocoError`,
            then that photo is left out.
        reader: of the encoder.
        masks: position to what reads a person's mask (H, W) uint8, whose values are `1 + position of the word in
            plan.words`, 0 for background and 255 for open pixels; such photos are always learnt from, and count more.
        sample: which photos are learnt from.
        fit: how.
        report: when a word counts as learnt.
        on_photo: called with the number of photos read and to read; may raise to stop.

    Raises:
        CannotLearn: no word, too many, or no photo that can be read.
    """
    started = time.perf_counter()
    plan = plan_learning(tags, sample)
    masks = masks or {}
    positions = sorted({*plan.positions, *masks})
    read: dict[int, SampledTokens] = {}
    for done, position in enumerate(positions):
        on_photo(done, len(positions))
        mask = masks[position]() if position in masks else None
        try:
            read[position] = thinned(reader.read([read_pixels(position)])[0], plan.tokens, position, mask)
        except TocoError:
            continue  # labelling reports it
    on_photo(len(positions), len(positions))
    return fit_sample(name, tags, plan, read, reader, fit=fit, report=report, seconds=time.perf_counter() - started)


def fit_sample(
    name: str,
    tags: Sequence[Sequence[str]],
    plan: Plan,
    read: Mapping[int, SampledTokens],
    reader: Encoder,
    *,
    fit: FitSettings | None = None,
    report: ReportSettings | None = None,
    seconds: float = 0.0,
    on_round: Callable[[int], None] = lambda _: None,
) -> LearntModel:
    """Fit words to tokens that were read, here or elsewhere; see `learn_words`.

    Args:
        name: of the learnt model.
        tags: words of each photo of the job.
        plan: as `plan_learning` gives it for these tags.
        read: position of a photo to its tokens; photos that could not be read are not there.
        reader: names the encoder that all tokens come from.
        fit: how words are fitted.
        report: when a word counts as learnt.
        seconds: that reading took, for the record.
        on_round: called with the number of rounds done; may raise to stop.

    Raises:
        CannotLearn: no photo was read.
    """
    fit, report = fit or FitSettings(), report or ReportSettings()
    if not read:
        raise CannotLearn("No photo could be read.", fix="Look at the errors of the photos.")
    started = time.perf_counter()
    number = {fold(word): index for index, word in enumerate(plan.words)}
    words = [frozenset(number[fold(word)] for word in found) for found in tags]
    judging = _held_out(read, words)
    learning = [position for position in sorted(read) if position not in judging]
    known = reader.vocabulary if fit.start_from_network else None
    data = _fit_data({position: read[position] for position in learning}, words, plan.words, known)
    fitted = fit_words(data, fit, on_round=on_round)
    judges = _judges(judging, learning, words)
    figures = word_figures(
        HeldOut([read[position].tokens for position in judges], [words[position] for position in judges]),
        fitted.weight,
        fitted.bias,
        fit.temperature,
    )
    spec = LearntSpec(
        name=name,
        classes=_classes(plan.words, reader.vocabulary),
        encoder=reader.digest,
        side=reader.side,
        width=data.tokens.shape[1],
        temperature=fit.temperature,
        thresholds=LEARNT_THRESHOLDS,
        words=report_words(plan.words, words, learning, figures, report),
        learnt_from={
            "photos_of_job": len(tags),
            "photos": len(learning),
            "held_out": len(judging),
            "tokens": len(data.tokens),
            "masks": int(data.fixed.sum()),
            "seconds_reading": round(seconds, 1),
            "seconds_fitting": round(time.perf_counter() - started, 1),
            "settings": fit.model_dump(mode="json"),
        },
    )
    return LearntModel(spec, fitted.weight, fitted.bias)


def _held_out(read: Mapping[int, SampledTokens], words: Sequence[frozenset[int]]) -> list[int]:
    """Keep up to one in ten photos of each word aside to judge it by; none of a word that would miss them."""
    counts = Counter(word for position in read for word in words[position])
    left = Counter(counts)
    kept: list[int] = []
    for turn, position in enumerate(sorted(read)):
        spared = all(left[word] > max(_HELD_OUT_EVERY, 0.9 * counts[word]) for word in words[position])
        if words[position] and read[position].known is None and spared and turn % 3 == 0:
            kept.append(position)
            left.subtract(words[position])
    return kept


def _judges(judging: Sequence[int], learning: Sequence[int], words: Sequence[frozenset[int]]) -> list[int]:
    """Return the photos that words are judged by: those aside, and, for words without any, those learnt from."""
    missing = {word for position in learning for word in words[position]}
    missing -= {word for position in judging for word in words[position]}
    return [*judging, *(position for position in learning if words[position] & missing)]


def _fit_data(
    read: Mapping[int, SampledTokens], words: Sequence[frozenset[int]], names: Sequence[str], known: Vocabulary | None
) -> FitData:
    positions = list(read)
    slots_each = max(1, *(len(words[position]) for position in positions))
    own_channel: dict[int, int] = {}
    if known is not None:
        own_channel = {word: known.channel(name) for word, name in enumerate(names) if name in known}
    slots = torch.full((len(positions), slots_each), -1, dtype=torch.int64)
    starts, fixed = [], torch.zeros(len(positions), dtype=torch.bool)
    for row, position in enumerate(positions):
        found = read[position]
        shown = sorted(words[position])
        slots[row, : len(shown)] = torch.tensor(shown, dtype=torch.int64)
        own = torch.full((len(found.prior), slots_each), float("nan"))
        for slot, word in enumerate(shown):
            if word in own_channel:
                own[:, slot] = found.own[:, own_channel[word]]
        start = start_labels(found.prior, slots[row], own)
        if found.known is not None:
            fixed[row] = True
            start = _known_labels(found.known, shown, slots_each)
        starts.append(start.half())
    counts = torch.tensor([len(read[position].prior) for position in positions])
    return FitData(
        tokens=torch.cat([read[position].tokens for position in positions]),
        photo=torch.arange(len(positions)).repeat_interleave(counts),
        slots=slots,
        start=torch.cat(starts),
        prior=torch.cat([read[position].prior for position in positions]),
        fixed=fixed,
        words=len(names),
    )


def _known_labels(mask: Tensor, shown: Sequence[int], slots: int) -> Tensor:
    """Return the labels (n, 1 + slots) of a person's mask; open pixels have none."""
    labels = torch.zeros(len(mask), 1 + slots)
    labels[:, 0] = (mask == 0).float()
    for slot, word in enumerate(shown):
        labels[:, 1 + slot] = (mask == word + 1).float()
    labels[mask == IGNORE] = 0.0
    return labels


def _classes(words: Sequence[str], known: Vocabulary | None) -> tuple[ClassName, ...]:
    """Give each word a mask index; what the encoder knows keeps its synonyms."""
    taken = {fold(word) for word in words}
    found = []
    for index, word in enumerate(words, start=1):
        synonyms: tuple[str, ...] = ()
        if known is not None and word in known:
            entry = known.classes[known.channel(word)]
            synonyms = tuple(name for name in (entry.name, *entry.synonyms) if fold(name) not in taken)
        found.append(ClassName(word, index, synonyms))
    return tuple(found)
