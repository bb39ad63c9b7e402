"""Masks without classes, made elsewhere (by SAM and the like), merged into a label. Not in the paper.

Such masks follow edges better than a label does, but do not know what they show; the label knows it.

References:
    Chen et al., "Segment Anything Model (SAM) Enhanced Pseudo Labels for Weakly Supervised Semantic Segmentation"
    (arXiv 2305.05803): which mask belongs to which class.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from toco.model.options import Frozen, MaskMerge
from toco.model.photos.classes import BACKGROUND, IGNORE

Pixels = npt.NDArray[np.int32 | np.int64]
"""(n,) places of a mask's pixels in the photo, counted along rows: `y * W + x`, each once."""

BAND: Final = 4_000_000  # pixels at a time: numpy widens what it counts and what it is indexed by to 8 bytes each

LabelMask = npt.NDArray[np.uint8]
"""(H, W) uint8 mask indices, 0 background, 255 ignore."""

ForeignMask = Callable[[], Pixels]
"""Makes the pixels of a mask when they are asked for: thousands of large masks need not be in memory at once."""


class MaskCounts(Frozen):
    """Masks without classes that were merged into a label.

    Attributes:
        given: masks of the photo.
        taken: those of them that belong to a class.
    """

    given: int
    taken: int


def class_of(
    counts: npt.NDArray[np.int64], areas: npt.NDArray[np.int64], options: MaskMerge, *, covering: bool = True
) -> int | None:
    """Return the mask index of the class that a mask belongs to, or None.

    More than `options.within` of the mask lies in the class's region; or the mask covers `options.covers` of the
    region of that class alone, and at least `options.filled` of the mask lies in it.

    Args:
        counts: (256,) pixels of the mask by the index that the label gives them.
        areas: (256,) pixels of the label by index.
        options: the shares.
        covering: whether the second rule counts.
    """
    classes = np.arange(BACKGROUND + 1, IGNORE)
    total = int(counts.sum())
    if not total:
        return None
    best = int(classes[counts[classes].argmax()])
    if counts[best] > options.within * total:
        return best
    shown = classes[areas[classes] > 0]
    covered = shown[counts[shown] >= options.covers * areas[shown]]
    if covering and len(covered) == 1 and counts[covered[0]] >= options.filled * total:
        return int(covered[0])
    return None


def merge_masks(
    mask: LabelMask, masks: Sequence[ForeignMask], options: MaskMerge, *, covering: bool = True
) -> tuple[LabelMask, MaskCounts]:
    """Give the pixels of masks to the classes that they belong to; smaller masks lie over larger ones.

    A mask that belongs to no class changes nothing. Where `options.rest` is `open`, what a class had and none of its
    masks has is left open; a class that no mask belongs to stays as it is.

    Args:
        mask: of the label.
        masks: of the same photo at the same size.
        options: which mask belongs to which class.
        covering: whether a mask that covers a class's region may belong to it although it is mostly outside.
    """
    flat = mask.ravel()
    areas = _counted(flat)
    taken: list[tuple[int, int, ForeignMask]] = []
    for load in masks:
        counts = sum((_counted(flat[places]) for places in bands(load())), np.zeros(256, np.int64))
        index = class_of(counts, areas, options, covering=covering)
        if index is not None:
            taken.append((int(counts.sum()), index, load))
    start = np.arange(256, dtype=np.uint8)
    if options.rest == "open":
        start[[index for _, index, _ in taken]] = IGNORE
    merged = np.asarray(cv2.LUT(mask, start), np.uint8).reshape(-1)
    for _, index, load in sorted(taken, key=lambda entry: -entry[0]):
        for places in bands(load()):
            merged[places] = index
    return merged.reshape(mask.shape), MaskCounts(given=len(masks), taken=len(taken))


def places_in(mask: npt.NDArray[np.bool_]) -> Pixels:
    """Return the places of the pixels of an (H, W) bool mask, in memory of four bytes for each."""
    places = np.empty(np.count_nonzero(mask), np.int32)
    filled, rows = 0, max(1, BAND // max(1, mask.shape[1]))
    for top in range(0, mask.shape[0], rows):
        found = np.flatnonzero(mask[top : top + rows])
        places[filled : filled + len(found)] = found + top * mask.shape[1]
        filled += len(found)
    return places


def bands(values: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[Any]]:
    """Yield views of an array, `BAND` rows at a time."""
    return (values[start : start + BAND] for start in range(0, len(values), BAND))


def _counted(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return (256,) how often each value is there."""
    return sum((np.bincount(part, minlength=256) for part in bands(values)), np.zeros(256, np.int64))


def merge_into_label(
    pseudo_mask: LabelMask,
    segmentation: LabelMask | None,
    masks: Sequence[ForeignMask],
    options: MaskMerge,
    *,
    covering: bool,
) -> tuple[LabelMask, LabelMask | None, MaskCounts | None]:
    """Merge masks into both masks of a label, see `merge_masks`; the counts are those of the pseudo mask."""
    if not masks:
        return pseudo_mask, segmentation, None
    if segmentation is not None:
        segmentation, _ = merge_masks(segmentation, masks, options, covering=covering)
    pseudo_mask, counts = merge_masks(pseudo_mask, masks, options, covering=covering)
    return pseudo_mask, segmentation, counts
