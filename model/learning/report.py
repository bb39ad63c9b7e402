"""What can be said of each word after a fit, and which words may be trusted."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from toco.model.learning.fit import word_probabilities
from toco.model.learning.learnt_spec import Standing, WordReport
from toco.model.learning.settings import ReportSettings

_OWN_PLACES = 0.1  # of a photo: its most word-like places
_EPSILON = 1e-8


class HeldOut(NamedTuple):
    """Photos that words are judged by.

    Attributes:
        tokens: a photo's (n, d) tokens each.
        words: the words of each photo, numbers.
    """

    tokens: Sequence[Tensor]
    words: Sequence[frozenset[int]]


class WordFigures(NamedTuple):
    """Per word, (C,) float: see `WordReport`; NaN where no photo shows the word."""

    area: Tensor
    margin: Tensor
    recognised: Tensor


def word_figures(judged: HeldOut, weight: Tensor, bias: Tensor, temperature: float) -> WordFigures:
    """Judge each word by photos whose tags are known.

    A photo has as much of a word as its most word-like tenth says. A word that was found is more of in photos that show
    it than in those that do not. Words are never compared with one another: a rare one is less likely everywhere.
    """
    count = len(weight) - 1
    shows = torch.zeros(len(judged.words), count, dtype=torch.bool)
    scores = torch.zeros(len(judged.words), count)
    areas = torch.zeros(count)
    for row, (tokens, words) in enumerate(zip(judged.tokens, judged.words, strict=True)):
        found = word_probabilities(tokens, weight, bias, temperature)
        places = max(1, round(_OWN_PLACES * len(found)))
        scores[row] = found[:, 1:].topk(places, dim=0).values.mean(dim=0)
        if words:
            shown = sorted(words)
            shows[row, shown] = True
            own = found[:, [0, *(word + 1 for word in shown)]]
            areas[shown] += (own / own.sum(dim=1, keepdim=True)).mean(dim=0)[1:]
    margin, recognised = torch.full((count,), torch.nan), torch.full((count,), torch.nan)
    for word in range(count):
        with_it, without = scores[shows[:, word], word], scores[~shows[:, word], word]
        if len(with_it) and len(without):
            pairs = with_it[:, None] - without[None]
            recognised[word] = (pairs > 0).float().mean() + 0.5 * (pairs == 0).float().mean()
            margin[word] = pairs.mean() / scores[:, word].std(correction=0).clamp_min(_EPSILON)
        elif len(with_it):  # every photo shows it: nothing says that it was not found
            margin[word], recognised[word] = 0.0, 1.0
    return WordFigures(areas / shows.sum(dim=0), margin, recognised)


def report_words(
    names: Sequence[str],
    photos: Sequence[frozenset[int]],
    learnt_from: Sequence[int],
    figures: WordFigures,
    settings: ReportSettings,
) -> tuple[WordReport, ...]:
    """Say of each word how it stands.

    Args:
        names: the words.
        photos: words of each photo of the job.
        learnt_from: positions of the photos that the fit saw.
        figures: of the words.
        settings: where the bounds lie.
    """
    shown = Counter(word for words in photos for word in words)
    alone = Counter(word for words in photos if len(words) == 1 for word in words)
    fitted = Counter(word for position in learnt_from for word in photos[position])
    pairs = Counter((one, other) for words in photos for one in words for other in words if one != other)
    reports = []
    for word, name in enumerate(names):
        # Apart in too few photos, seen from either of the two: tags cannot tell which of them is which.
        partners = tuple(
            names[other]
            for other in range(len(names))
            if pairs[word, other]
            and pairs[word, other] >= settings.together * shown[word]
            and shown[other] - pairs[word, other] < settings.least_photos
        )
        area, margin, recognised = (float(torch.nan_to_num(values[word])) for values in figures)
        reports.append(
            WordReport(
                word=name,
                photos=shown[word],
                alone=alone[word],
                learnt_from=fitted[word],
                standing=_standing(shown[word], alone[word], partners, area, recognised, settings=settings),
                area=area,
                margin=margin,
                recognised=recognised,
                together_with=partners,
            )
        )
    return tuple(reports)


def _standing(
    photos: int, alone: int, partners: Sequence[str], area: float, recognised: float, *, settings: ReportSettings
) -> Standing:
    if photos < settings.least_photos:
        return "too_few_photos"
    if partners:
        return "not_told_apart"
    if area < settings.least_share or recognised < settings.least_recognised:
        return "not_found"
    return "weak" if alone < settings.least_alone * photos else "learnt"
