"""Class vocabularies: names, the mask index of each, and the synonyms that users write.

References:
    VOC 2012 development kit, section 3.1 (class order and colour map).
    COCO 2014/2017 "things" in the order of their category ids.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from rapidfuzz import process
from rapidfuzz.distance import OSA

from toco.model.errors import InvalidOption, TocoError

BACKGROUND = 0
IGNORE = 255
MAX_CLASSES = 254  # 8-bit masks: 0 is background, 255 is ignore
_CLOSE: Final = 3  # spellings that are suggested at most
_SHORT_WORD: Final = 5  # letters up to which one slip of the pen is all that is allowed
_TINY_WORD: Final = 3  # letters up to which the first must be right: a rat is no cat


class UnknownTag(TocoError):
    """A tag is not in the model's vocabulary."""

    code = "unknown_tag"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class ClassName:
    """One class of a vocabulary.

    Attributes:
        name: the canonical tag.
        index: the value of the class in every mask, 1..254.
        synonyms: other spellings that mean the same class.
    """

    name: str
    index: int
    synonyms: tuple[str, ...] = ()


@lru_cache(maxsize=65_536)  # the photos of a job have the same words
def fold(tag: str) -> str:
    """Return the comparison form of a tag: case, spaces, hyphens and underscores do not count."""
    return re.sub(r"[\s_\-]+", "", tag.strip().casefold())


