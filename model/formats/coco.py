"""COCO instances: one JSON file for all photos, masks as RLE or polygons.

    annotations/instances_<subset>.json    COCO's object detection layout
    images/<photo>                         the photos

A semantic mask knows classes, not objects: there is one annotation a class and photo (`iscrowd` 0, since 1 would make
training tools skip it), or, with `components`, one a connected region. `category_id` is the class's mask index.
`score`, as in COCO's result files, is the class's CAM score; a class without tag has none.

Ignored pixels are in no annotation: COCO has no place for them. A photo that shows no class keeps its `images` entry.

References:
    cocodataset.org, "Data format", section 1 (object detection).
    pycocotools `_mask.pyx` (compressed RLE: column-major run lengths).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from toco.model.formats.item import LabelledItem
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import classes_in, connected_regions, require_mask
from toco.model.formats.sink import Sink
from toco.model.formats.spool import JsonSpool, compact_json
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import ClassName, Vocabulary

Rle = dict[str, Any]
"""`size`: [H, W]; `counts`: compressed run lengths as text."""


def encode_rle(mask: npt.NDArray[np.bool_]) -> Rle:
    """Encode an (H, W) bool mask as COCO's compressed RLE, ready for JSON.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    require_mask(mask)
    # Columns one after the other, as RLE runs; OpenCV transposes large masks many times faster than NumPy.
    rle = coco_mask.encode(cv2.transpose(mask.astype(np.uint8)).T)
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def rle_box(rle: Rle) -> list[float]:
    """Return the box of an RLE as [x, y, width, height] in pixels."""
    return [float(value) for value in coco_mask.toBbox(rle)]


class CocoWriter(ExportWriter):
    """See the module; masks as RLE."""

    name: ClassVar[str] = "coco"
    description: ClassVar[str] = "COCO instances JSON, masks as RLE; ignored pixels left out"

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        super().__init__(sink, vocabulary, options)
        self._images = self.keep(JsonSpool())
        self._annotations = self.keep(JsonSpool())

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask, photo = self.mask_of(item), self.photo_of(item)
        file_name = item.name
        if photo:
            file_name = f"{self.stem_of(item)}{photo[0]}"
            self.sink.write(f"images/{file_name}", photo[1])
        image_id = len(self._images) + 1
        height, width = mask.shape
        self._images.add({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for entry, region in self._instances(mask):
            shape = self._shape(region)
            if shape is None:
                continue
            annotation = {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": entry.index,
                **shape,
                "iscrowd": 0,
            }
            score = item.result.class_score(entry.name)
            self._annotations.add(annotation if score is None else annotation | {"score": round(score, 4)})

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        categories = [{"id": entry.index, "name": entry.name, "supercategory": ""} for entry in self.vocabulary]
        with self.sink.open(f"annotations/instances_{self.options.subset}.json") as file:
            file.write(b'{"info":{},"licenses":[],"categories":' + compact_json(categories) + b',\n"images":')
            self._images.copy_to(file)
            file.write(b',\n"annotations":')
            self._annotations.copy_to(file)
            file.write(b"}\n")

    def _instances(self, mask: npt.NDArray[np.uint8]) -> Iterator[tuple[ClassName, npt.NDArray[np.bool_]]]:
        for entry, region in classes_in(mask, self.vocabulary):
            if self.options.components:
                for part in connected_regions(region, min_area=self.options.min_area):
                    yield entry, part.mask
            else:
                yield entry, region

    def _shape(self, region: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
        rle = encode_rle(region)
        return {"segmentation": rle, "area": int(coco_mask.area(rle)), "bbox": rle_box(rle)}


class CocoPolygonsWriter(CocoWriter):
    """See the module; masks as polygons, holes on a cut (COCO's polygons know no holes)."""

    name: ClassVar[str] = "coco-polygons"
    description: ClassVar[str] = "COCO instances JSON, masks as polygons; ignored pixels left out"

    def _shape(self, region: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
        polygons = mask_to_polygons(region, tolerance=self.options.tolerance, min_area=self.options.min_area)
        if not polygons:
            return None
        corners = np.concatenate([polygon.outer for polygon in polygons])
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return {
            "segmentation": [polygon.bridged().ravel().tolist() for polygon in polygons],
            "area": sum(polygon.area for polygon in polygons),
            "bbox": [left, top, right - left, bottom - top],
        }
