"""Raw class activation maps as NumPy archives.

    cams/<photo>.npz    `cams` (K, h, w) in 0..1, `names` (K,), `indices` (K,) uint8, `size` (2,) int64 (H, W)
    labels.txt          index and name of each class, one a line

The maps have the size at which they were refined: the photo's own, unless it was shrunk. A map has no ignored pixels;
these only come about when maps become masks.
"""

from typing import ClassVar

import numpy as np

from toco.model.formats.artifacts import encode_npz
from toco.model.formats.item import LabelledItem, MissingPart
from toco.model.formats.voc import labels_list
from toco.model.formats.writer import ExportWriter


class NpzWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "npz"
    description: ClassVar[str] = "raw CAMs as NumPy archives"

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        cams = item.cams
        if cams is None:
            raise MissingPart(f"The CAMs of {item.name!r} are not at hand.", fix="Label with the output `cam`.")
        data = encode_npz(
            cams=cams.maps.astype(self.options.cam_dtype),
            names=np.array(cams.names, dtype=np.str_),
            indices=cams.indices,
            size=np.array(cams.size, np.int64),
        )
        self.sink.write(f"cams/{self.stem_of(item)}.npz", data)

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        self.sink.write("labels.txt", labels_list(self.vocabulary))
