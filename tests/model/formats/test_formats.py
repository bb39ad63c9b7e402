"""Each format is read back by the tool that it is for, or as that tool reads it, and gives the mask again."""

import json
import zipfile
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
import torchvision
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from toco.model.errors import InvalidArray, InvalidOption
from toco.model.formats.cvat import CvatWriter
from toco.model.formats.item import LabelledItem, MissingPart
from toco.model.formats.label_studio import Canvas, labelling_config
from toco.model.formats.registry import FORMATS, UnknownFormat, open_writer
from toco.model.formats.sink import FILE_LIST, FolderSink, ZipSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import COCO as COCO_CLASSES
from toco.model.photos.classes import IGNORE, VOC, Vocabulary
from toco.model.photos.images import UnsupportedImageFormat
from toco.model.photos.palette import PALETTE

# pycocotools 2.0.11 decodes by an array protocol that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CAT, PERSON = 8, 15


@pytest.fixture
def export(tmp_path):
    """Write items into a folder and return it."""

    def run(format_name, *items, root=None, **options):
        folder = tmp_path / (root or format_name)
        with FolderSink(folder) as sink, open_writer(format_name, sink, VOC, ExportOptions(**options)) as writer:
            for item in items:
                writer.add(item)
        return folder

    return run


@pytest.fixture
def items(make_item, make_photo):
    return [
        make_item("cat.jpg"),
        make_item("farm/two dogs.png", photo=make_photo(70, 100, "PNG"), height=70, width=100),
        make_item("empty.jpg", tags=()),
    ]


def without_ignored(mask):
    return np.where(mask == IGNORE, 0, mask)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


# VOC


def test_voc_is_read_by_torchvision(export, items):
    folder = export("voc", *items, root="VOCdevkit/VOC2012")
    dataset = torchvision.datasets.VOCSegmentation(folder.parent.parent, image_set="train")
    assert len(dataset) == 3
    for (image, target), item in zip(dataset, items, strict=True):
        assert image.mode == "RGB"
        assert image.size == target.size
        assert np.array_equal(np.array(target), item.pseudo_mask)
        assert target.getpalette() == PALETTE.ravel().tolist()
    assert IGNORE in np.array(dataset[0][1])


def test_voc_lists_photos_and_classes(export, items):
    folder = export("voc", *items, subset="val_1", images=False)
    assert (folder / "ImageSets/Segmentation/val_1.txt").read_text() == "cat\nfarm/two dogs\nempty\n"
    assert (folder / "labels.txt").read_text().splitlines()[:2] == ["0\tbackground", "1\taeroplane"]
    assert not (folder / "JPEGImages").exists()


# COCO


