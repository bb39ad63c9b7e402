"""Exports as the tools themselves read them, each in an environment of its own: Ultralytics, Datumaro and FiftyOne."""

import csv
import json
import os
import subprocess

import numpy as np
import pytest

from tests.environments import environment
from toco.model.formats.export import export_items
from toco.model.formats.regions import boxes_in
from toco.model.formats.sink import FolderSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import IGNORE, VOC

pytestmark = pytest.mark.slow

CAT, PERSON = 8, 15

# Names and kinds of photos that a loader may lose, and the part that each is in.
PHOTOS = {
    "cat.jpg": ("JPEG", "train"),
    "farm/two dogs.png": ("PNG", "train"),
    "images/labels/cat.jpg": ("JPEG", "train"),
    " #1.jpg": ("JPEG", "val"),
    "CAT.jpg": ("JPEG", "val"),
    "moving.gif": ("GIF", "val"),
    "K\u00e4tzchen [2] 100%.webp": ("WEBP", "test"),
    "phone.avif": ("AVIF", "test"),
}


@pytest.fixture
def read(tmp_path):
    """Run a program, in a folder that has nothing to do with the export; return what it prints as JSON last."""

    def run(python, code, *arguments):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        quiet = os.environ | {
            "YOLO_CONFIG_DIR": str(elsewhere),
            "YOLO_OFFLINE": "true",
            "PYTHONPATH": "",
            "FIFTYONE_DO_NOT_TRACK": "true",
        }
        command = [python, "-W", "ignore", "-c", code, *map(str, arguments)]
        done = subprocess.run(command, cwd=elsewhere, env=quiet, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def exported(make_item, make_photo, tmp_path):
    """Items by the name of their files without suffix, exported in some formats."""

    def run(*formats, **options):
        items = []
        for number, (name, (kind, part)) in enumerate(PHOTOS.items()):
            size = 160 + 10 * number, 240
            item = make_item(name, photo=make_photo(*size, kind), height=size[0], width=size[1])
            item.part = part
            items.append(item)
        export_items(items, {name: FolderSink(tmp_path / name) for name in formats}, VOC, ExportOptions(**options))
        rows = list(csv.reader((tmp_path / formats[0] / "photos.csv").read_text().splitlines()))[1:]
        named = {item.name: item for item in items}
        return {file: named[name] for name, file, _ in rows}

    return run


READ_BY_ULTRALYTICS = """
import json, sys
from pathlib import Path
import numpy as np
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, polygons2masks
root, task, target = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
data = check_det_dataset(str(root / "data.yaml"))
found, masks = {}, {}
for part in ("train", "val", "test"):
    for row in YOLODataset(img_path=data[part], data=data, task=task, augment=False).labels:
        name = str(Path(row["im_file"]).relative_to(data[part]).with_suffix(""))
        height, width = row["shape"]
        boxes = np.concatenate([row["cls"], row["bboxes"]], axis=1).tolist()
        found[name] = {"part": part, "size": row["shape"], "boxes": boxes}
        for number, (cls, ring) in enumerate(zip(row["cls"].ravel().tolist(), row["segments"])):
            mask = polygons2masks((height, width), [(ring * [width, height]).reshape(-1)], color=1)[0]
            key = f"{name}|{int(cls)}"
            masks[key] = masks.get(key, 0) | mask
np.savez(target, **masks)
print(json.dumps({"names": data["names"], "photos": found}))
"""


@pytest.fixture(scope="module")
def ultralytics():
    return environment("ultralytics-8.4.190", "ultralytics==8.4.190", shared=True)


def test_ultralytics_finds_every_photo_and_reads_its_regions(exported, read, ultralytics, tmp_path):
    items = exported("yolo-seg")
    found = read(ultralytics, READ_BY_ULTRALYTICS, tmp_path / "yolo-seg", "segment", tmp_path / "masks.npz")
    assert list(found["names"].values()) == list(VOC.names)
    assert {name: row["part"] for name, row in found["photos"].items()} == {n: item.part for n, item in items.items()}
    with np.load(tmp_path / "masks.npz") as masks:
        for name, item in items.items():
            assert tuple(found["photos"][name]["size"]) == item.pseudo_mask.shape
            for index in (CAT, PERSON):
                drawn, truth = masks[f"{name}|{index - 1}"] > 0, item.pseudo_mask == index
                # Corners are pixel edges, and its filling takes them for centres: half a pixel all round.
                assert (drawn & truth).sum() / (drawn | truth).sum() > 0.95


def test_ultralytics_reads_the_boxes_of_regions_to_the_pixel(exported, read, ultralytics, tmp_path):
    items = exported("yolo")
    found = read(ultralytics, READ_BY_ULTRALYTICS, tmp_path / "yolo", "detect", tmp_path / "masks.npz")
    assert found["photos"].keys() == items.keys()
    for name, item in items.items():
        height, width = item.pseudo_mask.shape
        expected = [
            [VOC.channel(entry.name), box.left, box.top, box.right, box.bottom]
            for entry, box in boxes_in(item.pseudo_mask, VOC, min_area=16)
        ]
        boxes = []
        for channel, x, y, w, h in found["photos"][name]["boxes"]:
            corners = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
            assert np.allclose(corners, np.round(corners), atol=2e-3)
            boxes.append([int(channel), *(round(value) for value in corners)])
        assert sorted(boxes) == sorted(expected)


READ_BY_DATUMARO = """
import json, sys
import numpy as np
from datumaro import AnnotationType, Dataset
dataset = Dataset.import_from(sys.argv[1], sys.argv[2])
labels = dataset.categories()[AnnotationType.label]
found, masks = {}, {}
for item in dataset:
    rows = found.setdefault(item.id, {"part": item.subset, "labels": [], "boxes": []})
    for shape in item.annotations:
        name = labels[shape.label].name
        if shape.type == AnnotationType.mask:
            rows["labels"].append(name)
            masks[f"{item.id}|{name}"] = shape.image
        elif shape.type == AnnotationType.bbox:
            rows["boxes"].append([name, *map(float, shape.points)])
np.savez(sys.argv[3], **masks)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def datumaro():
    return environment("datumaro-1.13.12", "datumaro==1.13.12")


@pytest.mark.parametrize("name", ["cvat", "voc"])
def test_datumaro_reads_masks_to_the_pixel(name, exported, read, datumaro, tmp_path):
    """Datumaro is what CVAT reads its format with."""
    items = exported(name)
    found = read(datumaro, READ_BY_DATUMARO, tmp_path / name, "voc_segmentation", tmp_path / "masks.npz")
    assert {file: row["part"] for file, row in found.items()} == {
        file: item.part if name == "voc" else "default" for file, item in items.items()
    }
    with np.load(tmp_path / "masks.npz") as masks:
        for file, item in items.items():
            for word, index in (("cat", CAT), ("person", PERSON)):
                assert np.array_equal(masks[f"{file}|{word}"], item.pseudo_mask == index)
            assert set(found[file]["labels"]) - {"cat", "person", "background"} <= {"ignored"}
            if name == "voc":
                others = ~np.isin(item.pseudo_mask, (CAT, PERSON, IGNORE))
                assert np.array_equal(masks.get(f"{file}|background", others), others)


def test_datumaro_reads_the_boxes_of_voc_xml(exported, read, datumaro, tmp_path):
    items = exported("voc-boxes")
    found = read(datumaro, READ_BY_DATUMARO, tmp_path / "voc-boxes", "voc_detection", tmp_path / "masks.npz")
    assert {file: row["part"] for file, row in found.items()} == {file: item.part for file, item in items.items()}
    for file, item in items.items():
        expected = [
            # Datumaro takes VOC's corners, both inside and counted from 1, for distances.
            [entry.name, box.left + 1, box.top + 1, box.right, box.bottom]
            for entry, box in boxes_in(item.pseudo_mask, VOC, min_area=16)
        ]
        assert sorted(found[file]["boxes"]) == sorted(expected)


READ_BY_FIFTYONE = """
import json, sys
from pathlib import Path
import numpy as np
from fiftyone.utils.coco import COCODetectionDatasetImporter
root, found, masks = Path(sys.argv[1]), {}, {}
for listed in sorted((root / "annotations").glob("*.json")):
    places = {"data_path": str(root / "images"), "labels_path": str(listed)}
    importer = COCODetectionDatasetImporter(**places, label_types="segmentations")
    with importer:
        for path, size, label in importer:
            name = str(Path(path).relative_to(root / "images").with_suffix(""))
            found[name] = listed.stem.partition("_")[2]
            for shape in label.detections if label else ():
                left, top, width, height = shape.bounding_box
                x, y = round(left * size["width"]), round(top * size["height"])
                mask = masks.setdefault(f"{name}|{shape.label}", np.zeros((size["height"], size["width"]), bool))
                rows, columns = shape.mask.shape
                mask[y : y + rows, x : x + columns] |= shape.mask
np.savez(sys.argv[2], **masks)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fiftyone():
    return environment("fiftyone-1.22.1", "fiftyone==1.22.1", "pycocotools")


def test_fiftyone_reads_coco_to_the_pixel(exported, read, fiftyone, tmp_path):
    """By its own importer, which needs none of its database."""
    items = exported("coco")
    found = read(fiftyone, READ_BY_FIFTYONE, tmp_path / "coco", tmp_path / "masks.npz")
    assert found == {name: item.part for name, item in items.items()}
    with np.load(tmp_path / "masks.npz") as masks:
        for name, item in items.items():
            for word, index in (("cat", CAT), ("person", PERSON)):
                assert np.array_equal(masks[f"{name}|{word}"], item.pseudo_mask == index)
