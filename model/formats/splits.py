"""Which part of a data set (train, val, test) each photo belongs to, decided before any photo is written.

Photos that look alike (`photos.fingerprint`) stay together, so that no test photo has its double among the training
photos. Each class keeps its shares as well as whole groups allow, the rarest first, and is in the largest part if it is
anywhere. The same photos and seed give the same parts, in whatever order the photos come.

References:
    Sechidis et al., "On the Stratification of Multi-label Data" (2011): iterative stratification.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from toco.model.errors import InvalidOption
from toco.model.photos.fingerprint import alike

TABLE: Final = "table"
NO_SPLIT: Final = "none"
SPLIT_PATTERN: Final = r"^(table|none|[0-9]{1,3}/[0-9]{1,3}(/[0-9]{1,3})?)$"
PART_PATTERN: Final = r"^[A-Za-z0-9_\-]{1,64}$"

_PARTS: Final = ("train", "val", "test")
_CALLED: Final = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@dataclass(frozen=True, slots=True)
class ListedPhoto:
    """What a split knows of a photo.

    Attributes:
        name: unique.
        tags: its classes, and the words that were not understood.
        fingerprint: see `photos.fingerprint`; empty where it is not known.
        part: that its table names, as written, or empty.
    """

    name: str
    tags: frozenset[str] = frozenset()
    fingerprint: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set.

    Attributes:
        asked: how it was split: `table`, `none`, or the shares.
        seed: of the shares.
        parts: by name of the photo; one that is missing belongs to `ExportOptions.subset`.
        alike: photos that look like another one.
        torn: of these, the ones with a double in another part.
    """

    asked: str = NO_SPLIT
    seed: int = 0
    parts: Mapping[str, str] = field(default_factory=dict)
    alike: int = 0
    torn: int = 0


def part_called(text: str) -> str:
    """Return the part that a table means by a word (`Validation` is `val`), or nothing if no file could be named so."""
    word = text.strip().lower()
    word = _CALLED.get(word, word)
    return word if re.fullmatch(PART_PATTERN, word) else ""


def shares_of(text: str) -> dict[str, float]:
    """Read `80/10/10` (train, val, test) or `80/20` (train, val) as shares of 1; parts of no share are left out.

    Raises:
        InvalidOption: they do not add up to 100.
    """
    values = [int(value) for value in text.split("/")] if re.fullmatch(SPLIT_PATTERN, text) and "/" in text else []
    if sum(values) != 100:
        raise InvalidOption(
            f"The split {text!r} does not add up to 100.", fix="Give train/val/test such as 80/10/10, or train/val."
        )
    return {part: value / 100 for part, value in zip(_PARTS, values, strict=False) if value}


def split_photos(photos: Sequence[ListedPhoto], asked: str, *, seed: int = 0, subset: str = "train") -> Split:
    """Decide about every photo.

    Args:
        photos: all of the data set, in any order.
        asked: `table` takes the parts that tables name; `none` makes no parts; shares such as `80/10/10` make new
            parts, whatever tables say.
        seed: of the shares.
        subset: the part of photos that have no other.

    Raises:
        InvalidOption: the shares do not add up to 100.
    """
    groups = alike([photo.fingerprint for photo in photos])
    if asked == TABLE:
        parts = {photo.name: part for photo in photos if (part := part_called(photo.part))}
    elif asked == NO_SPLIT:
        parts = {}
    else:
        parts = _stratified(photos, groups, shares_of(asked), seed)
    members: dict[int, list[str]] = {}
    for photo, group in zip(photos, groups, strict=True):
        members.setdefault(group, []).append(parts.get(photo.name, subset))
    doubles = [found for found in members.values() if len(found) > 1]
    torn = [found for found in doubles if len(set(found)) > 1]
    return Split(asked, seed, parts, sum(map(len, doubles)), sum(map(len, torn)))


@dataclass(slots=True)
class _Group:
    """Photos that look alike: they go to one part."""

    names: list[str]
    tags: Counter[str]


def _stratified(
    photos: Sequence[ListedPhoto], positions: Sequence[int], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    members: dict[int, _Group] = {}
    for photo, position in zip(photos, positions, strict=True):
        group = members.setdefault(position, _Group([], Counter()))
        group.names.append(photo.name)
        group.tags.update(photo.tags or ("",))  # photos without tags are spread like a class
    waiting = sorted(members.values(), key=lambda group: _drawn(min(group.names), seed))
    left: Counter[str] = Counter()
    for group in waiting:
        left.update(group.tags)
    largest = max(shares, key=lambda part: shares[part])
    seen: set[str] = set()  # classes that are in the largest part
    owed = dict.fromkeys(shares, 0.0)  # photos that each part has too few of, so far
    parts: dict[str, str] = {}
    while waiting:
        rarest = min((tag for tag in left if left[tag] > 0), key=lambda tag: (left[tag], tag))
        total = left[rarest]
        wanted = {part: share * total + owed[part] for part, share in shares.items()}
        chosen = [group for group in waiting if rarest in group.tags]
        waiting = [group for group in waiting if rarest not in group.tags]
        for group in sorted(chosen, key=lambda group: -len(group.names)):  # large groups while all parts have room
            left -= group.tags  # drops what is used up
            last_chance = any(tag not in seen and (tag == rarest or not left[tag]) for tag in group.tags)
            part = largest if last_chance else max(shares, key=lambda part: (wanted[part], owed[part]))
            if part == largest:
                seen.update(group.tags)
            size = len(group.names)
            wanted[part] -= group.tags[rarest]
            for each, share in shares.items():
                owed[each] += share * size - (size if each == part else 0)
            parts |= dict.fromkeys(group.names, part)
    return parts


def _drawn(name: str, seed: int) -> bytes:
    """Return what puts photos in an order that is random, and the same wherever the photos come from."""
    return hashlib.blake2b(name.encode(), key=str(seed).encode(), digest_size=16).digest()


def listed_parts(parts: Iterable[str]) -> list[str]:
    """Return the names of parts, each once: train, val, test, then others by name."""
    found = set(parts)
    return [part for part in _PARTS if part in found] + sorted(found - set(_PARTS))
