"""Several formats from one reading of each photo; a photo that cannot go in is left out and named."""

import io
from collections import Counter

import pytest

from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.export import export_items
from toco.model.formats.item import LabelledItem, MissingPart
from toco.model.formats.sink import FolderSink, ZipSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import VOC, Vocabulary


class StoreAway(TocoError):
    """The place that the photos come from does not answer."""

    kind = "unavailable"


@pytest.fixture
def export(tmp_path):
    def run(items, *formats, vocabulary=VOC, **options):
        sinks = {name: FolderSink(tmp_path / name) for name in formats}
        return export_items(items, sinks, vocabulary, ExportOptions(**options))

    return run


@pytest.fixture
def damaged(encode):
    """An item whose mask is cut short."""
    artifacts = encode()
    return LabelledItem(
        "bad.jpg", (artifacts | {"pseudo_mask.png": artifacts["pseudo_mask.png"][:60]}).get, load_image=bytes
    )


def test_each_part_of_a_photo_is_read_once_for_all_formats(encode, make_photo, export):
    artifacts, read = encode(), Counter()

    def load(name):
        read[name] += 1
        return artifacts.get(name)

    def load_image():
        read["photo"] += 1
        return make_photo()

    items = [LabelledItem("cat.jpg", load, load_image=load_image)]
    report = export(items, "voc", "coco", "yolo-seg", "huggingface", "npz")
    assert (report.written, report.left_out) == (1, [])
    assert read == {"result.json": 1, "pseudo_mask.png": 1, "cam.npz": 1, "photo": 1}


def test_a_damaged_mask_is_left_out_and_named(damaged, make_item, export, tmp_path):
    report = export([make_item("a.jpg"), damaged, make_item("z.jpg")], "voc", "coco", "npz")
    assert report.written == 2
    (found,) = report.left_out
    assert (found.name, found.formats, found.code) == ("bad.jpg", ("voc", "coco"), "invalid_artifact")
    assert "pseudo_mask.png of 'bad.jpg' cannot be read" in found.detail
    assert (tmp_path / "voc/ImageSets/Segmentation/train.txt").read_text().split() == ["a", "z"]
    assert {path.stem for path in (tmp_path / "coco/images").iterdir()} == {"a", "z"}
    assert {path.stem for path in (tmp_path / "npz/cams").iterdir()} == {"a", "bad", "z"}


def test_a_photo_that_is_gone_is_left_out_where_photos_are_wanted(make_item, encode, export):
    gone = LabelledItem("gone.jpg", encode().get)
    report = export([make_item("a.jpg"), gone], "voc", "cvat")
    assert [(entry.name, entry.formats) for entry in report.left_out] == [("gone.jpg", ("voc",))]


def test_a_format_that_takes_no_photo_fails_with_the_reason(make_item, export):
    maskless = [make_item(f"{n}.jpg", outputs=("cam",)) for n in range(2)]
    assert export(maskless, "npz").written == 2
    with pytest.raises(MissingPart, match=r"pseudo_mask\.png of '0\.jpg' was not made"):
        export(maskless, "npz", "voc")


def test_no_photos_make_an_empty_export(export, tmp_path):
    assert export([], "coco").written == 0
    assert (tmp_path / "coco/annotations/instances_train.json").is_file()


def test_what_is_no_photos_fault_ends_the_export(encode, make_item, export):
    def away():
        raise StoreAway("The store is away.")

    with pytest.raises(StoreAway):
        export([make_item(), LabelledItem("b.jpg", encode().get, load_image=away)], "voc")
    with pytest.raises(InvalidOption, match="':' ends a name"):
        export([make_item()], "cvat", vocabulary=Vocabulary.of_names(["a:b"]))


def test_progress_is_told_after_every_photo(make_item, damaged):
    seen = []
    sinks = {"voc": ZipSink(io.BytesIO())}
    items = [make_item(), damaged]
    export_items(
        items, sinks, VOC, ExportOptions(), on_item=lambda item, so_far: seen.append((item.name, so_far.written))
    )
    sinks["voc"].close()
    assert seen == [("cat.jpg", 1), ("bad.jpg", 1)]