def load_coco(folder):
    coco = COCO(folder / "annotations/instances_train.json")
    masks = {}
    for image in coco.loadImgs(coco.getImgIds()):
        with Image.open(folder / "images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask[coco.annToMask(annotation).astype(bool)] = annotation["category_id"]
        masks[image["file_name"]] = mask
    return coco, masks


def test_coco_rle_is_read_by_pycocotools(export, items):
    coco, masks = load_coco(export("coco", *items))
    assert list(masks) == ["cat.jpg", "farm/two dogs.png", "empty.jpg"]
    for mask, item in zip(masks.values(), items, strict=True):
        assert np.array_equal(mask, without_ignored(item.pseudo_mask))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(VOC.names)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [annotation["category_id"] for annotation in annotations] == [CAT, PERSON] * 2
    for annotation, entry in zip(annotations, items[0].result.classes, strict=False):
        assert annotation["area"] == entry.area
        assert annotation["score"] == pytest.approx(entry.score, abs=1e-4)
        x, y, width, height = (int(value) for value in annotation["bbox"])
        region = masks["cat.jpg"] == annotation["category_id"]
        assert region[y : y + height, x : x + width].sum() == entry.area
        assert annotation["iscrowd"] == 0


def test_coco_makes_an_instance_of_each_region_on_demand(export, items):
    coco, masks = load_coco(export("coco", items[0], components=True, min_area=1))
    people = coco.loadAnns(coco.getAnnIds(catIds=[PERSON]))
    assert [annotation["area"] for annotation in people] == [45 * 30, 1]
    assert np.array_equal(masks["cat.jpg"], without_ignored(items[0].pseudo_mask))


def test_coco_polygons_are_read_by_pycocotools(export, items):
    _, masks = load_coco(export("coco-polygons", *items, tolerance=0, min_area=0))
    for mask, item in zip(masks.values(), items, strict=True):
        assert np.array_equal(mask, without_ignored(item.pseudo_mask))


def test_simplified_coco_polygons_stay_close_and_leave_specks_out(export, items):
    coco, masks = load_coco(export("coco-polygons", *items))
    assert iou(masks["cat.jpg"] == CAT, items[0].pseudo_mask == CAT) > 0.96
    (person,) = coco.loadAnns(coco.getAnnIds(imgIds=[1], catIds=[PERSON]))
    assert len(person["segmentation"]) == 1
    assert (person["area"], person["bbox"]) == (45 * 30, [90, 45, 30, 45])


def test_a_class_of_specks_has_no_polygon(export, make_item):
    item = make_item()
    item.pseudo_mask[:] = 0
    item.pseudo_mask[3, 3] = CAT
    coco, _ = load_coco(export("coco-polygons", item))
    assert coco.getAnnIds() == []


def test_an_untagged_class_of_the_segmentation_map_has_no_score(export, make_item):
    item = make_item(tags=("person",))
    coco, masks = load_coco(export("coco", item, mask="segmentation"))
    scores = {entry["category_id"]: entry.get("score") for entry in coco.loadAnns(coco.getAnnIds())}
    assert scores == {CAT: None, PERSON: pytest.approx(item.result.classes[0].score, abs=1e-4)}
    assert np.array_equal(masks["cat.jpg"], item.segmentation)


# YOLO


def read_yolo(folder, name, height, width):
    """Read a label file as Ultralytics does: class and corners a line, filled by OpenCV."""
    mask = np.zeros((height, width), np.uint8)
    lines = [line.split() for line in (folder / f"labels/train/{name}.txt").read_text().splitlines()]
    for category, *values in lines:
        corners = np.array(values, np.float32).reshape(-1, 2)
        assert corners.min() >= 0
        assert corners.max() <= 1
        # Corners are pixel edges, OpenCV's coordinates pixel centres, in sixteenths here.
        points = np.round(corners * [width * 16, height * 16] - 8).astype(np.int32)
        cv2.fillPoly(mask, [points], int(category) + 1, shift=4)
    return mask, len(lines)


def test_yolo_is_read_as_ultralytics_does(export, make_item):
    items = [
        make_item("cat.jpg", height=270, width=360),
        make_item("farm/two dogs.jpg", height=400, width=300),
        make_item("empty.jpg", tags=()),
    ]
    folder = export("yolo-seg", *items)
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(VOC.names))
    assert "path" not in data, "Ultralytics would look for it in the working directory, not beside data.yaml"
    pictures = [path.relative_to(folder / data["train"]) for path in (folder / data["train"]).rglob("*.jpg")]
    assert sorted(map(str, pictures)) == sorted(item.name for item in items)
    for name, item in zip(("cat", "farm/two dogs"), items, strict=False):
        mask, lines = read_yolo(folder, name, *item.pseudo_mask.shape)
        assert lines == 2
        for index in (CAT, PERSON):
            assert iou(mask == index, item.pseudo_mask == index) > 0.97
    assert read_yolo(folder, "empty", 90, 120)[1] == 0


# Label Studio


def test_label_studio_polygons_give_the_mask_again(export, items):
    folder = export("label-studio", *items, regions="polygon", tolerance=0.5, image_prefix="https://photos.example/")
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "https://photos.example/cat.jpg",
        "https://photos.example/farm/two%20dogs.png",
        "https://photos.example/empty.jpg",
    ]
    for task, item in zip(tasks, items, strict=True):
        height, width = item.pseudo_mask.shape
        for index, name in ((CAT, "cat"), (PERSON, "person")):
            rings = [
                (np.array(region["value"]["points"]) / 100 * [width, height]).ravel().tolist()
                for region in task["predictions"][0]["result"]
                if region["value"]["polygonlabels"] == [name]
            ]
            assert bool(rings) == bool(item.result.tags)
            if rings:
                found = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, height, width))).astype(bool)
                assert iou(found, item.pseudo_mask == index) > 0.97


def test_label_studio_tasks_fit_their_config_and_photos(export, items):
    folder = export("label-studio", *items)
    config = ET.parse(folder / "label_config.xml").getroot()
    controls = {node.get("name"): node for node in config if node.get("toName")}
    tasks = json.loads((folder / "tasks.json").read_text())
    for task, item in zip(tasks, items, strict=True):
        assert (folder / unquote(task["data"]["image"].partition("?d=")[2])).exists()
        (prediction,) = task["predictions"]
        assert prediction["model_version"].startswith("tiny@0123+")
        assert prediction["score"] == pytest.approx(item.result.score, abs=1e-4)
        for region in prediction["result"]:
            control = controls[region["from_name"]]
            assert control.tag.lower() == region["type"]
            assert control.get("toName") == region["to_name"]
            assert region["value"][region["type"]][0] in {label.get("value") for label in control}
            assert (region["original_height"], region["original_width"]) == item.pseudo_mask.shape
            score = item.result.class_score(region["value"][region["type"]][0])
            assert region["score"] == pytest.approx(score, abs=1e-4)
    ids = [region["id"] for task in tasks for region in task["predictions"][0]["result"]]
    assert len(set(ids)) == len(ids) == 4


