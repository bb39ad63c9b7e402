"""Soft labels of training photos: what each place shows, as probabilities over background and the photo's tags.

They come from a fit on the photos themselves (see `model.learning`), never from masks, and are kept in two files: maps
of one size in one array that is read page by page, and an index that names each photo's classes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError

MAPS_FILE = "soft_labels.npy"
INDEX_FILE = "soft_labels.json"
CERTAIN = 255  # a probability of 1

Maps = npt.NDArray[np.uint8]


class InvalidSoftLabels(TocoError):
    """A folder of soft labels is missing, damaged or of other photos."""

    code = "invalid_soft_labels"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """The soft labels of a set of photos.

    Attributes:
        maps: (m, s, s) uint8, a photo's maps one after the other: background, then its classes; each pixel of a photo
            sums to about 255 over its maps, or to 0 where nothing is known.
        rows: name of a photo to (first map, names of its classes).
    """

    maps: Maps
    rows: dict[str, tuple[int, tuple[str, ...]]]

    def of(self, name: str) -> tuple[tuple[str, ...], Maps] | None:
        """Return the class names (K) of a photo and its maps (1 + K, s, s) uint8; None if there are none of it."""
        row = self.rows.get(name)
        if row is None:
            return None
        first, names = row
        return names, self.maps[first : first + 1 + len(names)]


def write_soft_labels(folder: Path, labelled: Iterable[tuple[str, Sequence[str], npt.NDArray[np.floating]]]) -> None:
    """Write a folder of soft labels; the index comes last, so that a half-written folder is none.

    Args:
        folder: made if need be.
        labelled: name of the photo, names of its K classes, and probabilities (1 + K, s, s) in 0..1 that sum to 1
            over the first axis (or to 0), background first. All of one s.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, tuple[int, Sequence[str]]] = {}
    parts: list[Maps] = []
    count = 0
    for name, classes, probabilities in labelled:
        rows[name] = (count, list(classes))
        parts.append(np.rint(probabilities * CERTAIN).astype(np.uint8))
        count += len(parts[-1])
    (folder / INDEX_FILE).unlink(missing_ok=True)
    np.save(folder / MAPS_FILE, np.concatenate(parts) if parts else np.zeros((0, 1, 1), np.uint8))
    partial = folder / f"{INDEX_FILE}.partial"
    partial.write_text(json.dumps(rows), "utf-8")
    partial.replace(folder / INDEX_FILE)


def read_soft_labels(folder: Path) -> SoftLabels:
    """Open a folder of soft labels; the maps stay on disk until they are used.

    Raises:
        InvalidSoftLabels: a part is missing, or does not fit the other.
    """
    try:
        rows = json.loads((folder / INDEX_FILE).read_text("utf-8"))
        maps = np.load(folder / MAPS_FILE, mmap_mode="r", allow_pickle=False)
        found = {name: (int(first), tuple(classes)) for name, (first, classes) in rows.items()}
    except (OSError, ValueError, TypeError) as error:
        raise InvalidSoftLabels(
            f"{str(folder)!r} holds no soft labels ({error}).", fix="Make them anew, or name their folder."
        ) from None
    if sum(1 + len(classes) for _, classes in found.values()) != len(maps) or maps.dtype != np.uint8:
        raise InvalidSoftLabels(
            f"The index of {str(folder)!r} does not fit its {len(maps)} maps.", fix="Make the soft labels anew."
        )
    return SoftLabels(maps, found)
