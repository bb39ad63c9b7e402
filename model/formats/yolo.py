"""Ultralytics YOLO: segmentation, and detection with the boxes of the same regions.

    images/<part>/<photo>       the photos
    labels/<part>/<photo>.txt   a line a region
    data.yaml                   paths and class names

A line is the class, then shares of width and height: x and y of each corner (`yolo-seg`), or the box's centre, width
and height (`yolo`). The class is the 0-based position in `names`, not the mask index. YOLO learns objects, and a mask
knows none: each 4-connected region is a line. The holes of an outline hang on cuts. Ignored pixels are background: YOLO
has no ignore. A photo that shows no class gets an empty file, which YOLO takes for background.

References:
    docs.ultralytics.com/datasets/segment and /detect, "Ultralytics YOLO format".
"""

import json
from collections.abc import Iterator
from typing import ClassVar

from toco.model.formats.item import LabelledItem
from toco.model.formats.regions import boxes_in
from toco.model.formats.splits import listed_parts
from toco.model.formats.writer import ExportWriter


class YoloSegWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "yolo-seg"
    description: ClassVar[str] = "Ultralytics YOLO segmentation; ignored pixels are background"
    jpeg_for: ClassVar[frozenset[str]] = frozenset({"GIF", "HEIF", "AVIF"})

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        self.mask_of(item)  # raises before anything is written
        photo = self.photo_of(item)
        stem, part = self.stem_of(item), self.part_of(item)
        lines = "".join(f"{line}\n" for line in self._lines(item))
        if photo:
            self.sink.write(f"images/{part}/{stem}{photo[0]}", photo[1])
        self.sink.write(f"labels/{part}/{stem}.txt", lines.encode())

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        parts = listed_parts(self.parts) or [self.options.subset]
        train = "train" if "train" in parts else parts[0]
        # Without `path`, Ultralytics takes the folder of data.yaml itself; `path: .` would be the working directory.
        folders = {"train": train} | {part: part for part in parts}
        text = "".join(f"{key}: images/{part}\n" for key, part in folders.items())
        if "val" not in folders:  # Ultralytics does not start without
            text += f"val: images/{train} # the same photos: nothing was set apart, see the option `split`\n"
        names = "".join(f"  {channel}: {json.dumps(name)}\n" for channel, name in enumerate(self.vocabulary.names))
        self.sink.write("data.yaml", f"{text}names:\n{names}".encode())

    def plain_name(self, part: str) -> str:
        """See `ExportWriter.plain_name`; Ultralytics takes the last `images` of a path for the one beside `labels`."""
        return "images_" if part == "images" else super().plain_name(part)

    def _lines(self, item: LabelledItem) -> Iterator[str]:
        height, width = self.mask_of(item).shape
        tolerance, min_area = self.options.tolerance, self.options.min_area
        for shown in self.classes_of(item):
            channel = self.vocabulary.channel(shown.entry.name)
            self.outlines.add(shown.entry.name, shown.overlap(tolerance=tolerance, min_area=min_area))
            for polygon in shown.polygons(tolerance=tolerance, min_area=min_area):
                shares = (polygon.bridged() / (width, height)).ravel().tolist()
                yield f"{channel}{' %.6g' * len(shares) % tuple(shares)}"


class YoloWriter(YoloSegWriter):
    """See the module; boxes."""

    name: ClassVar[str] = "yolo"
    description: ClassVar[str] = "Ultralytics YOLO detection: the box of each region of a class"

    def _lines(self, item: LabelledItem) -> Iterator[str]:
        mask = self.mask_of(item)
        height, width = mask.shape
        for entry, box in boxes_in(mask, self.vocabulary, min_area=self.options.min_area):
            centre = f"{(box.left + box.right) / 2 / width:.6g} {(box.top + box.bottom) / 2 / height:.6g}"
            sides = f"{(box.right - box.left) / width:.6g} {(box.bottom - box.top) / height:.6g}"
            yield f"{self.vocabulary.channel(entry.name)} {centre} {sides}"
