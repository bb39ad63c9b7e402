"""What every benchmark gives: photos, truth masks in one vocabulary, and the tags that the truth implies."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.collection import find_images
from toco.model.photos.images import read_mask

Mask = npt.NDArray[np.uint8]


class InvalidDataset(TocoError):
    """A folder does not have the layout of the benchmark."""

    code = "invalid_dataset"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class BenchmarkDataset:
    """One split of a benchmark.

    Attributes:
        name: of the benchmark.
        split: of the benchmark.
        classes: vocabulary of the truth masks.
        samples: photos with their truth, sorted by name.
    """

    name: str
    split: str
    classes: Vocabulary
    samples: tuple[Sample, ...]


def existing_folder(candidates: Iterable[Path], *, benchmark: str, layout: str) -> Path:
    """Return the first folder that exists.

    Raises:
        InvalidDataset: none does; says which layout is wanted.
    """
    candidates = list(candidates)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InvalidDataset(f"There is no folder {str(candidates[0])!r}.", fix=f"The layout of {benchmark} is {layout}.")


def existing_file(path: Path) -> Path:
    """Return the path of a file.

    Raises:
        InvalidDataset: there is none.
    """
    if not path.is_file():
        raise InvalidDataset(f"There is no file {str(path)!r}.", fix="Check the root of the dataset and the split.")
    return path


def read_split(path: Path) -> list[str]:
    """Return the image names listed in a split file, one a line.

    Raises:
        InvalidDataset: there is no such file, or it lists nothing.
    """
    names = existing_file(path).read_text(encoding="utf-8").split()
    if not names:
        raise InvalidDataset(f"{str(path)!r} lists no image.", fix="Check the split.")
    return names


def index_table(indices: Mapping[int, int]) -> Mask:
    """Return the (256,) uint8 table from stored mask values to class indices; values not named become 255."""
    table = np.full(256, IGNORE, np.uint8)
    for stored, index in indices.items():
        table[stored] = index
    return table


def translated_mask(path: Path, table: Mask) -> Callable[[], Mask]:
    """Return a reader of a mask file that translates its stored values through an `index_table`."""
    return partial(_read_translated, path, table)


def folder_dataset(images: Path, masks: Path, classes: Vocabulary) -> BenchmarkDataset:
    """Pair a folder of photos with a folder of masks of the same file names, endings apart.

    Args:
        images: photos; those without a mask are left out.
        masks: index masks (`images.read_mask`).
        classes: vocabulary of the masks.

    Raises:
        InvalidDataset: no photo has a mask, or a mask has no photo.
    """
    photos = {path.stem: path for path in find_images(images)}
    truths = {path.stem: path for path in find_images(masks)}
    lost = sorted(truths.keys() - photos.keys())
    if lost or not truths:
        raise InvalidDataset(
            f"{len(lost)} of {len(truths)} masks in {str(masks)!r} have no photo in {str(images)!r}"
            f"{f', the first {lost[0]!r}' if lost else ''}.",
            fix="Give photos and masks the same file names, endings apart.",
        )
    samples = (Sample(name, photos[name], partial(read_mask, truths[name])) for name in sorted(truths))
    return BenchmarkDataset("folder", masks.name, classes, tuple(samples))


def _read_translated(path: Path, table: Mask) -> Mask:
    return table[read_mask(path)]
