"""Ultralytics YOLO segmentation.

    images/<subset>/<photo>       the photos
    labels/<subset>/<photo>.txt   a line a region: class, then x and y of each corner as shares of width and height
    data.yaml                     paths and class names

The class is the 0-based position in `names`, not the mask index. Each 4-connected region is a line, as YOLO learns
objects; its holes hang on cuts. Ignored pixels are background: YOLO has no ignore. A photo that shows no class gets an
empty file, which YOLO takes for background.

References:
    docs.ultralytics.com/datasets/segment, "Ultralytics YOLO format".
"""

import json
from typing import ClassVar

from toco.model.formats.item import LabelledItem
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import classes_in
from toco.model.formats.writer import ExportWriter


class YoloSegWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "yolo-seg"
    description: ClassVar[str] = "Ultralytics YOLO segmentation; ignored pixels are background"

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask, photo, stem = self.mask_of(item), self.photo_of(item), self.stem_of(item)
        height, width = mask.shape
        lines = []
        for entry, region in classes_in(mask, self.vocabulary):
            channel = self.vocabulary.channel(entry.name)
            polygons = mask_to_polygons(region, tolerance=self.options.tolerance, min_area=self.options.min_area)
            for polygon in polygons:
                corners = " ".join(f"{x / width:.6g} {y / height:.6g}" for x, y in polygon.bridged().tolist())
                lines.append(f"{channel} {corners}\n")
        if photo:
            self.sink.write(f"images/{self.options.subset}/{stem}{photo[0]}", photo[1])
        self.sink.write(f"labels/{self.options.subset}/{stem}.txt", "".join(lines).encode())

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        folder = f"images/{self.options.subset}"
        names = "".join(f"  {channel}: {json.dumps(name)}\n" for channel, name in enumerate(self.vocabulary.names))
        # Without `path`, Ultralytics takes the folder of data.yaml itself; `path: .` would be the working directory.
        # Validation needs a folder; the user splits the set or names another one.
        self.sink.write("data.yaml", f"train: {folder}\nval: {folder}\nnames:\n{names}".encode())
