"""PASCAL Context on VOC 2010 photos: 59 classes, with or without background.

References:
    Mottaghi et al., "The Role of Context for Object Detection and Semantic Segmentation in the Wild" (CVPR 2014).
    Layout and order of the classes (alphabetical) as converted by MMSegmentation's `pascal_context.py`: stored 0 is
    background. The 60-class figure counts it as a class, the 59-class figure leaves it out.
"""

from pathlib import Path

from toco.model.evaluation.datasets.dataset import (
    BenchmarkDataset,
    existing_file,
    existing_folder,
    index_table,
    read_split,
    translated_mask,
)
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import BACKGROUND, Vocabulary

LAYOUT = "[VOCdevkit/]VOC2010/{JPEGImages,SegmentationClassContext,ImageSets/SegmentationContext/SPLIT.txt}"

PASCAL_CONTEXT_NAMES: tuple[str, ...] = (
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle", "building", "bus",
    "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup", "curtain", "dog", "door",
    "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard", "light", "motorbike", "mountain",
    "mouse", "person", "plate", "platform", "pottedplant", "road", "rock", "sheep", "shelves", "sidewalk", "sign",
    "sky", "snow", "sofa", "table", "track", "train", "tree", "truck", "tvmonitor", "wall", "water", "window",
    "wood",
)  # fmt: skip

PASCAL_CONTEXT = Vocabulary.of_names(PASCAL_CONTEXT_NAMES)


def open_context59(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`) with background left out. Raises InvalidDataset if the layout differs."""
    return _open("context59", root, split, {})


def open_context60(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`) with background as a class. Raises InvalidDataset if the layout differs."""
    return _open("context60", root, split, {0: BACKGROUND})


def _open(name: str, root: Path, split: str, background: dict[int, int]) -> BenchmarkDataset:
    places = (
        folder / "SegmentationClassContext" for folder in (root, root / "VOC2010", root / "VOCdevkit" / "VOC2010")
    )
    masks = existing_folder(places, benchmark="PASCAL Context", layout=LAYOUT)
    base = masks.parent
    table = index_table(background | {index: index for index in PASCAL_CONTEXT.indices})
    samples = tuple(
        Sample(
            image, base / "JPEGImages" / f"{image}.jpg", translated_mask(existing_file(masks / f"{image}.png"), table)
        )
        for image in sorted(read_split(base / "ImageSets" / "SegmentationContext" / f"{split}.txt"))
    )
    return BenchmarkDataset(name, split, PASCAL_CONTEXT, samples)
