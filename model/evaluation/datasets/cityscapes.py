"""Cityscapes: 19 evaluated classes, no background.

References:
    Cordts et al., "The Cityscapes Dataset" (CVPR 2016); label ids and the 19 evaluated ones as in `labels.py` of the
    cityscapesScripts. All other ids are left out.
"""

from pathlib import Path

from toco.model.evaluation.datasets.dataset import (
    BenchmarkDataset,
    InvalidDataset,
    existing_file,
    existing_folder,
    index_table,
    translated_mask,
)
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import Vocabulary

LAYOUT = "{leftImg8bit,gtFine}/SPLIT/CITY/"

CITYSCAPES_LABEL_IDS: dict[str, int] = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip

CITYSCAPES = Vocabulary.of_names(tuple(CITYSCAPES_LABEL_IDS))

_IMAGE_END = "_leftImg8bit.png"


def open_cityscapes(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`).

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        split: which part.

    Raises:
        InvalidDataset: the layout differs.
    """
    images = existing_folder([root / "leftImg8bit" / split], benchmark="Cityscapes", layout=LAYOUT)
    ids = CITYSCAPES_LABEL_IDS.values()
    table = index_table({label: index for index, label in enumerate(ids, start=1)})
    samples = []
    for path in sorted(images.glob(f"*/*{_IMAGE_END}")):
        name = path.name.removesuffix(_IMAGE_END)
        mask = existing_file(root / "gtFine" / split / path.parent.name / f"{name}_gtFine_labelIds.png")
        samples.append(Sample(name, path, translated_mask(mask, table)))
    if not samples:
        raise InvalidDataset(f"There is no photo in {str(images)!r}.", fix=f"The layout of Cityscapes is {LAYOUT}.")
    return BenchmarkDataset("cityscapes", split, CITYSCAPES, tuple(samples))
