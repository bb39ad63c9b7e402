"""PASCAL VOC detection layout: the boxes of the regions of a mask.

    JPEGImages/<photo>.jpg         the photos; others than JPEG are converted
    Annotations/<photo>.xml        size, and an `object` a region: class and box
    ImageSets/Main/<part>.txt      the photos' names without suffix, one a line
    labels.txt                     index and name of each class, one a line

A mask knows classes, not objects: each 4-connected region is an `object`, whose box counts pixels from 1, both ends
inside. `truncated` says that the region touches the photo's border; nothing is `difficult`. Ignored pixels are in none.

References:
    VOC 2012 development kit, section 5 (Annotations).
"""

from typing import ClassVar
from xml.etree import ElementTree as ET

from toco.model.formats.item import LabelledItem
from toco.model.formats.regions import boxes_in
from toco.model.formats.voc import VocWriter


class VocBoxesWriter(VocWriter):
    """See the module."""

    name: ClassVar[str] = "voc-boxes"
    description: ClassVar[str] = "PASCAL VOC XML: the box of each region of a class"
    lists: ClassVar[str] = "ImageSets/Main"

    def write_labels(self, item: LabelledItem, stem: str) -> None:
        """See `VocWriter.write_labels`."""
        mask = self.mask_of(item)
        height, width = mask.shape
        *folder, file_name = f"{stem}.jpg".split("/")
        root = ET.Element("annotation")
        _put(root, folder="/".join(["JPEGImages", *folder]), filename=file_name)
        _put(ET.SubElement(root, "source"), database="ToCo Labeler", annotation="boxes of pseudo-mask regions")
        _put(ET.SubElement(root, "size"), width=width, height=height, depth=3)
        _put(root, segmented=0)
        for entry, box in boxes_in(mask, self.vocabulary, min_area=self.options.min_area):
            found = ET.SubElement(root, "object")
            cut = min(box.left, box.top) == 0 or box.right == width or box.bottom == height
            _put(found, name=entry.name, pose="Unspecified", truncated=int(cut), difficult=0)
            corners = {"xmin": box.left + 1, "ymin": box.top + 1, "xmax": box.right, "ymax": box.bottom}
            _put(ET.SubElement(found, "bndbox"), **corners)
        ET.indent(root)
        self.sink.write(f"Annotations/{stem}.xml", ET.tostring(root, encoding="utf-8") + b"\n")


def _put(parent: ET.Element, **fields: str | int) -> None:
    for name, value in fields.items():
        ET.SubElement(parent, name).text = str(value)