class Vocabulary:
    """The ordered classes that a model knows.

    The position of a class (0-based) is its classifier channel; its `index` is its value in masks.

    Raises:
        InvalidOption: on duplicate names or synonyms, or indices outside 1..254.
    """

    BACKGROUND_NAME: ClassVar[str] = "background"

    def __init__(self, classes: Iterable[ClassName]) -> None:
        self.classes: tuple[ClassName, ...] = tuple(classes)
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise InvalidOption(f"A vocabulary of {len(self.classes)} classes.", fix=f"Give 1 to {MAX_CLASSES}.")
        self._channel: dict[str, int] = {}
        for channel, entry in enumerate(self.classes):
            if not 1 <= entry.index <= MAX_CLASSES:
                raise InvalidOption(
                    f"Class {entry.name!r} has mask index {entry.index}.", fix=f"Use an index of 1 to {MAX_CLASSES}."
                )
            for spelling in (entry.name, *entry.synonyms):
                if self._channel.setdefault(fold(spelling), channel) != channel:
                    raise InvalidOption(f"{spelling!r} names two classes.", fix="Give each spelling to one class.")
        if len({entry.index for entry in self.classes}) != len(self.classes):
            raise InvalidOption("Two classes share one mask index.", fix="Give each class an index of its own.")
        self._hash = hash(self.classes)

    @classmethod
    def of_names(cls, names: Sequence[str]) -> "Vocabulary":
        """Make a vocabulary whose mask indices are 1, 2, 3, ... in the order of the names."""
        return cls(ClassName(name, index) for index, name in enumerate(names, start=1))

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassName]:
        return iter(self.classes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.classes == other.classes

    def __hash__(self) -> int:
        return self._hash

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names in channel order."""
        return tuple(entry.name for entry in self.classes)

    @property
    def indices(self) -> tuple[int, ...]:
        """Mask indices in channel order."""
        return tuple(entry.index for entry in self.classes)

    @property
    def name_of_index(self) -> dict[int, str]:
        """Mask index to name, background included."""
        return {BACKGROUND: self.BACKGROUND_NAME} | {entry.index: entry.name for entry in self.classes}

    def __contains__(self, tag: str) -> bool:
        return fold(tag) in self._channel

    def find(self, tag: str) -> str | None:
        """Return the canonical name of a tag or synonym, or None if it is neither."""
        channel = self._channel.get(fold(tag))
        return None if channel is None else self.classes[channel].name

    def close(self, tag: str) -> tuple[str, ...]:
        """Return the canonical names whose spelling, or that of a synonym, is close to a tag, the closest first."""
        word = fold(tag)
        allowed = 1 if len(word) <= _SHORT_WORD else 2
        spellings = [spelling for spelling in self._channel if len(word) > _TINY_WORD or spelling[0] == word[:1]]
        found = process.extract(word, spellings, scorer=OSA.distance, score_cutoff=allowed, limit=None)
        channels = (self._channel[spelling] for spelling, *_ in sorted(found, key=lambda entry: entry[1]))
        return tuple(dict.fromkeys(self.classes[channel].name for channel in channels))[:_CLOSE]

    def channel(self, tag: str) -> int:
        """Return the classifier channel of a tag or synonym.

        Raises:
            UnknownTag: if the model does not know it; names close spellings and the whole vocabulary.
        """
        try:
            return self._channel[fold(tag)]
        except KeyError:
            close = self.close(tag)
            guess = f"Did you mean {close[0]!r}? " if close else ""
            raise UnknownTag(
                f"Unknown tag {tag!r}.", fix=f"{guess}This model knows: {', '.join(self.names)}."
            ) from None

    def channels(self, tags: Iterable[str]) -> tuple[int, ...]:
        """Return the sorted, distinct classifier channels of tags. Raises UnknownTag like `channel`."""
        return tuple(sorted({self.channel(tag) for tag in tags}))

    def split_known(self, tags: Iterable[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Split tags into the sorted channels of known ones and the unknown ones as written."""
        tags = list(tags)
        known = self.channels(tag for tag in tags if tag in self)
        return known, tuple(dict.fromkeys(tag for tag in tags if tag not in self))

    def subset(self, names: Iterable[str]) -> "Vocabulary":
        """Return the vocabulary of some of the classes, in this order, mask indices and synonyms kept."""
        keep = set(self.channels(names))
        return Vocabulary(entry for channel, entry in enumerate(self.classes) if channel in keep)


_VOC_SYNONYMS: dict[str, tuple[str, ...]] = {
    "aeroplane": ("airplane", "plane", "aircraft"),
    "bicycle": ("bike", "cycle"),
    "boat": ("ship",),
    "car": ("automobile",),
    "cat": ("kitten",),
    "chair": ("armchair",),
    "cow": ("cattle", "bull", "calf"),
    "diningtable": ("dining table", "table"),
    "dog": ("puppy",),
    "horse": ("pony", "foal"),
    "motorbike": ("motorcycle",),
    "person": ("people", "human", "man", "woman", "child"),
    "pottedplant": ("potted plant", "houseplant"),
    "sheep": ("lamb",),
    "sofa": ("couch",),
    "tvmonitor": ("tv", "television", "monitor", "tv/monitor"),
}

VOC_NAMES: tuple[str, ...] = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

VOC = Vocabulary(ClassName(name, index, _VOC_SYNONYMS.get(name, ())) for index, name in enumerate(VOC_NAMES, start=1))

COCO_NAMES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

_COCO_SYNONYMS: dict[str, tuple[str, ...]] = {
    "airplane": ("aeroplane", "plane"),
    "bicycle": ("bike",),
    "boat": ("ship",),
    "car": ("automobile",),
    "cat": ("kitten",),
    "cell phone": ("mobile phone", "phone", "smartphone"),
    "chair": ("armchair",),
    "couch": ("sofa",),
    "cow": ("cattle", "bull", "calf"),
    "dining table": ("table",),
    "dog": ("puppy",),
    "donut": ("doughnut",),
    "hair drier": ("hair dryer",),
    "horse": ("pony", "foal"),
    "motorcycle": ("motorbike",),
    "person": ("people", "human", "man", "woman", "child"),
    "potted plant": ("houseplant",),
    "refrigerator": ("fridge",),
    "sheep": ("lamb",),
    "truck": ("lorry",),
    "tv": ("tvmonitor", "television", "monitor"),
}

COCO = Vocabulary(
    ClassName(name, index, _COCO_SYNONYMS.get(name, ())) for index, name in enumerate(COCO_NAMES, start=1)
)
