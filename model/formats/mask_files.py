"""Masks without classes, made elsewhere (by SAM and the like): found beside photos, and read.

Of `farm/cow.jpg` they may be `farm/cow.png` or `farm/cow.jpg.png`, any number of PNGs in a folder `farm/cow/`, and
`farm/cow.json`; or one COCO file speaks of many photos. A PNG (or TIFF) is one mask, or many: each value or colour but
0 is one.

References:
    COCO's `annotations` with run lengths or polygons; what SAM's `automatic mask generator` writes: a list of objects
    with a `segmentation`, or such a list under `annotations` beside the `image`.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pydantic import TypeAdapter, ValidationError

from toco.model.errors import TocoError
from toco.model.formats.sent_mask import InvalidMask, RunLengths, decode_rle
from toco.model.method.mask_merge import BAND, ForeignMask, Pixels, places_in
from toco.model.photos.collection import is_hidden, listed
from toco.model.photos.images import UnreadableImage, probe_image, read_stored
from toco.model.photos.tags import TaggedImage, TagTable, row_name

MAX_MASKS: Final = 10_000
"""Masks of a photo; a picture of more colours is a photo, not a map of masks."""

MAX_RUNS: Final = 32_000_000
"""Runs along the rows of a picture of masks, of one value each: what has more is no map of masks."""

MAX_JSON_BYTES: Final = 256 * 1024 * 1024

_SUFFIXES: Final = frozenset({".png", ".tif", ".tiff", ".json"})
_FIX: Final = "Give PNGs (each value but 0 is a mask) or COCO run lengths at the size of the upright photo."
_POLYGONS: Final = TypeAdapter(list[list[float]])


class NoMaskMatches(TocoError):
    """There are masks, but none of any of the photos."""

    code = "no_mask_matches"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A file of masks of one photo.

    Attributes:
        name: its path.
        load: reads its content: PNG, or JSON as `read_masks` takes it.
    """

    name: str
    load: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class FoundMasks:
    """Files of masks by photo.

    Attributes:
        files: by name of the photo; those without masks are missing.
        photos: how many photos were asked for.
        unused: files that are of none of the photos.
        unclear: files that may be of several photos: they are of none.
        broken: files that are no masks.
    """

    files: Mapping[str, tuple[MaskFile, ...]] = field(default_factory=dict)
    photos: int = 0
    unused: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Return sentences about masks and photos that do not fit each other."""
        said = []
        if missing := self.photos - len(self.files):
            said.append(f"Masks: {missing} of {self.photos} photos have none.")
        for names, what in (
            (self.unused, "of none of the photos"),
            (self.unclear, "of several photos alike, so of none"),
            (self.broken, "no masks"),
        ):
            if names:
                said.append(f"Masks, {what}: {listed(names)}.")
        return said

    def require_match(self) -> None:
        """Raise NoMaskMatches if there are no masks of any of the photos: a wrong folder, or other names."""
        if not self.files:
            raise NoMaskMatches(
                " ".join(self.notes()[1:]) or "There are no masks.",
                fix="Name masks for their photos: cow.png, cow.json or a folder cow/ of PNGs for cow.jpg.",
            )


def folder_files(root: Path) -> list[MaskFile]:
    """List the files under a folder that are not the system's own, or one file.

    Raises:
        InvalidMask: there is no such file or folder.
    """
    if root.is_file():
        return [MaskFile(root.name, root.read_bytes)]
    if not root.is_dir():
        raise InvalidMask(f"There is no file or folder {str(root)!r}.", fix="Check the path.")
    paths = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    files = ((path.relative_to(root).as_posix(), path) for path in paths)
    return [MaskFile(name, path.read_bytes) for name, path in sorted(files) if path.is_file() and not is_hidden(name)]


def find_masks(files: Iterable[MaskFile], photos: Sequence[str]) -> FoundMasks:
    """Find the masks of photos, by name; see the head of this file.

    Paths need not begin alike: one may be the end of the other, as in tables of tags. What may be of several photos
    is of none.

    Args:
        files: PNGs and JSONs; others are passed over. A JSON that speaks of many photos is read at once.
        photos: their names.
    """
    single: list[MaskFile] = []
    broken: list[str] = []
    for file in files:
        suffix = PurePosixPath(file.name).suffix.lower()
        try:
            single += _by_photo(file) if suffix == ".json" else [file] if suffix in _SUFFIXES else []
        except (InvalidMask, UnreadableImage, OSError):
            broken.append(file.name)
    # A folder named for a photo holds its masks, unless they are named for photos themselves.
    named = _matched(((_stem(file.name), file) for file in single), photos)
    inside = _matched(((str(PurePosixPath(file.name).parent), file) for file in single), photos)
    known = set(map(row_name, photos)) | {_stem(row_name(photo)) for photo in photos}
    files_of: dict[str, list[MaskFile]] = {}
    unused, unclear = [], []
    for number, file in enumerate(single):
        exact = row_name(_stem(file.name)) in known
        first, second = (named, inside) if exact else (inside, named)
        photo = first.get(number) or second.get(number)
        if photo is not None:
            files_of.setdefault(photo, []).append(file)
        elif number in first or number in second:
            unclear.append(file.name)
        else:
            unused.append(file.name)
    found = {photo: tuple(entries) for photo, entries in files_of.items()}
    return FoundMasks(found, len(photos), tuple(dict.fromkeys(unused)), tuple(dict.fromkeys(unclear)), tuple(broken))


def read_masks(files: Iterable[MaskFile], size: tuple[int, int]) -> list[ForeignMask]:
    """Read the masks of a photo.

    Args:
        files: of the photo.
        size: (H, W) of the upright photo in pixels.

    Raises:
        InvalidMask: a file is no mask, or of another size; or there are too many masks.
    """
    found: list[ForeignMask] = []
    for file in files:
        try:
            data = file.load()
        except OSError as error:
            raise InvalidMask(f"{file.name!r} cannot be opened: {error.strerror}.", fix="Check the file.") from None
        try:
            found += _from_json(data, size) if data.lstrip()[:1] in (b"[", b"{") else _from_picture(data, size)
        except InvalidMask as error:
            raise InvalidMask(f"{file.name!r}: {error.detail}", fix=error.fix or _FIX) from None
        if len(found) > MAX_MASKS:
            raise InvalidMask(f"{file.name!r}: over {MAX_MASKS:,} masks of one photo.", fix=_FIX)
    return found


def of_arrays(masks: Sequence[npt.NDArray[np.bool_]], size: tuple[int, int]) -> list[ForeignMask]:
    """Take masks as (H, W) bool arrays. Raises InvalidMask if one has another size than (H, W)."""
    for mask in masks:
        if mask.shape != size:
            raise InvalidMask(f"A mask of shape {mask.shape} for a photo of {size}.", fix="Give (H, W) bool.")
    return [partial(places_in, mask) for mask in masks]


def pack_masks(files: Sequence[MaskFile]) -> bytes:
    """Return files in one, as they are kept beside a photo; the same files give the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, file in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number} {PurePosixPath(file.name).name}"), file.load())
    return packed.getvalue()


