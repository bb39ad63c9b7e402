"""What a data set holds: photos, pixels and regions of each class, how large they are, and which classes come together.

`statistics.json` in every export. All figures are of the masks that are exported, counted, not estimated.
"""

import json
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from toco.model.formats.item import LabelledItem, MaskChoice
from toco.model.formats.result import ItemResult
from toco.model.formats.rle import OutlineCost
from toco.model.formats.splits import Split, listed_parts
from toco.model.options import Frozen
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary

AREA_BOUNDS: Final = (0.001, 0.01, 0.05, 0.2, 0.5, 1.0)
"""A class's share of a photo falls in the first of these that it does not exceed."""

DOUBTFUL: Final = 0.5
"""Photos of more doubt than this are counted."""


class ClassStatistics(Frozen):
    """One class.

    Attributes:
        name, index: of the class.
        tagged: photos with the tag.
        photos: that show the class.
        parts: of these, how many in each part.
        pixels: of the class.
        regions: 4-connected ones of at least `min_area` pixels. They are no objects: two that touch are one, and one
            that is covered may be two.
        specks: smaller ones, which formats of outlines and boxes leave out.
        areas: photos by the share that the class has of them, as bounded by `area_bounds`.
        outline_iou: of the polygons with the masks, where the format has polygons.
    """

    name: str
    index: int
    tagged: int
    photos: int
    parts: dict[str, int]
    pixels: int
    regions: int
    specks: int = 0
    areas: tuple[int, ...]
    outline_iou: float | None = None


class Statistics(Frozen):
    """A data set.

    Attributes:
        format: version of this layout.
        photos: in all.
        parts: photos by part.
        split, seed: how the parts were made.
        alike: photos that look like another one.
        torn: of these, the ones with a double in another part.
        pixels, background_pixels, open_pixels: of all masks.
        tidied_pixels: that small regions and holes changed.
        empty_photos: that show no class.
        doubt: mean doubt (0..1) of the photos.
        doubtful_photos: of more than 0.5 doubt.
        open_tags: words that were not understood, by number of photos.
        tagged_by_model: photos whose tags the classifier chose.
        by_person: photos whose mask a person drew or corrected.
        models: photos by the model that labelled them.
        area_bounds: see `ClassStatistics.areas`.
        min_area: pixels of the least region that is no speck.
        classes: those that are tagged or shown.
        together: photos that show both classes, by the two names in the order of the vocabulary.
        outline_iou: over all classes; None where the format has no polygons.
    """

    format: int = 1
    photos: int
    parts: dict[str, int]
    split: str
    seed: int
    alike: int
    torn: int
    pixels: int
    background_pixels: int
    open_pixels: int
    tidied_pixels: int
    empty_photos: int
    doubt: Annotated[float, Field(ge=0, le=1)]
    doubtful_photos: int
    open_tags: dict[str, int]
    tagged_by_model: int
    by_person: int
    models: dict[str, int]
    area_bounds: tuple[float, ...] = AREA_BOUNDS
    min_area: int = 0
    classes: tuple[ClassStatistics, ...]
    together: dict[str, dict[str, int]]
    outline_iou: float | None = None

    @property
    def open_share(self) -> float:
        """Share (0..1) of all pixels that are left open."""
        return self.open_pixels / self.pixels if self.pixels else 0.0


class ClassCounts(NamedTuple):
    """What is counted of a class that a photo shows.

    Attributes:
        regions, specks: 4-connected ones, of at least and of fewer than the least pixels of a region.
        area: which of `AREA_BOUNDS` its share falls in.
    """

    regions: int
    specks: int
    area: int


@dataclass(frozen=True, slots=True)
class PhotoCounts:
    """What is counted of a photo, once, however many formats take it.

    Attributes:
        result: its description.
        doubt: of the description.
        part: of the data set.
        pixels: (256,) of each mask index.
        classes: that it shows, in the order of the vocabulary.
        tidied: pixels that small regions and holes changed.
    """

    result: ItemResult
    doubt: float
    part: str
    pixels: npt.NDArray[np.int64]
    classes: dict[str, ClassCounts]
    tidied: int


