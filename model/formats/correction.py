"""A label with another mask in the place of the machine's: its artifacts and its description."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toco.model.formats.artifacts import (
    OVERLAY,
    PICTURE_SIDE,
    PSEUDO_MASK,
    RESULT,
    SEGMENTATION,
    encode_jpeg,
    encode_mask,
    encode_result,
)
from toco.model.formats.regions import indices_in
from toco.model.formats.result import ClassResult, ItemResult
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.pictures import overlay_picture
from toco.model.photos.understanding import UnderstoodTag

Mask = npt.NDArray[np.uint8]
"""(H, W) uint8 mask indices, 0 background, 255 open."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrected label.

    Attributes:
        result: its description.
        artifacts: bytes by name, `result.json` last.
    """

    result: ItemResult
    artifacts: dict[str, bytes]


def correct(
    before: ItemResult,
    mask: Mask,
    vocabulary: Vocabulary,
    *,
    photo: npt.NDArray[np.uint8] | None,
    segmentation: Mask | None,
    tags: Collection[str] | None = None,
) -> Correction:
    """Put a person's mask in the place of another.

    Args:
        before: description of the label that is corrected.
        mask: (H, W) uint8 indices of the vocabulary, 255 open, at the photo's size.
        vocabulary: the classes of the masks.
        photo: (h, w, 3) uint8 RGB, of any size, for the picture of the mask over it; None makes none.
        segmentation: the machine's map, (H, W) uint8, which says of what the person left open what it did before, as
            long as that is one of the tags; None makes no map.
        tags: canonical class names, all that the photo shows; None takes those of before, with the words that are not
            understood. What the mask shows is added.
    """
    present = indices_in(mask)
    named = before.tags if tags is None else tags
    names = tuple(entry.name for entry in vocabulary if entry.name in named or present[entry.index])
    rows = tuple(_row(name, mask, before, vocabulary) for name in names)
    result = before.model_copy(
        update={
            "tags": names,
            "tag_source": "user",
            "empty_tags": tuple(row.name for row in rows if not row.area),
            "ignore_ratio": float(np.count_nonzero(mask == IGNORE)) / mask.size,
            "classes": rows,
            "timings": {},
            "by_person": True,
        }
    )
    if tags is not None:
        words = tuple(UnderstoodTag(written=name, understood=name, why="exact") for name in names)
        result = result.model_copy(update={"words": words, "open_tags": ()})
    artifacts = {PSEUDO_MASK: encode_mask(mask)}
    if segmentation is not None:
        artifacts[SEGMENTATION] = encode_mask(_completed(mask, segmentation, rows))
    if photo is not None:
        artifacts[OVERLAY] = encode_jpeg(overlay_picture(photo, mask, side=PICTURE_SIDE))
    artifacts[RESULT] = encode_result(result)
    return Correction(result, artifacts)


def _row(name: str, mask: Mask, before: ItemResult, vocabulary: Vocabulary) -> ClassResult:
    index = vocabulary.classes[vocabulary.channel(name)].index
    area = int(np.count_nonzero(mask == index))
    known = next((row for row in before.classes if row.name == name), None)
    return ClassResult(
        name=name,
        index=index,
        area=area,
        area_ratio=area / mask.size,
        score=1.0 if area else 0.0,
        peak=known.peak if known else 0.0,
        tag_probability=known.tag_probability if known else 0.0,
    )


def _completed(mask: Mask, segmentation: Mask, rows: Iterable[ClassResult]) -> Mask:
    """Return a map without open pixels: what the person left open is what the machine said, gated by the tags."""
    kept = np.zeros(256, np.uint8)
    for row in rows:
        kept[row.index] = row.index
    return np.where(mask == IGNORE, kept[segmentation], mask)


def mean_iou(one: Mask, other: Mask) -> float:
    """Return the mean IoU of two masks of one size, over background and the classes of either; open pixels are none."""
    present = [int(index) for index in np.flatnonzero(indices_in(one) | indices_in(other)) if index != IGNORE]
    ious = []
    for index in present:
        first, second = one == index, other == index
        ious.append(np.count_nonzero(first & second) / np.count_nonzero(first | second))
    return float(np.mean(ious)) if ious else 1.0
