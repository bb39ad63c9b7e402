"""PASCAL VOC 2012 segmentation: 20 classes and background.

References:
    VOC 2012 development kit, sections 3.1 (image sets) and 3.3 (segmentation: palette PNG, 255 void).
"""

from functools import partial
from pathlib import Path

from toco.model.evaluation.datasets.dataset import BenchmarkDataset, existing_file, existing_folder, read_split
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask

LAYOUT = "[VOCdevkit/]VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation/SPLIT.txt}"


def open_voc2012(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`, `trainval`; `test` has no public masks).

    Args:
        root: the folder `VOC2012`, or one that holds it or `VOCdevkit`.
        split: name of a file in `ImageSets/Segmentation`.

    Raises:
        InvalidDataset: the layout differs.
    """
    places = (folder / "JPEGImages" for folder in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"))
    images = existing_folder(places, benchmark="VOC 2012", layout=LAYOUT)
    base = images.parent
    samples = tuple(
        Sample(
            name, images / f"{name}.jpg", partial(read_mask, existing_file(base / "SegmentationClass" / f"{name}.png"))
        )
        for name in sorted(read_split(base / "ImageSets" / "Segmentation" / f"{split}.txt"))
    )
    return BenchmarkDataset("voc2012", split, VOC, samples)
