"""What can be said of each word after a fit, and which words may be trusted."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from toco.model.learning.fit import word_probabilities
from toco.model.learning.learnt_model import Standing, WordReport
from toco.model.learning.settings import ReportSettings

_OWN_PLACES = 0.1  # of a photo: its most word-like places


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

    In a photo with a word, its most word-like tenth is looked at, where the word must be likelier than any word that
    the photo does *not* show. A word that was not found wins there no more often than by chance.
    """
    count = len(weight) - 1
    sums = torch.zeros(3, count)
    seen = torch.zeros(count)
    for tokens, words in zip(judged.tokens, judged.words, strict=True):
        if not words:
            continue
        shown = sorted(words)
        found = word_probabilities(tokens, weight, bias, temperature)
        absent = [word + 1 for word in range(count) if word not in words]
        best = found[:, [0, *(word + 1 for word in shown)]].argmax(dim=1)
        for position, word in enumerate(shown):
            own = found[:, word + 1]
            places = own.topk(max(1, round(_OWN_PLACES * len(own)))).indices
            other = found[places][:, absent].amax(dim=1) if absent else torch.zeros(len(places))
            margin = own[places] - other
            values = ((best == position + 1).float().mean(), margin.mean(), (margin > 0).float().mean())
            sums[:, word] += torch.stack(values)
            seen[word] += 1
    area, margin, recognised = (sums / seen).unbind()
    return WordFigures(area, margin, recognised)


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
                standing=_standing(shown[word], partners, area, recognised, settings),
                area=area,
                margin=margin,
                recognised=recognised,
                together_with=partners,
            )
        )
    return tuple(reports)


def _standing(
    photos: int, partners: Sequence[str], area: float, recognised: float, settings: ReportSettings
) -> Standing:
    if photos < settings.least_photos:
        return "too_few_photos"
    if partners:
        return "not_told_apart"
    if area < settings.least_share or recognised < settings.least_recognised:
        return "not_found"
    return "learnt"
