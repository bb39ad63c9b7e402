"""Label Studio: regions as its editor draws them, the labelling config, and tasks with predictions.

    tasks.json             a task a photo: `data` (`image`, `tags`) and one prediction
    label_config.xml       the labelling config that the regions fit
    images/<photo>         the photos

Brush regions are exact. Polygons are simplified; holes hang on cuts, since its polygons know none. Ignored pixels are
in no region, and so are left to the annotator.

References:
    labelstud.io/guide/predictions and labelstud.io/tags (BrushLabels, PolygonLabels, RectangleLabels, KeyPointLabels).
    label-studio-sdk 2.1, `converter/brush.py` (semantics of the brush RLE, after the rle-pack format of thi.ng).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from toco.model.errors import InvalidArray
from toco.model.formats.item import LabelledItem
from toco.model.formats.polygons import Polygon
from toco.model.formats.regions import require_mask
from toco.model.formats.sink import Sink
from toco.model.formats.spool import JsonSpool
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import Vocabulary
from toco.model.photos.palette import PALETTE

RegionKind = Literal["brush", "polygon", "rectangle", "keypoint"]

# The brush RLE: a word is one byte, a run's length is written in one of these numbers of bits.
_WORD_BITS: Final = 8
_SIZE_BITS: Final = (3, 4, 8, 16)
_CHANNELS: Final = 4  # RGBA
_FILL: Final = 255

KEYPOINT_WIDTH: Final = 1.0
"""Size in percent at which a key point is drawn."""


def encode_brush_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask as the `rle` of a brush region.

    Args:
        mask: (H, W) bool.

    Returns:
        The bytes, 0..255, of an RLE of the row-major RGBA picture that is 255 in all channels inside the mask, 0
        outside. It is a bit stream, most significant bit first: 32 bits number of values, 5 bits word size - 1, four
        times 4 bits size - 1; then for each run 1 bit "repeat", 2 bits which size, the length - 1, and the value.

    Raises:
        InvalidArray: the mask is not a 2-D bool array, or too large for the format.
    """
    require_mask(mask)
    values_total = mask.size * _CHANNELS
    if values_total >= 1 << 32:
        raise InvalidArray(f"A mask of {mask.shape} pixels.", fix="Brush regions hold under 2**30 pixels.")
    flat = mask.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(starts, prepend=0, append=flat.size) * _CHANNELS
    inside = flat[np.concatenate([[0], starts])]

    longest = 1 << _SIZE_BITS[-1]
    pieces = -(-lengths // longest)  # a longer run is written as several
    last = np.cumsum(pieces) - 1
    runs = np.full(int(pieces.sum()), longest, np.int64)
    runs[last] = lengths - (pieces - 1) * longest
    inside = np.repeat(inside, pieces)

    limits = 1 << np.array(_SIZE_BITS)
    which = np.searchsorted(limits, runs)
    size = np.array(_SIZE_BITS)[which]
    codes = (((4 | which) << size | (runs - 1)) << _WORD_BITS) | np.where(inside, _FILL, 0)
    header = [(values_total, 32), (_WORD_BITS - 1, 5), *((bits - 1, 4) for bits in _SIZE_BITS)]
    codes = np.concatenate([[value for value, _ in header], codes])
    widths = np.concatenate([[bits for _, bits in header], 3 + size + _WORD_BITS])
    return _packed(codes, widths)


def _packed(codes: npt.NDArray[np.int64], widths: npt.NDArray[np.int64]) -> list[int]:
    """Write numbers one after the other, each in its own number of bits, and fill up with zeros to whole bytes."""
    ends = np.cumsum(widths)
    shift = np.repeat(ends, widths) - 1 - np.arange(ends[-1])
    bits = (np.repeat(codes, widths) >> shift) & 1
    packed: list[int] = np.packbits(bits.astype(np.uint8)).tolist()
    # The format's own encoder always ends in a partly or wholly empty byte.
    return packed if ends[-1] % 8 else [*packed, 0]


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where regions are drawn.

    Attributes:
        height, width: of the photo in pixels.
        to_name: name of the config's `Image` tag.
        key: makes the regions' ids; the same key gives the same ids.
    """

    height: int
    width: int
    to_name: str = "image"
    key: str = ""

    def region(
        self, kind: RegionKind, label: str, value: dict[str, Any], *, from_name: str | None, score: float | None
    ) -> dict[str, Any]:
        """Return a region around a kind's own `value`.

        Args:
            kind: which tag of the config draws it.
            label: the label's `value` in the config.
            value: geometry.
            from_name: name of the config's labels tag; the kind's name by default.
            score: 0..1.
        """
        type_name = f"{kind}labels"
        content = f"{self.key}\0{type_name}\0{label}\0{sorted(value.items())}"
        region = {
            "id": hashlib.sha256(content.encode()).hexdigest()[:10],
            "type": type_name,
            "from_name": from_name or kind,
            "to_name": self.to_name,
            "original_width": self.width,
            "original_height": self.height,
            "image_rotation": 0,
            "value": value | {type_name: [label]},
        }
        return region if score is None else region | {"score": round(score, 4)}

    def brush(
        self, mask: npt.NDArray[np.bool_], label: str, *, from_name: str | None = None, score: float | None = None
    ) -> dict[str, Any]:
        """Return the brush region of an (H, W) bool mask. Raises like `encode_brush_rle`."""
        value = {"format": "rle", "rle": encode_brush_rle(mask)}
        return self.region("brush", label, value, from_name=from_name, score=score)

    def polygons(
        self,
        found: Sequence[Polygon],
        label: str,
        *,
        from_name: str | None = None,
        score: float | None = None,
    ) -> list[dict[str, Any]]:
        """Return a polygon region for each outline of a mask (see `mask_to_polygons`), the largest first."""
        regions = []
        for polygon in sorted(found, key=lambda polygon: -polygon.area):
            points = [[self._x(x), self._y(y)] for x, y in polygon.bridged().tolist()]
            value = {"points": points, "closed": True}
            regions.append(self.region("polygon", label, value, from_name=from_name, score=score))
        return regions

    def rectangle(
        self, mask: npt.NDArray[np.bool_], label: str, *, from_name: str | None = None, score: float | None = None
    ) -> dict[str, Any] | None:
        """Return the rectangle round an (H, W) bool mask, or None for an empty one.

        Raises:
            InvalidArray: the mask is not a 2-D bool array.
        """
        require_mask(mask)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            return None
        value = {
            "x": self._x(int(columns[0])),
            "y": self._y(int(rows[0])),
            "width": self._x(int(columns[-1] - columns[0]) + 1),
            "height": self._y(int(rows[-1] - rows[0]) + 1),
            "rotation": 0,
        }
        return self.region("rectangle", label, value, from_name=from_name, score=score)

    def keypoint(
        self, cam: npt.NDArray[np.floating[Any]], label: str, *, from_name: str | None = None
    ) -> dict[str, Any]:
        """Return the key point at the peak of an (h, w) map in 0..1, of whatever size; its score is the peak."""
        row, column = np.unravel_index(int(cam.argmax()), cam.shape)
        value = {
            "x": round((int(column) + 0.5) / cam.shape[1] * 100, 4),
            "y": round((int(row) + 0.5) / cam.shape[0] * 100, 4),
            "width": KEYPOINT_WIDTH,
        }
        return self.region("keypoint", label, value, from_name=from_name, score=float(cam[row, column]))

    def _x(self, pixels: int) -> float:
        return round(pixels / self.width * 100, 4)

    def _y(self, pixels: int) -> float:
        return round(pixels / self.height * 100, 4)


def labelling_config(
    vocabulary: Vocabulary, kinds: Iterable[RegionKind] = ("brush",), *, to_name: str = "image", data_key: str = "image"
) -> str:
    """Return a labelling config with a labels tag a kind, named like the kind, for all classes of a vocabulary.

    Args:
        vocabulary: the classes.
        kinds: of regions.
        to_name: name of the `Image` tag.
        data_key: key of the photo's address in a task's `data`.
    """
    lines = ["<View>", f'  <Image name={quoteattr(to_name)} value={quoteattr(f"${data_key}")} zoom="true"/>']
    for kind in kinds:
        tag = {"brush": "BrushLabels", "polygon": "PolygonLabels", "rectangle": "RectangleLabels"}.get(
            kind, "KeyPointLabels"
        )
        lines.append(f"  <{tag} name={quoteattr(kind)} toName={quoteattr(to_name)}>")
        for entry in vocabulary:
            colour = "#" + PALETTE[entry.index].tobytes().hex()
            lines.append(f"    <Label value={quoteattr(entry.name)} background={quoteattr(colour)}/>")
        lines.append(f"  </{tag}>")
    return "\n".join([*lines, "</View>", ""])


class LabelStudioWriter(ExportWriter):
    """See the module."""

    name: ClassVar[str] = "label-studio"
    description: ClassVar[str] = "Label Studio tasks with predictions (brush or polygons); ignored pixels left out"

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        super().__init__(sink, vocabulary, options)
        self._tasks = self.keep(JsonSpool())

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask, photo = self.mask_of(item), self.photo_of(item)
        stem = self.stem_of(item)
        name = f"{stem}{photo[0]}" if photo else item.name
        prediction = {
            "model_version": f"{item.result.model_version}+{item.result.options_digest}",
            "score": round(item.result.score, 4),
            "result": list(self._regions(item, mask)),
        }
        if photo:
            self.sink.write(f"images/{name}", photo[1])
        data = {"image": self.options.image_prefix + quote(name), "tags": list(item.result.tags)}
        self._tasks.add({"data": data, "predictions": [prediction]})

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        with self.sink.open("tasks.json") as file:
            self._tasks.copy_to(file)
        self.sink.write("label_config.xml", labelling_config(self.vocabulary, (self.options.regions,)).encode())

    def _regions(self, item: LabelledItem, mask: npt.NDArray[np.uint8]) -> Iterator[dict[str, Any]]:
        canvas = Canvas(height=mask.shape[0], width=mask.shape[1], key=item.name)
        tolerance, min_area = self.options.tolerance, self.options.min_area
        for shown in self.classes_of(item):
            name = shown.entry.name
            score = item.result.class_score(name)
            if self.options.regions == "brush":
                yield canvas.brush(shown.pixels, name, score=score)
            else:
                self.outlines.add(name, shown.overlap(tolerance=tolerance, min_area=min_area))
                yield from canvas.polygons(shown.polygons(tolerance=tolerance, min_area=min_area), name, score=score)