def test_label_studio_rectangles_and_key_points_are_in_percent():
    mask = np.zeros((50, 200), bool)
    mask[10:20, 40:50] = True
    canvas = Canvas(height=50, width=200, to_name="photo", key="a")
    box = canvas.rectangle(mask, "cat", from_name="boxes", score=0.5)
    assert {key: box["value"][key] for key in ("x", "y", "width", "height")} == {
        "x": 20.0, "y": 20.0, "width": 5.0, "height": 20.0,
    }  # fmt: skip
    assert (box["type"], box["from_name"], box["to_name"], box["score"]) == ("rectanglelabels", "boxes", "photo", 0.5)
    assert canvas.rectangle(np.zeros((50, 200), bool), "cat") is None
    cam = np.zeros((10, 10), np.float32)
    cam[2, 7] = 0.75
    point = canvas.keypoint(cam, "cat")
    assert (point["value"]["x"], point["value"]["y"], point["score"]) == (75.0, 25.0, 0.75)


def test_the_labelling_config_quotes_names():
    config = ET.fromstring(labelling_config(COCO_CLASSES, ("brush", "polygon", "rectangle", "keypoint")))
    assert [node.tag for node in config] == [
        "Image", "BrushLabels", "PolygonLabels", "RectangleLabels", "KeyPointLabels",
    ]  # fmt: skip
    for node in config[1:]:
        assert [label.get("value") for label in node] == list(COCO_CLASSES.names)


# CVAT


def unpaint(path, colours):
    """Turn a coloured PNG back into indices, as CVAT's reader does; a colour that it does not know is an error."""
    with Image.open(path) as file:
        picture = np.array(file)
    assert picture.shape[2] == 3
    flat, inverse = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    return np.array([colours[tuple(colour)] for colour in flat.tolist()])[inverse].reshape(picture.shape[:2])


def test_cvat_masks_use_only_colours_of_the_label_map(export, items):
    folder = export("cvat", *items)
    rows = [line.split(":") for line in (folder / "labelmap.txt").read_text().splitlines()[1:]]
    labels = {tuple(map(int, row[1].split(","))): row[0] for row in rows}
    assert list(labels.values()) == ["background", *VOC.names]
    index = {colour: {"background": 0, "cat": CAT, "person": PERSON}.get(name, -1) for colour, name in labels.items()}
    numbers = {tuple(colour): number for number, colour in enumerate(PALETTE.tolist())}
    frames = (folder / "ImageSets/Segmentation/default.txt").read_text().splitlines()
    assert frames == ["cat", "farm/two dogs", "empty"]
    for frame, item in zip(frames, items, strict=True):
        classes = unpaint(folder / f"SegmentationClass/{frame}.png", index)
        assert np.array_equal(classes, without_ignored(item.pseudo_mask))
        instances = unpaint(folder / f"SegmentationObject/{frame}.png", numbers)
        assert np.array_equal(instances, (classes == CAT) + 2 * (classes == PERSON))


def test_cvat_refuses_names_that_its_label_map_cannot_hold(tmp_path):
    with pytest.raises(InvalidOption, match="'a:b'"):
        CvatWriter(FolderSink(tmp_path), Vocabulary.of_names(["cat", "a:b"]), ExportOptions())


def test_cvat_keeps_the_255_largest_regions(export, make_item):
    item = make_item()
    item.pseudo_mask[:] = 0
    item.pseudo_mask[::3, ::3] = CAT  # 30 x 40 single pixels
    item.pseudo_mask[60:62, 60:62] = PERSON
    folder = export("cvat", item, components=True, min_area=0)
    numbers = {tuple(colour): number for number, colour in enumerate(PALETTE.tolist())}
    instances = unpaint(folder / "SegmentationObject/cat.png", numbers)
    classes = unpaint(folder / "SegmentationClass/cat.png", numbers)
    assert len(np.unique(instances)) == 256
    assert np.unique(classes[instances == 1]).tolist() == [PERSON]
    assert np.array_equal(classes > 0, instances > 0)


# Hugging Face


def test_hugging_face_datasets_loads_the_folder(export, items, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # at the top it would slow every test of this file down

    folder = export("huggingface", *items)
    rows = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"image", "mask", "tags", "scores", "ignore_ratio"} <= set(rows.column_names)
    for row, item in zip(rows, items, strict=True):
        assert np.array_equal(np.array(row["mask"]), item.pseudo_mask)
        assert row["image"].size == row["mask"].size
        assert row["tags"] == list(item.result.tags)
        assert row["scores"] == pytest.approx([entry.score for entry in item.result.classes], abs=1e-4)
    assert json.loads((folder / "id2label.json").read_text())["8"] == "cat"


