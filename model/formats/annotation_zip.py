"""Masks in the zips that CVAT exports: "Segmentation mask 1.1" and "CVAT for images 1.1".

    labelmap.txt, SegmentationClass/<photo>.png     a colour a label
    annotations.xml                                 masks as run lengths and polygons, in drawing order

Labels are matched with classes by name. What the tool knows as background, or leaves empty, is background; a label that
is no class is open (255). Zips come from outside: sizes are checked before anything is unpacked.

References:
    docs.cvat.ai, "Segmentation Mask" and "CVAT for images 1.1" formats.
"""

import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError
from toco.model.formats.drawn_regions import decode_box_runs, fill_polygon
from toco.model.formats.sent_mask import InvalidMask
from toco.model.photos.archives import DAMAGED
from toco.model.photos.classes import BACKGROUND, IGNORE, Vocabulary
from toco.model.photos.images import read_image

Mask = npt.NDArray[np.uint8]
SizeOf = Callable[[str], tuple[int, int] | None]
"""Returns (H, W) of a photo by its name without suffix, or None for one that is not wanted."""

_LABEL_MAP: Final = "labelmap.txt"
_ANNOTATIONS: Final = "annotations.xml"
_CLASSES: Final = "SegmentationClass"
_MOST_TEXT: Final = 256 * 1024 * 1024
_MOST_PNG: Final = 256 * 1024 * 1024


class InvalidAnnotations(TocoError):
    """The file is no export of an annotation tool that is read."""

    code = "invalid_annotations"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class SentMask:
    """A photo's mask in a zip.

    Attributes:
        name: of the photo, without suffix, forward slashes.
        mask: (H, W) uint8 indices, 255 open; None where it cannot be used.
        error: why.
        unknown: labels that are no class; their pixels are open.
    """

    name: str
    mask: Mask | None
    error: TocoError | None = None
    unknown: tuple[str, ...] = ()


