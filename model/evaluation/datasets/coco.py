"""COCO 2014: semantic masks of 80 classes and background, drawn from the instance annotations.

References:
    COCO data format, "Object Detection": polygons, uncompressed RLE (crowds), compressed RLE; category ids have gaps,
    so classes are numbered 1..80 in the order of the ids.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from toco.model.evaluation.datasets.dataset import (
    BenchmarkDataset,
    InvalidDataset,
    Mask,
    existing_file,
    existing_folder,
)
from toco.model.evaluation.evaluate import Sample
from toco.model.photos.classes import COCO, UnknownTag, Vocabulary

LAYOUT = "{annotations/instances_SPLIT2014.json,[images/]SPLIT2014/}"


def open_coco2014(root: Path, split: str = "val") -> BenchmarkDataset:
    """Open a split (`train`, `val`).

    Args:
        root: the folder that holds `annotations` and the photos.
        split: which instances file.

    Raises:
        InvalidDataset: the layout differs, or the annotations do not fit.
    """
    places = (folder / f"{split}2014" for folder in (root, root / "images", root / "JPEGImages"))
    images = existing_folder(places, benchmark="COCO 2014", layout=LAYOUT)
    path = existing_file(root / "annotations" / f"instances_{split}2014.json")
    try:
        content = json.loads(path.read_bytes())
        index = _indices(content["categories"])
        annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            annotations.setdefault(annotation["image_id"], []).append(annotation)
        samples = tuple(
            _sample(image, images, annotations.get(image["id"], ()), index)
            for image in sorted(content["images"], key=lambda image: str(image["file_name"]))
        )
    except (ValueError, KeyError, TypeError, UnknownTag) as error:
        raise InvalidDataset(
            f"{str(path)!r} does not fit COCO instances: {type(error).__name__} {error}.", fix="Download it again."
        ) from None
    return BenchmarkDataset("coco2014", split, COCO, samples)


def draw_instances(annotations: Sequence[dict[str, Any]], *, height: int, width: int, index: dict[int, int]) -> Mask:
    """Draw instances as one semantic mask; where they overlap, the smaller object lies on top.

    Args:
        annotations: COCO annotations of one image.
        height: of the image in pixels.
        width: of the image in pixels.
        index: class index by category id.

    Returns:
        (H, W) uint8, 0 background.
    """
    mask = np.zeros((height, width), np.uint8)
    # Large first; the id makes equal areas fall out alike everywhere.
    for annotation in sorted(annotations, key=lambda entry: (-entry["area"], entry["id"])):
        shape = annotation["segmentation"]
        if isinstance(shape, list):
            shape = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
        elif isinstance(shape["counts"], list):
            shape = coco_mask.frPyObjects(shape, height, width)
        mask[coco_mask.decode(shape) > 0] = index[annotation["category_id"]]
    return mask


def _indices(categories: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Number the categories by name: files that hold some of the 80 work as well."""
    return {category["id"]: COCO.classes[COCO.channel(category["name"])].index for category in categories}


def _sample(
    image: dict[str, Any], folder: Path, annotations: Sequence[dict[str, Any]], index: dict[int, int]
) -> Sample:
    shown = {index[annotation["category_id"]] for annotation in annotations}
    draw = partial(draw_instances, annotations, height=image["height"], width=image["width"], index=index)
    return Sample(Path(image["file_name"]).stem, folder / image["file_name"], draw, _names(shown, COCO))


def _names(indices: set[int], classes: Vocabulary) -> tuple[str, ...]:
    return tuple(entry.name for entry in classes if entry.index in indices)