def count_photo(
    item: LabelledItem, which: MaskChoice, vocabulary: Vocabulary, *, part: str, min_area: int
) -> PhotoCounts:
    """Count a photo.

    Args:
        item: the photo.
        which: its mask that is exported.
        vocabulary: the classes of the mask.
        part: of the data set.
        min_area: regions of fewer pixels are specks.

    Raises:
        MissingPart, InvalidArtifact: there is no such mask, or no description.
    """
    mask, before, pixels = item.tidied(which), item.tidied(MaskChoice(which.mask)), item.pixels(which)
    classes = {}
    for shown in item.classes(which, vocabulary):
        specks = int(np.count_nonzero(shown.regions < min_area))
        share = pixels[shown.entry.index] / mask.size
        classes[shown.entry.name] = ClassCounts(len(shown.regions) - specks, specks, bisect_left(AREA_BOUNDS, share))
    tidied = 0 if before is mask else int(np.count_nonzero(mask != before))
    return PhotoCounts(item.result, item.result.doubt, part, pixels, classes, tidied)


class Counted:
    """Counts what a format holds, photo by photo, in memory that grows with the number of classes alone.

    Args:
        vocabulary: the classes of the masks.
        min_area: of the regions of the photos that are added.
    """

    def __init__(self, vocabulary: Vocabulary, *, min_area: int) -> None:
        self._vocabulary = vocabulary
        self._min_area = min_area
        self._photos = 0
        self._sums: Counter[str] = Counter()
        self._doubt = 0.0
        self._parts: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._open_tags: Counter[str] = Counter()
        self._tagged: Counter[str] = Counter()
        self._pixels = np.zeros(256, np.int64)
        self._regions: Counter[str] = Counter()
        self._specks: Counter[str] = Counter()
        self._shown: dict[str, Counter[str]] = {}  # photos by class, then by part
        self._areas: dict[str, list[int]] = {}
        self._together: Counter[tuple[str, str]] = Counter()
        self.options: dict[str, str] = {}  # of the labels, as JSON, with their digest; two where there are several

    def add(self, photo: PhotoCounts) -> None:
        """Add a photo."""
        result, part = photo.result, photo.part
        self._photos += 1
        self._pixels += photo.pixels
        self._parts[part] += 1
        self._models[result.model_version] += 1
        self._open_tags.update(set(result.open_tags))
        self._tagged.update(result.tags)
        self._doubt += photo.doubt
        self._sums["doubtful"] += photo.doubt > DOUBTFUL
        self._sums["empty"] += not photo.classes
        self._sums["by_model"] += result.tag_source == "model"
        self._sums["by_person"] += result.by_person
        self._sums["tidied"] += photo.tidied
        if len(self.options) < 2:
            self.options.setdefault(json.dumps(result.options, sort_keys=True), result.options_digest)
        for name, counts in photo.classes.items():
            self._regions[name] += counts.regions
            self._specks[name] += counts.specks
            self._shown.setdefault(name, Counter())[part] += 1
            self._areas.setdefault(name, [0] * len(AREA_BOUNDS))[counts.area] += 1
        self._together.update(combinations(photo.classes, 2))

    def statistics(self, split: Split, outlines: OutlineCost | None = None) -> Statistics:
        """Return what was counted.

        Args:
            split: how the parts were made.
            outlines: what polygons lost, where there are any.
        """
        iou = outlines.iou() if outlines else {}
        together: dict[str, dict[str, int]] = {}
        for (one, other), photos in sorted(self._together.items()):
            together.setdefault(one, {})[other] = photos
        return Statistics(
            photos=self._photos,
            parts={part: self._parts[part] for part in listed_parts(self._parts)},
            split=split.asked,
            seed=split.seed,
            alike=split.alike,
            torn=split.torn,
            pixels=int(self._pixels.sum()),
            background_pixels=int(self._pixels[BACKGROUND]),
            open_pixels=int(self._pixels[IGNORE]),
            tidied_pixels=self._sums["tidied"],
            empty_photos=self._sums["empty"],
            doubt=min(1.0, self._doubt / self._photos) if self._photos else 0.0,
            doubtful_photos=self._sums["doubtful"],
            open_tags=dict(self._open_tags.most_common()),
            tagged_by_model=self._sums["by_model"],
            by_person=self._sums["by_person"],
            models=dict(self._models.most_common()),
            min_area=self._min_area,
            classes=tuple(
                ClassStatistics(
                    name=entry.name,
                    index=entry.index,
                    tagged=self._tagged[entry.name],
                    photos=self._shown.get(entry.name, Counter()).total(),
                    parts=dict(self._shown.get(entry.name, {})),
                    pixels=int(self._pixels[entry.index]),
                    regions=self._regions[entry.name],
                    specks=self._specks[entry.name],
                    areas=tuple(self._areas.get(entry.name, [0] * len(AREA_BOUNDS))),
                    outline_iou=iou.get(entry.name),
                )
                for entry in self._vocabulary
                if self._tagged[entry.name] or entry.name in self._shown
            ),
            together=together,
            outline_iou=outlines.mean_iou() if outlines else None,
        )
