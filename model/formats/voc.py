"""PASCAL VOC segmentation layout.

    JPEGImages/<photo>.jpg               the photos; others than JPEG are converted
    SegmentationClass/<photo>.png        palette PNG, mask indices
    ImageSets/Segmentation/<part>.txt    the photos' names without suffix, one a line
    labels.txt                           index and name of each class, one a line

Ignored pixels keep the index 255, which is VOC's own "void".

References:
    VOC 2012 development kit, sections 3.2 and 7.
"""

from collections import defaultdict
from typing import ClassVar

from toco.model.formats.item import LabelledItem
from toco.model.formats.sink import Sink
from toco.model.formats.splits import listed_parts
from toco.model.formats.spool import LineSpool
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import Vocabulary


def labels_list(vocabulary: Vocabulary) -> bytes:
    """Return the lines `<index><tab><name>` of a vocabulary, background first."""
    return "".join(f"{index}\t{name}\n" for index, name in sorted(vocabulary.name_of_index.items())).encode()


class VocWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "voc"
    description: ClassVar[str] = "PASCAL VOC: palette PNGs, 255 = ignore"
    lists: ClassVar[str] = "ImageSets/Segmentation"
    """Folder of the lists of photos."""

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        super().__init__(sink, vocabulary, options)
        self._lists = defaultdict[str, LineSpool](lambda: self.keep(LineSpool()))

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        self.mask_of(item)  # raises before anything is written
        photo, stem = self.photo_of(item, jpeg_only=True), self.stem_of(item)
        if photo:
            self.sink.write(f"JPEGImages/{stem}{photo[0]}", photo[1])
        self.write_labels(item, stem)
        self._lists[self.part_of(item)].add(stem)

    def write_labels(self, item: LabelledItem, stem: str) -> None:
        """Write what is known of a photo."""
        self.sink.write(f"SegmentationClass/{stem}.png", item.mask_png(self.options.which))

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        for part in listed_parts(self._lists) or [self.options.subset]:
            with self.sink.open(f"{self.lists}/{part}.txt") as file:
                self._lists[part].copy_to(file)
        self.sink.write("labels.txt", labels_list(self.vocabulary))
