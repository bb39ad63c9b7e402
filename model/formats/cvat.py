"""CVAT: the import format "Segmentation mask 1.1" and the mask encoding of its API.

    labelmap.txt                             name and colour of each label
    ImageSets/Segmentation/default.txt       the frames' names without suffix, one a line
    SegmentationClass/<photo>.png            RGB PNG, a colour a class
    SegmentationObject/<photo>.png           RGB PNG, a colour an instance

Import it into a task that has the photos already, under the same names; photos are not written. Each class of a photo
is one instance, or, with `components`, each of its 255 largest connected regions.

Ignored pixels are background: CVAT refuses colours that are not in the label map, and as a label of its own "ignore"
would land on the annotator's screen as a shape.

References:
    docs.cvat.ai, "Segmentation Mask" format.
    cvat-sdk 2.80, `cvat_sdk.masks.encode_mask` (semantics only).
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from toco.model.errors import InvalidOption
from toco.model.formats.artifacts import encode_png
from toco.model.formats.item import LabelledItem
from toco.model.formats.regions import classes_in, connected_regions, require_mask
from toco.model.formats.sink import Sink
from toco.model.formats.spool import LineSpool
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.names import InvalidName
from toco.model.photos.palette import PALETTE

MAX_INSTANCES = 255  # colours of the instance PNG, background taken off


def encode_runs(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask as the `points` of a CVAT shape of type `mask`.

    Args:
        mask: (H, W) bool.

    Returns:
        Row-major run lengths over the mask's box, background first (0 if the box starts with the mask), then the box
        as x1, y1, x2, y2 with both ends inside. An empty mask is one pixel of background at the top left.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    box, bits = boxed(mask)
    flat = bits.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [*([0] if flat[0] else []), *runs, *box]


def encode_bits(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask as Nuclio functions return it to CVAT: the bits of its box, then the box.

    Args:
        mask: (H, W) bool.

    Returns:
        Row-major 0 and 1 over the mask's box, then x1, y1, x2, y2 with both ends inside.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    box, bits = boxed(mask)
    return [*bits.ravel().astype(int).tolist(), *box]


def boxed(mask: npt.NDArray[np.bool_]) -> tuple[tuple[int, int, int, int], npt.NDArray[np.bool_]]:
    """Return the box (x1, y1, x2, y2; both ends inside) of an (H, W) bool mask and the part within.

    The box of an empty mask is the top left pixel.

    Raises:
        InvalidArray: the mask is not a 2-D bool array.
    """
    require_mask(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return (0, 0, 0, 0), mask[:1, :1]
    x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
    return (x1, y1, x2, y2), mask[y1 : y2 + 1, x1 : x2 + 1]


class CvatWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "cvat"
    own_names: ClassVar[bool] = True
    description: ClassVar[str] = "CVAT 'Segmentation mask 1.1'; ignored pixels are background"

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        for name in vocabulary.names:
            if ":" in name:
                raise InvalidOption(
                    f"CVAT's label map cannot hold the class name {name!r}: ':' ends a name there.",
                    fix="Rename the class, or choose another format.",
                )
        super().__init__(sink, vocabulary, options)
        self._list = self.keep(LineSpool())

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask, name = self.mask_of(item), item.plain
        if name.strip() != name or name.startswith("#"):
            raise InvalidName(
                f"CVAT's list of frames cannot hold the name {item.name!r}: it drops blanks at either end and lines "
                "that begin with '#'.",
                fix="Rename the photo, here and in the task.",
            )
        stem = self.stem_of(item)
        classes = np.where(mask == IGNORE, np.uint8(BACKGROUND), mask)
        instances = self._instances(classes)
        if self.options.components:
            classes = np.where(instances > 0, classes, np.uint8(BACKGROUND))
        self.sink.write(f"SegmentationClass/{stem}.png", _coloured(classes))
        self.sink.write(f"SegmentationObject/{stem}.png", _coloured(instances))
        self._list.add(stem)

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        with self.sink.open("ImageSets/Segmentation/default.txt") as file:
            self._list.copy_to(file)
        lines = ["# label:color_rgb:parts:actions\n"]
        for index, name in sorted(self.vocabulary.name_of_index.items()):
            colour = ",".join(str(level) for level in PALETTE[index].tolist())
            lines.append(f"{name}:{colour}::\n")
        self.sink.write("labelmap.txt", "".join(lines).encode())

    def _instances(self, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Number the instances of an (H, W) uint8 mask: 1, 2, 3, ...; the largest ones where they are too many."""
        if self.options.components:
            found = [
                region
                for _, mask in classes_in(classes, self.vocabulary)
                for region in connected_regions(mask, min_area=self.options.min_area)
            ]
            regions = [region.mask for region in sorted(found, key=lambda region: -region.area)[:MAX_INSTANCES]]
        else:
            regions = [mask for _, mask in classes_in(classes, self.vocabulary)]
        numbers = np.zeros(classes.shape, np.uint8)
        for number, region in enumerate(regions, start=1):
            numbers[region] = number
        return numbers


def _coloured(indices: npt.NDArray[np.uint8]) -> bytes:
    return encode_png(Image.fromarray(PALETTE[indices]))
