"""COCO instances: one JSON file for all photos, masks as RLE or polygons.

    annotations/instances_<part>.json    COCO's object detection layout
    images/<photo>                       the photos

A semantic mask knows classes, not objects: there is one annotation a class and photo (`iscrowd` 0, since 1 would make
training tools skip it), or, with `components`, one a connected region. `category_id` is the class's mask index.
`score`, as in COCO's result files, is the class's CAM score; a class without tag has none.

Ignored pixels are in no annotation: COCO has no place for them. A photo that shows no class keeps its `images` entry.

References:
    cocodataset.org, "Data format", section 1 (object detection).
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from toco.model.formats.item import LabelledItem
from toco.model.formats.rle import rle_box
from toco.model.formats.shown_class import ShownClass
from toco.model.formats.sink import Sink
from toco.model.formats.splits import listed_parts
from toco.model.formats.spool import JsonSpool, compact_json
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import Vocabulary


class CocoWriter(ExportWriter):
    """See the module; masks as RLE."""

    name: ClassVar[str] = "coco"
    description: ClassVar[str] = "COCO instances JSON, masks as RLE; ignored pixels left out"

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        super().__init__(sink, vocabulary, options)
        # Photos and annotations, by part.
        self._lists = defaultdict[str, tuple[JsonSpool, JsonSpool]](
            lambda: (self.keep(JsonSpool()), self.keep(JsonSpool()))
        )

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask, photo = self.mask_of(item), self.photo_of(item)
        stem, file_name = self.stem_of(item), item.name
        if photo:
            file_name = f"{stem}{photo[0]}"
            self.sink.write(f"images/{file_name}", photo[1])
        images, annotations = self._lists[self.part_of(item)]
        image_id = len(images) + 1
        height, width = mask.shape
        images.add({"id": image_id, "file_name": file_name, "height": height, "width": width})
        for shown, shape in self._instances(item):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": shown.entry.index,
                **shape,
                "iscrowd": 0,
            }
            score = item.result.class_score(shown.entry.name)
            annotations.add(annotation if score is None else annotation | {"score": round(score, 4)})

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        categories = [{"id": entry.index, "name": entry.name, "supercategory": ""} for entry in self.vocabulary]
        for part in listed_parts(self._lists) or [self.options.subset]:
            images, annotations = self._lists[part]
            with self.sink.open(f"annotations/instances_{part}.json") as file:
                file.write(b'{"info":{},"licenses":[],"categories":' + compact_json(categories) + b',\n"images":')
                images.copy_to(file)
                file.write(b',\n"annotations":')
                annotations.copy_to(file)
                file.write(b"}\n")

    def _instances(self, item: LabelledItem) -> Iterator[tuple[ShownClass, dict[str, Any]]]:
        for shown in self.classes_of(item):
            for part in shown.parts(min_area=self.options.min_area) if self.options.components else (shown,):
                shape = self._shape(part)
                if shape is not None:
                    yield part, shape

    def _shape(self, shown: ShownClass) -> dict[str, Any] | None:
        return {"segmentation": shown.rle, "area": shown.area, "bbox": rle_box(shown.rle)}


class CocoPolygonsWriter(CocoWriter):
    """See the module; masks as polygons, holes on a cut (COCO's polygons know no holes)."""

    name: ClassVar[str] = "coco-polygons"
    description: ClassVar[str] = "COCO instances JSON, masks as polygons; ignored pixels left out"

    def _shape(self, shown: ShownClass) -> dict[str, Any] | None:
        tolerance, min_area = self.options.tolerance, self.options.min_area
        polygons = shown.polygons(tolerance=tolerance, min_area=min_area)
        self.outlines.add(shown.entry.name, shown.overlap(tolerance=tolerance, min_area=min_area))
        if not polygons:
            return None
        corners = np.concatenate([polygon.outer for polygon in polygons])
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return {
            "segmentation": [polygon.bridged().ravel().tolist() for polygon in polygons],
            "area": sum(polygon.area for polygon in polygons),
            "bbox": [left, top, right - left, bottom - top],
        }
