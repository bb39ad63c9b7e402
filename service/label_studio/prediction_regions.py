"""A label as the regions of a Label Studio prediction.

A brush region is the very mask of its label. Only one whose RLE would pass a limit is smoothed, since the page decodes
every brush region to a picture of the photo's size and hangs on too many or too long ones (label-studio issue 4940);
for the same reason a prediction holds a limited number of regions. Polygons are simplified as far as the mask allows.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from toco.model.formats.item import LabelledItem
from toco.model.formats.label_studio import Canvas, RegionKind, encode_brush_rle
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import connected_regions, drop_specks
from toco.model.formats.rle import encode_rle
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.service.label_studio.labelling_config import Control, LabellingConfig
from toco.service.label_studio.project_options import ProjectOptions

logger = logging.getLogger(__name__)

FOUND_BY_MODEL: Final = "Tags found by the classifier, not given by a person."

_DRAWN: Final[tuple[RegionKind, ...]] = ("brush", "polygon", "rectangle", "keypoint")  # the later, the higher
_RUN_BYTES: Final = 27 / 8  # at most, in the brush RLE: 3 + 16 + 8 bits
_SPECKS: Final = (16, 64, 256, 1024)  # pixels
_MEDIANS: Final = (5, 9, 17, 33)  # sides of the window in pixels

_TIGHTER: Final = (1.0, 0.5, 0.25, 0.0)
_LEAST_IOU: Final = 0.98
_MOST_CORNERS: Final = 20_000

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LabelMask:
    """What of a photo one label of the config covers.

    Attributes:
        label: its value.
        classes: of the model, one or several.
        mask: (H, W) bool.
        score: 0..1, mean over the classes by area; None where no class has one.
    """

    label: str
    classes: tuple[str, ...]
    mask: Mask
    score: float | None


class RegionBuilder:
    """Makes the regions of one label for every control of a config.

    Classes that a control has no label for are left out, and ignored pixels are in no region.

    Args:
        item: the label.
        config: where its regions go.
        vocabulary: of the model.
        options: of the project.
    """

    def __init__(
        self, item: LabelledItem, config: LabellingConfig, vocabulary: Vocabulary, options: ProjectOptions
    ) -> None:
        self._item = item
        self._config = config
        self._vocabulary = vocabulary
        self._options = options
        self._wanted = frozenset(options.regions or _DRAWN)
        height, width = item.pseudo_mask.shape
        self._canvas = Canvas(height=height, width=width, to_name=config.image_name, key=item.name)

    def refined(self, *, without: frozenset[RegionKind] = frozenset()) -> list[dict[str, Any]]:
        """Return the regions of the pseudo mask, and key points where its CAMs peak.

        Args:
            without: kinds that are not wanted now.
        """
        return self._regions(self._item.pseudo_mask, self._wanted - without)

    def unrefined(self, *, threshold: float) -> list[dict[str, Any]]:
        """Return the regions where the CAM of a tag is the highest and over a threshold (0..1)."""
        cams = self._item.cams
        if cams is None or not cams.names:
            return []
        height, width = self._item.pseudo_mask.shape
        maps = np.stack(
            [cv2.resize(cam.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) for cam in cams.maps]
        )
        mask = np.where(maps.max(axis=0) >= threshold, cams.indices[maps.argmax(axis=0)], 0).astype(np.uint8)
        return self._regions(mask, self._wanted - {"keypoint"})  # key points are those of the refined prediction

    def _regions(self, mask: npt.NDArray[np.uint8], kinds: frozenset[RegionKind]) -> list[dict[str, Any]]:
        made: list[tuple[float, dict[str, Any]]] = []
        for control in sorted(self._config.controls, key=lambda control: _DRAWN.index(control.kind)):
            if control.kind in kinds:
                for found in label_masks(self._item, mask, control, self._vocabulary):
                    made += self._of_kind(control, found)
        most = self._options.max_regions
        if len(made) > most:
            logger.warning("regions left out", extra={"item": self._item.name, "made": len(made), "kept": most})
            largest = sorted(range(len(made)), key=lambda position: -made[position][0])[:most]
            made = [made[position] for position in sorted(largest)]
        regions = [region for _, region in made]
        if self._item.result.tag_source == "model":
            regions = [region | {"meta": {"text": [FOUND_BY_MODEL]}} for region in regions]
        return regions

    def _of_kind(self, control: Control, found: LabelMask) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the regions of one label with their areas in pixels."""
        canvas, options = self._canvas, self._options
        name, label, score = control.name, found.label, found.score
        area = float(found.mask.sum())
        if control.kind == "brush":
            mask = brush_mask(found.mask, max_rle_bytes=options.max_rle_bytes)
            if mask is not None:
                yield area, canvas.brush(mask, label, from_name=name, score=score)
        elif control.kind == "polygon":
            tolerance, min_area = faithful_outline(found.mask, tolerance=options.tolerance, min_area=options.min_area)
            outlines = mask_to_polygons(found.mask, tolerance=tolerance, min_area=min_area)
            for polygon in canvas.polygons(outlines, label, from_name=name, score=score):
                yield self._polygon_area(polygon["value"]["points"]), polygon
        elif control.kind == "rectangle":
            parts = connected_regions(found.mask, min_area=max(1, options.min_area))
            for part in islice(parts, options.max_regions):
                rectangle = canvas.rectangle(part.mask, label, from_name=name, score=score)
                if rectangle is not None:
                    yield part.area, rectangle
        else:
            yield from ((area, point) for point in self._key_points(control, found))

    def _key_points(self, control: Control, found: LabelMask) -> Iterator[dict[str, Any]]:
        cams = self._item.cams
        if cams is None:
            return
        for class_name in found.classes:
            if class_name in cams.names:
                cam = cams.maps[cams.names.index(class_name)]
                yield self._canvas.keypoint(cam, found.label, from_name=control.name)

    def _polygon_area(self, points: list[list[float]]) -> float:
        x, y = np.array(points).T  # percent of the photo
        share = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2 / 100**2
        return share * self._canvas.height * self._canvas.width