def unpack_masks(data: bytes) -> list[MaskFile]:
    """Return the files that `pack_masks` packed."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    return [MaskFile(name.partition(" ")[2], partial(archive.read, name)) for name in archive.namelist()]


def digest_of(files: Iterable[MaskFile]) -> str:
    """Return what changes with any of the files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.load()).digest())
    return digest.hexdigest()


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def _matched(keyed: Iterable[tuple[str, MaskFile]], photos: Sequence[str]) -> dict[int, str | None]:
    """Return the photo of each file by the file's number; None where it may be of several."""
    keys = [key for key, _ in keyed]
    table = TagTable((key, TaggedImage(())) for key in keys if key != ".")
    found = table.match(photos)
    photo_of: dict[str, str | None] = {row: photo for photo, row in found.rows.items()}
    nobody = set(found.unused)
    return {
        number: photo_of.get(row_name(key))
        for number, key in enumerate(keys)
        if key != "." and row_name(key) not in nobody
    }


def _by_photo(file: MaskFile) -> list[MaskFile]:
    """Split a COCO file of many photos; a JSON of one photo stays as it is. Raises InvalidMask."""
    data = file.load()
    if b'"images"' not in data:  # most are of one photo: they are read when its turn comes
        return [file]
    found = _parsed(data)
    if not isinstance(found, dict) or not isinstance(found.get("images"), list):
        return [file]
    try:
        names = {entry["id"]: str(entry["file_name"]) for entry in found["images"]}
        entries: dict[str, list[Any]] = {}
        for entry in found.get("annotations", ()):
            entries.setdefault(names[entry["image_id"]], []).append({"segmentation": entry["segmentation"]})
    except (KeyError, TypeError) as error:
        raise InvalidMask(f"{file.name!r} is no COCO file: {error}.", fix=_FIX) from None
    return [MaskFile(f"{name}.json", partial(_dumped, found)) for name, found in entries.items()]


