"""Exports of masks to COCO, VOC and YOLO against the shortest loop over pycocotools, Pillow and OpenCV.

    python -m benchmarks.exports --masks ../shared/data/voc12-animals/val/SegmentationClass --json exports.json

Both read palette PNGs and write: run lengths, box and area of each class (COCO), the palette PNG again (VOC), outlines
of each class (YOLO). Ours also checks every part, leaves out what is wholly open, makes statistics and a data sheet,
says what outlines lose and keeps holes in them, which the other does not. Ours copies a PNG that holds VOC's palette
already: so the other is measured twice, writing PNGs anew as the shortest loop does, and copying them unread. They take
turns, a part of the masks at a time; what counts is the processor's time, which busy neighbours disturb least.
"""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.machine import provenance
from toco.model.formats.artifacts import PSEUDO_MASK, RESULT
from toco.model.formats.export import export_items
from toco.model.formats.item import LabelledItem
from toco.model.formats.result import ItemResult, Size
from toco.model.formats.sink import FolderSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import BACKGROUND, IGNORE, VOC

FORMATS = ("coco", "voc", "yolo-seg")
PARTS = 5

Named = tuple[str, bytes, bytes]


def ours(masks: Sequence[Named], out: Path) -> None:
    """Export as the service and the command line do."""
    items = [
        LabelledItem(name, {PSEUDO_MASK: png, RESULT: result}.get) for name, png, result in masks
    ]  # fmt: skip
    sinks = {name: FolderSink(out / name) for name in FORMATS}
    export_items(items, sinks, VOC, ExportOptions(images=False))
    for sink in sinks.values():
        sink.close()


def theirs(masks: Sequence[Named], out: Path, *, copy: bool = False) -> None:
    """Export by a loop over the libraries; `copy` takes each PNG for VOC's as it is."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for folder in ("coco", "voc/SegmentationClass", "yolo/labels"):
        (out / folder).mkdir(parents=True)
    for name, png, _ in masks:
        picture = Image.open(io.BytesIO(png))
        mask = np.asarray(picture)
        height, width = mask.shape
        stem = Path(name).stem
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        lines = []
        for index in np.unique(mask).tolist():
            if index in (BACKGROUND, IGNORE):
                continue
            region = (mask == index).astype(np.uint8)
            rle = coco_mask.encode(np.asfortranarray(region))
            shape = {"area": int(coco_mask.area(rle)), "bbox": coco_mask.toBbox(rle).tolist()}
            rle["counts"] = rle["counts"].decode()
            annotations.append(
                {"id": len(annotations) + 1, "image_id": len(images), "category_id": index, "iscrowd": 0}
                | {"segmentation": rle, **shape}
            )
            for ring in cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
                if len(ring) > 2:
                    places = (ring[:, 0, :] / (width, height)).ravel()
                    lines.append(f"{index - 1} " + " ".join(f"{place:.6f}" for place in places.tolist()))
        if copy:
            (out / "voc/SegmentationClass" / f"{stem}.png").write_bytes(png)
        else:
            picture.save(out / "voc/SegmentationClass" / f"{stem}.png")
        (out / "yolo/labels" / f"{stem}.txt").write_text("\n".join(lines), "utf-8")
    categories = [{"id": entry.index, "name": entry.name} for entry in VOC]
    found = {"images": images, "annotations": annotations, "categories": categories}
    (out / "coco" / "instances.json").write_text(json.dumps(found), "utf-8")


def read(folder: Path, count: int) -> list[Named]:
    """Return so many masks, those of a folder again and again under names of their own, with their results."""
    found = []
    for path in sorted(folder.glob("*.png")):
        png = path.read_bytes()
        mask = np.asarray(Image.open(io.BytesIO(png)))
        size = Size(height=mask.shape[0], width=mask.shape[1])
        result = ItemResult(
            tags=(), tag_source="user", model_version="truth", size=size, working_size=size, capped=False,
            ignore_ratio=float((mask == IGNORE).mean()), classes=(),
        )  # fmt: skip
        found.append((png, result.model_dump_json().encode()))
    return [(f"{number:06}.jpg", *found[number % len(found)]) for number in range(count)]


WAYS: Final[dict[str, Callable[[Sequence[Named], Path], None]]] = {
    "theirs": theirs,
    "ours": ours,
    "copying": partial(theirs, copy=True),
}


def measure(masks: Sequence[Named]) -> dict[str, Any]:
    """Return seconds of the processor and of the clock of each way for all masks, and the median ratio of its parts."""
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    passed = dict.fromkeys(WAYS, 0.0)
    step = -(-len(masks) // PARTS)
    for start in range(0, len(masks), step):
        for name, export in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                started, began = time.process_time(), time.monotonic()
                export(masks[start : start + step], Path(folder) / "out")
                spent[name].append(time.process_time() - started)
                passed[name] += time.monotonic() - began
    rows = {
        name: {
            "processor": sum(spent[name]),
            "wall": passed[name],
            "ratio": median(other / mine for mine, other in zip(spent["ours"], spent[name], strict=True)),
        }
        for name in WAYS
    }
    return {"masks": len(masks), **rows}


def markdown(result: dict[str, Any]) -> str:
    """The result of `measure` as Markdown."""
    titles = {
        "ours": "ours",
        "theirs": "pycocotools, Pillow and OpenCV",
        "copying": "the same, PNGs copied unread",
    }
    lines = [
        f"| {result['masks']:,} masks | processor, s | clock, s | times ours, processor |",
        "|---|---|---|---|",
    ]
    for name, title in titles.items():
        row = result[name]
        ratio = "" if name == "ours" else f"{row['ratio']:.2f}"
        lines.append(f"| {title} | {row['processor']:.1f} | {row['wall']:.1f} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--masks", type=Path, required=True, help="folder of palette PNGs with VOC's indices")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    result = {**provenance(), **measure(read(arguments.masks, arguments.count))}
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
