"""Which photos are learnt from: some of each word, so that memory does not grow with the job."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from toco.model.learning.settings import SampleSettings


def choose_photos(words: Sequence[Iterable[str]], settings: SampleSettings) -> tuple[int, ...]:
    """Choose the photos to learn from.

    Words are served in the order of their rarity, so that a photo of a rare word and a common one counts for both.
    Half of a word's photos show it alone where there are as many: they teach what it looks like; photos with several
    words teach to tell them apart.

    Args:
        words: of each photo of the job.
        settings: the bounds.

    Returns:
        Positions in `words`, rising. Photos without words are never among them.
    """
    sets = [frozenset(found) for found in words]
    order = np.random.default_rng(settings.seed).permutation(len(sets))
    alone: dict[str, list[int]] = {}
    together: dict[str, list[int]] = {}
    for position in order:
        for word in sets[position]:
            (alone if len(sets[position]) == 1 else together).setdefault(word, []).append(int(position))
    counts = Counter(word for found in sets for word in found)
    each = min(settings.photos_a_word, max(1, settings.photos // max(len(counts), 1)))
    chosen: set[int] = set()
    for word in sorted(counts, key=lambda word: (counts[word], word)):
        wanted = max(0, each - sum(1 for position in chosen if word in sets[position]))
        single, several = (
            [position for position in found.get(word, []) if position not in chosen] for found in (alone, together)
        )
        of_several = min(len(several), max(wanted // 2, wanted - len(single)))
        chosen.update([*several[:of_several], *single][:wanted])
    return tuple(sorted(chosen))[: settings.photos]


def tokens_a_photo(photos: int, settings: SampleSettings) -> int:
    """Return how many tokens of each photo are kept so that all of them stay within the bound."""
    return max(settings.least_tokens, settings.tokens // max(photos, 1))