def label_masks(
    item: LabelledItem, mask: npt.NDArray[np.uint8], control: Control, vocabulary: Vocabulary
) -> Iterator[LabelMask]:
    """Yield what each label of a control covers; classes that share a label are joined.

    Args:
        item: has the scores.
        mask: (H, W) uint8 mask indices.
        control: of the labelling config.
        vocabulary: of the mask.
    """
    areas = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    label_of = control.label_of_class(vocabulary)
    for label in dict.fromkeys(label_of.values()):
        shown = [entry for entry in vocabulary if label_of.get(entry.name) == label and areas[entry.index]]
        if shown:
            scored = [(item.result.class_score(entry.name), int(areas[entry.index])) for entry in shown]
            known = [(score, area) for score, area in scored if score is not None]
            total = sum(area for _, area in known)
            yield LabelMask(
                label=label,
                classes=tuple(entry.name for entry in shown),
                mask=np.isin(mask, [entry.index for entry in shown]),
                score=sum(score * area for score, area in known) / total if total else None,
            )


def brush_mask(mask: Mask, *, max_rle_bytes: int) -> Mask | None:
    """Return a mask whose brush RLE has at most so many bytes: the very mask if it can be, else a smoother one.

    Args:
        mask: (H, W) bool.
        max_rle_bytes: limit.

    Returns:
        The mask; or the mask without specks and pinholes, then with a median over ever larger windows, whichever
        comes first to fit. None if nothing is left of it, or it cannot be made to fit.
    """
    if _fits(mask, max_rle_bytes):
        return mask
    logger.warning("brush region smoothed", extra={"shape": mask.shape, "max_rle_bytes": max_rle_bytes})
    for smoother in _smoother(mask):
        if _fits(smoother, max_rle_bytes):
            return smoother if smoother.any() else None
    return None


def faithful_outline(mask: Mask, *, tolerance: float, min_area: int) -> tuple[float, int]:
    """Return how far polygons of a mask may be simplified and still be that mask.

    Small and thin masks lose more by the same tolerance. It is tightened until the polygons have an IoU of 0.98 with
    the mask, unless that takes more corners than the page draws smoothly.

    Args:
        mask: (H, W) bool, not empty.
        tolerance: as wished, in pixels.
        min_area: as wished, in pixels.

    Returns:
        The tolerance and the smallest area in force.
    """
    truth = encode_rle(mask)
    chosen = tolerance, min_area
    for part in _TIGHTER:
        tighter = tolerance * part, int(min_area * part)
        polygons = mask_to_polygons(mask, tolerance=tighter[0], min_area=tighter[1])
        rings = [polygon.bridged().ravel().tolist() for polygon in polygons]
        if part < 1 and sum(map(len, rings)) > 2 * _MOST_CORNERS:
            break
        chosen = tighter
        if rings:
            drawn = coco_mask.merge(coco_mask.frPyObjects(rings, *mask.shape))
            if float(coco_mask.iou([drawn], [truth], [0])[0, 0]) >= _LEAST_IOU:
                break
    return chosen


def _smoother(mask: Mask) -> Iterator[Mask]:
    for min_area in _SPECKS:
        yield drop_specks(mask, min_area)
    for side in _MEDIANS:
        median = cv2.medianBlur(mask.astype(np.uint8) * np.uint8(255), side) > 0
        yield drop_specks(median, side * side)


def _fits(mask: Mask, most: int) -> bool:
    flat = mask.ravel()
    runs = 1 + int(np.count_nonzero(flat[1:] != flat[:-1]))
    return runs * _RUN_BYTES <= most or len(encode_brush_rle(mask)) <= most