def _dumped(entries: list[Any]) -> bytes:
    return json.dumps(entries).encode()


def _parsed(data: bytes) -> Any:
    if len(data) > MAX_JSON_BYTES:
        raise InvalidMask(f"{len(data):,} bytes of JSON; the limit is {MAX_JSON_BYTES:,}.", fix="Give a file a photo.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidMask("It is no JSON.", fix=_FIX) from None


def _from_json(data: bytes, size: tuple[int, int]) -> list[ForeignMask]:
    found = _parsed(data)
    entries = found.get("annotations", [found]) if isinstance(found, dict) else found
    if not isinstance(entries, list) or len(entries) > MAX_MASKS:
        raise InvalidMask("It holds no list of masks.", fix=_FIX)
    return [_from_entry(entry, size) for entry in entries]


def _from_entry(entry: Any, size: tuple[int, int]) -> ForeignMask:
    outline = entry.get("segmentation", entry) if isinstance(entry, dict) else entry
    try:
        if isinstance(outline, dict):
            rle = RunLengths.model_validate(outline).model_dump()
            decode_rle(rle, size)  # what is wrong shows now
        else:
            rings = [ring for ring in _POLYGONS.validate_python(outline) if len(ring) >= 6 and len(ring) % 2 == 0]
            if not rings:
                raise InvalidMask("A mask has no outline.", fix=_FIX)
            drawn = coco_mask.merge(coco_mask.frPyObjects(rings, *size))
            rle = {"size": list(size), "counts": drawn["counts"].decode("ascii")}
    except ValidationError:
        raise InvalidMask("A mask is neither run lengths nor polygons.", fix=_FIX) from None
    return partial(_rle_pixels, rle, size)


def _rle_pixels(rle: dict[str, Any], size: tuple[int, int]) -> Pixels:
    return places_in(decode_rle(rle, size))


def _from_picture(data: bytes, size: tuple[int, int]) -> list[ForeignMask]:
    try:
        header = probe_image(data)
        fits = (header.height, header.width) == size
        values = read_stored(data) if fits else None
    except TocoError as error:
        raise InvalidMask(error.detail, fix=_FIX) from None
    if values is None:
        raise InvalidMask(
            f"It has {header.width} x {header.height} pixels, the photo, upright, {size[1]} x {size[0]}.", fix=_FIX
        )
    starts, labels = _runs(values)
    lengths = np.diff(starts, append=np.int32(size[0] * size[1]))
    order = np.argsort(labels, kind="stable")
    found, firsts = np.unique(labels[order], return_index=True)
    if len(found) > MAX_MASKS:
        raise InvalidMask(f"It has {len(found):,} colours: no map of masks.", fix=_FIX)
    groups = np.split(order, firsts[1:])
    return [
        partial(_run_pixels, starts[group], lengths[group]) for value, group in zip(found, groups, strict=True) if value
    ]


def _runs(
    values: npt.NDArray[np.uint8 | np.uint16 | np.int32],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Find where the value changes along the rows of a picture, in memory that grows with the changes.

    Args:
        values: (H, W) or (H, W, 3).

    Returns:
        (runs,) first place of each run, and (runs,) its value or colour.

    Raises:
        InvalidMask: there are too many.
    """
    starts, labels = [], []
    before: int | None = None
    rows = max(1, BAND // values.shape[1])
    for top in range(0, len(values), rows):
        band = values[top : top + rows].reshape(-1, *values.shape[2:]).astype(np.int64)
        if band.ndim > 1:
            band = band @ (256 ** np.arange(band.shape[1], dtype=np.int64))
        changes = np.flatnonzero(np.diff(band, prepend=~band[0] if before is None else before))
        starts.append((changes + top * values.shape[1]).astype(np.int32))
        labels.append(band[changes])
        before = int(band[-1])
        if sum(map(len, starts)) > MAX_RUNS:
            raise InvalidMask(f"Its value changes over {MAX_RUNS:,} times along its rows: no map of masks.", fix=_FIX)
    return np.concatenate(starts), np.concatenate(labels)


def _run_pixels(starts: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32]) -> Pixels:
    """Return the places that (runs,) runs hold."""
    ends = np.cumsum(lengths, dtype=np.int64)
    places = np.repeat((starts - (ends - lengths)).astype(np.int32), lengths)
    for start in range(0, len(places), BAND):
        part = places[start : start + BAND]
        part += np.arange(start, start + len(part), dtype=np.int32)
    return places
