"""COCO's run lengths of masks, and what outlines lose of a mask, counted on them.

References:
    pycocotools `_mask.pyx` (compressed RLE: column-major run lengths).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from toco.model.formats.polygons import Polygon
from toco.model.formats.regions import require_mask

Rle = dict[str, Any]
"""`size`: [H, W]; `counts`: compressed run lengths as text."""


def encode_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """Encode an (H, W) bool mask as COCO's compressed RLE, ready for JSON.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    require_mask(mask)
    # Columns one after the other, as RLE runs; OpenCV transposes large masks many times faster than NumPy.
    rle = coco_mask.encode(cv2.transpose(mask.view(np.uint8)).T)
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def rle_box(rle: Rle) -> list[float]:
    """Return the box of an RLE as [x, y, width, height] in pixels."""
    return [float(value) for value in coco_mask.toBbox(rle)]


class Overlap(NamedTuple):
    """How well polygons fit the mask that they stand for.

    Attributes:
        common: pixels that are in both.
        either: pixels that are in one of the two.
    """

    common: int
    either: int


def overlap(rle: Rle, area: int, polygons: Sequence[Polygon]) -> Overlap:
    """Compare polygons with the mask of `area` pixels that run lengths describe."""
    if not polygons:
        return Overlap(0, area)
    rings = [polygon.bridged().ravel().tolist() for polygon in polygons]
    found = coco_mask.merge(coco_mask.frPyObjects(rings, *rle["size"]))
    common = int(coco_mask.area(coco_mask.merge([found, rle], intersect=True)))
    return Overlap(common, area + int(coco_mask.area(found)) - common)


class OutlineCost:
    """What polygons lose of the masks that they stand for, by class.

    Attributes:
        common: pixels that are in both, by class.
        either: pixels that are in one of the two, by class.
    """

    def __init__(self) -> None:
        self.common: Counter[str] = Counter()
        self.either: Counter[str] = Counter()

    def add(self, name: str, found: Overlap) -> None:
        """Add the polygons of a class."""
        self.common[name] += found.common
        self.either[name] += found.either

    def mean_iou(self) -> float | None:
        """Return the mean of the classes' IoU, or None where nothing was compared."""
        found = self.iou()
        return round(sum(found.values()) / len(found), 5) if found else None

    def iou(self) -> dict[str, float]:
        """Return the IoU (0..1) of polygons and masks by class, over all pixels of all photos."""
        return {name: round(self.common[name] / either, 5) for name, either in self.either.items() if either}