def read_annotation_zip(path: Path, vocabulary: Vocabulary, size_of: SizeOf) -> Iterator[SentMask]:
    """Read the masks of a zip, one photo after the other.

    Args:
        path: of the zip.
        vocabulary: the classes of the masks.
        size_of: of the photos.

    Raises:
        InvalidAnnotations: no zip, or none that is known.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidAnnotations(
            f"{str(path)!r} is no zip: {error}.", fix="Give the file that CVAT exported."
        ) from None
    with archive:
        names = set(archive.namelist())
        if _LABEL_MAP in names:
            yield from _segmentation_masks(archive, vocabulary, size_of)
        elif _ANNOTATIONS in names:
            yield from _images(archive, vocabulary, size_of)
        else:
            raise InvalidAnnotations(
                f"{str(path)!r} has neither {_LABEL_MAP} nor {_ANNOTATIONS}.",
                fix='Export as "Segmentation mask 1.1" or "CVAT for images 1.1".',
            )


def _segmentation_masks(archive: zipfile.ZipFile, vocabulary: Vocabulary, size_of: SizeOf) -> Iterator[SentMask]:
    colours = _colours(_read(archive, _LABEL_MAP, _MOST_TEXT).decode("utf-8", "replace"), vocabulary)
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.parts[:1] != (_CLASSES,) or path.suffix.lower() != ".png":
            continue
        name = str(PurePosixPath(*path.parts[1:]).with_suffix(""))
        size = size_of(name)
        if size is None:
            continue
        try:
            yield _of_colours(name, _read(archive, entry.filename, _MOST_PNG), colours, size)
        except TocoError as error:
            yield SentMask(name, None, error)


def _colours(text: str, vocabulary: Vocabulary) -> dict[int, tuple[int, str]]:
    """Return index and label by colour (red, green and blue in one number)."""
    found: dict[int, tuple[int, str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        label, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.partition(":")[0].split(","))
        except ValueError:
            raise InvalidAnnotations(f"{_LABEL_MAP}: {line!r} names no colour.", fix="Export it again.") from None
        found[red << 16 | green << 8 | blue] = (_index(label, vocabulary), label)
    return found


def _of_colours(name: str, data: bytes, colours: Mapping[int, tuple[int, str]], size: tuple[int, int]) -> SentMask:
    picture = read_image(data, max_pixels=max(size[0] * size[1], 1))
    if picture.original_size != size:
        height, width = picture.original_size
        raise InvalidMask(
            f"The mask has {width} x {height} pixels, the photo {size[1]} x {size[0]}.",
            fix="Annotate the photo that was labelled.",
        )
    pixels = picture.pixels.astype(np.uint32)
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    shown, places = np.unique(packed, return_inverse=True)
    missing = [colour for colour in shown.tolist() if colour not in colours]
    if missing:
        raise InvalidMask(f"The colour #{missing[0]:06x} is in no label map.", fix="Export it again.")
    indices = np.array([colours[colour][0] for colour in shown.tolist()], np.uint8)
    unknown = tuple(colours[colour][1] for colour in shown.tolist() if colours[colour][0] == IGNORE)
    return SentMask(name, indices[places].reshape(size), unknown=unknown)


def _images(archive: zipfile.ZipFile, vocabulary: Vocabulary, size_of: SizeOf) -> Iterator[SentMask]:
    try:
        root = ET.fromstring(_read(archive, _ANNOTATIONS, _MOST_TEXT))  # noqa: S314 - expat bounds entity expansion
    except ET.ParseError as error:
        raise InvalidAnnotations(f"{_ANNOTATIONS} is no XML: {error}.", fix="Export it again.") from None
    for image in root.iter("image"):
        path = PurePosixPath(image.get("name", ""))
        name = str(path.with_suffix("")) if path.name else ""
        size = size_of(name)
        if size is None:
            continue
        try:
            yield _drawn(name, image, vocabulary, size)
        except TocoError as error:
            yield SentMask(name, None, error)


def _drawn(name: str, image: ET.Element, vocabulary: Vocabulary, size: tuple[int, int]) -> SentMask:
    given = (image.get("height"), image.get("width"))
    if given != (str(size[0]), str(size[1])):
        raise InvalidMask(
            f"Annotated at {given[1]} x {given[0]} pixels; the photo has {size[1]} x {size[0]}.",
            fix="Annotate the photo that was labelled.",
        )
    mask = np.full(size, BACKGROUND, np.uint8)
    unknown: dict[str, None] = {}
    shapes = [shape for shape in image if shape.tag in ("mask", "polygon")]
    for shape in sorted(shapes, key=_order):
        label = shape.get("label", "")
        index = _index(label, vocabulary)
        if index == IGNORE:
            unknown[label] = None
        mask[_inside(shape, size)] = index
    return SentMask(name, mask, unknown=tuple(unknown))


def _order(shape: ET.Element) -> int:
    try:
        return int(shape.get("z_order", "0"))
    except ValueError:
        raise _unreadable(shape) from None


def _inside(shape: ET.Element, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    try:
        if shape.tag == "mask":
            left, top, width, height = (int(shape.get(side, "")) for side in ("left", "top", "width", "height"))
            runs = [int(part) for part in shape.get("rle", "").split(",")]
            return decode_box_runs(runs, (left, top, width, height), size)
        corners = [[float(part) for part in pair.split(",")] for pair in shape.get("points", "").split(";")]
    except ValueError:
        raise _unreadable(shape) from None
    return fill_polygon(corners, size)


def _unreadable(shape: ET.Element) -> InvalidMask:
    return InvalidMask(f"A {shape.tag} whose numbers cannot be read.", fix="Export it again.")


def _index(label: str, vocabulary: Vocabulary) -> int:
    if label.strip().lower() == Vocabulary.BACKGROUND_NAME:
        return BACKGROUND
    name = vocabulary.find(label)
    return IGNORE if name is None else vocabulary.classes[vocabulary.channel(name)].index


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.file_size > most:
        raise InvalidAnnotations(f"{name} unpacks to {entry.file_size:,} bytes.", fix=f"The limit is {most:,}.")
    try:
        with archive.open(entry) as file:
            return file.read(most)
    # `zipfile` raises RuntimeError for an encrypted entry, or a compression that it does not know.
    except (*DAMAGED, RuntimeError) as error:
        raise InvalidAnnotations(f"{name} cannot be unpacked: {error}.", fix="Export it again.") from None
