"""What to look at first: an order in which the next few photos teach most.

Doubt alone brings twenty photos of one kind, the one that the model is worst at. Here each photo that is taken makes
those with the same tags, and those that share a class with it, worth less, as do those that people have dealt with.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_LEAST_DOUBT: Final = 0.01  # a photo that nothing is wrong with still comes, at the end


@dataclass(frozen=True, slots=True)
class Candidate:
    """A photo that may be looked at.

    Attributes:
        id: of its item.
        doubt: 0..1.
        tags: canonical class names.
    """

    id: str
    doubt: float
    tags: tuple[str, ...]


def teaching_order(
    candidates: Iterable[Candidate], *, seen: Iterable[Sequence[str]] = (), limit: int | None = None
) -> list[Candidate]:
    """Order photos so that the first ones teach most.

    Args:
        candidates: the photos, in any order.
        seen: tags of each photo that people have dealt with.
        limit: how many to return; None takes all.

    Returns:
        The first is the one with the most doubt, other things being equal.
    """
    groups: dict[frozenset[str], list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda found: (found.doubt, found.id), reverse=True):
        groups.setdefault(frozenset(candidate.tags), []).append(candidate)
    waiting = {kind: found[::-1] for kind, found in groups.items()}
    kinds: Counter[frozenset[str]] = Counter()
    classes: Counter[str] = Counter()
    for tags in seen:
        kinds[frozenset(tags)] += 1
        classes.update(set(tags))
    ordered: list[Candidate] = []
    while waiting and (limit is None or len(ordered) < limit):
        best = max(waiting, key=lambda kind: (_worth(waiting[kind][-1], kind, kinds, classes), sorted(kind)))
        ordered.append(waiting[best].pop())
        kinds[best] += 1
        classes.update(best)
        if not waiting[best]:
            del waiting[best]
    return ordered


def _worth(candidate: Candidate, kind: frozenset[str], kinds: Counter[frozenset[str]], classes: Counter[str]) -> float:
    """Return a photo's doubt, less the more its kind and its classes were looked at."""
    rarest = min((classes[tag] for tag in kind), default=0)
    return max(candidate.doubt, _LEAST_DOUBT) / math.sqrt((1 + kinds[kind]) * (1 + rarest))