def test_hugging_face_cannot_do_without_photos(export, encode):
    with pytest.raises(MissingPart, match=r"cat\.jpg"):
        export("huggingface", LabelledItem("cat.jpg", encode().get))


# Raw CAMs


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_npz_is_read_by_numpy(export, items, dtype):
    folder = export("npz", *items, cam_dtype=dtype)
    for name, item in zip(("cat", "farm/two dogs", "empty"), items, strict=True):
        with np.load(folder / f"cams/{name}.npz") as arrays:
            assert arrays["cams"].dtype == dtype
            assert arrays["cams"].shape == (len(item.result.tags), *item.pseudo_mask.shape)
            assert tuple(arrays["names"]) == item.result.tags
            assert arrays["indices"].tolist() == [entry.index for entry in item.result.classes]
            assert tuple(arrays["size"]) == item.pseudo_mask.shape
            for cam, entry in zip(arrays["cams"], item.result.classes, strict=True):
                assert cam.max() == pytest.approx(entry.peak, abs=1e-3)


def test_npz_needs_cams(export, make_item):
    with pytest.raises(MissingPart, match="CAMs"):
        export("npz", make_item(outputs=("pseudo_mask",)))


def test_npz_needs_nothing_but_cams(export, make_item):
    assert (export("npz", make_item(outputs=("cam",))) / "cams/cat.npz").is_file()


# All formats


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_zip_holds_the_files_of_the_folder(export, items, format_name, tmp_path):
    class Pipe:
        """Takes bytes in order, as a socket does."""

        def __init__(self):
            self.data = bytearray()

        def write(self, data):
            self.data += data
            return len(data)

    def zipped():
        pipe = Pipe()
        with ZipSink(pipe) as sink, open_writer(format_name, sink, VOC) as writer:
            for item in items:
                writer.add(item)
        return bytes(pipe.data)

    folder = export(format_name, *items)
    (tmp_path / "export.zip").write_bytes(zipped())
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files.pop(FILE_LIST).decode().splitlines() == list(found)
    assert found == files
    assert zipped() == (tmp_path / "export.zip").read_bytes()


def test_formats_have_one_line_each():
    assert list(FORMATS) == [
        "voc", "coco", "coco-polygons", "yolo-seg", "yolo", "voc-boxes", "label-studio", "cvat", "huggingface", "npz",
    ]  # fmt: skip
    for name, writer in FORMATS.items():
        assert writer.name == name
        assert 10 < len(writer.description) < 100


def test_an_unknown_format_is_named():
    with pytest.raises(UnknownFormat, match=r"'tfrecord'\. Use one of voc, coco"):
        open_writer("tfrecord", None, VOC)


@pytest.mark.parametrize("format_name", ["voc", "coco", "yolo-seg", "cvat", "huggingface"])
def test_photos_that_differ_in_their_suffix_stay_apart(export, make_item, make_photo, format_name):
    photos = [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a_png.jpg", "JPEG")]
    folder = export(format_name, *(make_item(name, photo=make_photo(kind=kind)) for name, kind in photos))
    masks = [path for path in folder.rglob("*") if path.parent.name in {"SegmentationClass", "masks"}]
    pictures = [path for path in folder.rglob("*.*") if {"images", "JPEGImages"} & set(path.parts)]
    labels = [path for path in folder.rglob("*.txt") if "labels" in path.parts]
    assert {len(group) for group in (masks, pictures, labels) if group} == {3}


def test_a_turned_photo_is_written_upright(export, make_item, make_photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo = make_photo(120, 90, exif=exif)
    folder = export("coco", make_item("turned.jpeg", photo=photo), make_item("as it is.JPG"), make_item("bare"))
    with Image.open(folder / "images/turned.jpg") as picture:
        assert picture.size == (120, 90)
        assert picture.getexif().get(0x0112, 1) == 1
    assert (folder / "images/as it is.JPG").read_bytes() == make_photo()
    assert (folder / "images/bare.jpg").read_bytes() == make_photo()


def test_what_cannot_be_exported_is_named(export, make_item):
    with pytest.raises(MissingPart, match=r"segmentation\.png of 'cat\.jpg' was not made"):
        export("voc", make_item(outputs=("pseudo_mask",)), mask="segmentation")
    with pytest.raises(UnsupportedImageFormat):
        export("voc", make_item(photo=b"no photo"))
    foreign = make_item()
    foreign.pseudo_mask[0, 0] = 77
    with pytest.raises(InvalidArray, match=r"'cat\.jpg' holds the index 77"):
        export("coco", foreign)


def test_after_an_error_the_last_files_are_not_written(export, make_item, tmp_path):
    with pytest.raises(MissingPart):
        export("voc", make_item(), make_item("b.jpg", outputs=("pseudo_mask",)), mask="segmentation")
    assert not (tmp_path / "voc/labels.txt").exists()
