"""Several formats from one reading of each photo; a photo that cannot go in is left out and named."""

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.model.formats.conftest import OPTIONS, SPEC
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.export import export_items
from toco.model.formats.item import LabelledItem, MissingPart
from toco.model.formats.sink import FolderSink, ZipSink
from toco.model.formats.splits import ListedPhoto, split_photos
from toco.model.formats.statistics import AREA_BOUNDS, Statistics
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


# Parts, statistics and the data sheet


@pytest.fixture
def three(make_item):
    """Two photos of a cat and a person, and one of nothing, in three parts."""
    items = [make_item("a.jpg"), make_item("b.jpg"), make_item("c.jpg", tags=())]
    for item, part in zip(items, ("train", "val", "test"), strict=True):
        item.part = part
    return items


def test_every_format_that_has_parts_keeps_them_apart(three, export, tmp_path):
    export(three, "voc", "voc-boxes", "coco", "coco-polygons", "yolo-seg", "yolo", "huggingface")
    for part, name in (("train", "a"), ("val", "b"), ("test", "c")):
        assert (tmp_path / f"voc/ImageSets/Segmentation/{part}.txt").read_text() == f"{name}\n"
        assert (tmp_path / f"voc-boxes/ImageSets/Main/{part}.txt").read_text() == f"{name}\n"
        for coco in ("coco", "coco-polygons"):
            document = json.loads((tmp_path / coco / f"annotations/instances_{part}.json").read_text())
            assert [image["file_name"] for image in document["images"]] == [f"{name}.jpg"]
        for yolo in ("yolo", "yolo-seg"):
            assert [path.name for path in (tmp_path / yolo / "images" / part).iterdir()] == [f"{name}.jpg"]
            assert [path.name for path in (tmp_path / yolo / "labels" / part).iterdir()] == [f"{name}.txt"]
            data = yaml.safe_load((tmp_path / yolo / "data.yaml").read_text())
            assert data[part] == f"images/{part}"
        (row,) = (tmp_path / f"huggingface/{part}/metadata.jsonl").read_text().splitlines()
        assert json.loads(row)["file_name"] == f"images/{name}.jpg"
    assert (tmp_path / "voc/photos.csv").read_text() == "photo,file,part\na.jpg,a,train\nb.jpg,b,val\nc.jpg,c,test\n"


def test_statistics_count_what_the_masks_show(three, export, tmp_path):
    export(three, "voc", "yolo-seg")
    found = Statistics.model_validate_json((tmp_path / "voc/statistics.json").read_text())
    mask = three[0].pseudo_mask
    assert (found.photos, found.parts) == (3, {"train": 1, "val": 1, "test": 1})
    assert (found.pixels, found.open_pixels) == (3 * mask.size, 2 * int((mask == 255).sum()))
    assert (found.empty_photos, found.together) == (1, {"cat": {"person": 2}})
    cat, _ = found.classes
    assert (cat.name, cat.tagged, cat.photos, cat.parts) == ("cat", 2, 2, {"train": 1, "val": 1})
    assert (cat.pixels, cat.regions, cat.specks) == (2 * int((mask == 8).sum()), 2, 0)
    share = (mask == 8).mean()
    assert cat.areas == tuple(
        2 * (low < share <= high) for low, high in zip((0, *AREA_BOUNDS), AREA_BOUNDS, strict=False)
    )
    assert found.doubt == pytest.approx(sum(item.result.doubt for item in three) / 3)
    assert found.outline_iou is None
    outlined = Statistics.model_validate_json((tmp_path / "yolo-seg/statistics.json").read_text())
    assert 0.9 < outlined.outline_iou < 1
    assert outlined.classes[0].outline_iou < 1


def test_each_format_counts_the_photos_that_it_holds(make_item, tmp_path):
    items = [make_item("a.jpg"), make_item(" b.jpg")]  # CVAT's list of frames would lose the second name
    sinks = {name: FolderSink(tmp_path / name) for name in ("voc", "cvat")}
    report = export_items(items, sinks, VOC, ExportOptions())
    assert [(photo.name, photo.formats) for photo in report.left_out] == [(" b.jpg", ("cvat",))]
    for name, photos in (("voc", 2), ("cvat", 1)):
        found = Statistics.model_validate_json((tmp_path / name / "statistics.json").read_text())
        assert (found.photos, found.classes[0].photos) == (photos, photos)
        assert len((tmp_path / name / "photos.csv").read_text().splitlines()) == 1 + photos


def test_outlines_that_keep_every_corner_cost_nothing(three, export, tmp_path):
    export(three, "coco-polygons", tolerance=0, min_area=0)
    assert json.loads((tmp_path / "coco-polygons/statistics.json").read_text())["outline_iou"] == 1


def test_the_data_sheet_says_what_was_made_how_and_its_limits(three, make_item, tmp_path):
    photos = [ListedPhoto(item.name, frozenset(item.result.tags), item.result.fingerprint) for item in three]
    split = split_photos(photos, "80/10/10", seed=3)
    for item in three:
        item.part = split.parts[item.name]
    with FolderSink(tmp_path) as sink:
        options = ExportOptions(mask="segmentation", split="80/10/10", seed=3)
        export_items(three, {"huggingface": sink}, VOC, options, split=split, about=["Job `7`."], audit=["90 % right."])
    sheet = (tmp_path / "README.md").read_text()
    assert sheet.startswith("---\ntask_categories:")
    for part in (
        "# Data sheet: 3 photos, 2 classes", "- Job `7`.", "80/10/10 by class, seed 3", "look like another one: 3",
        "Model `tiny@0123`: 3 photos", '"cam"', "`mask` segmentation", "90 % right.",
        "mask a person drew or corrected: 0",
        "- Words that were not understood, and what they may own left open: unicorn (3).",
    ):  # fmt: skip
        assert part in sheet
    assert "| cat | 8 | 2 | 3 | " in sheet


def test_the_data_sheet_has_the_options_where_all_photos_have_the_same(make_item, export, tmp_path):
    same = [make_item("a.jpg"), make_item("b.jpg")]
    export(same, "voc")
    digest, sheet = SPEC.completed(OPTIONS).digest(), (tmp_path / "voc/README.md").read_text()
    assert f'- Options of the labels ({digest}): `{{"batch_pixels": null, "cam": {{' in sheet
    other = make_item("c.jpg")
    other.result.options["refine"] = "none"  # as photos of learnt words have other options in one run
    export([*same, other], "voc-boxes")
    assert "labelled with several sets of options" in (tmp_path / "voc-boxes/README.md").read_text()


def test_without_an_audit_the_data_sheet_says_so(make_item, export, tmp_path):
    export([make_item()], "voc")
    assert "Nobody checked a sample of these masks" in (tmp_path / "voc/README.md").read_text()


@pytest.mark.parametrize("name", ["voc", "yolo-seg"])  # one counts regions itself, the other finds them for outlines
def test_specks_that_outlines_leave_out_are_no_regions(name, make_item, export, tmp_path):
    for least, counts in ((0, (2, 0)), (1, (2, 0)), (2, (1, 1)), (16, (1, 1))):
        export([make_item()], name, min_area=least)
        found = Statistics.model_validate_json((tmp_path / name / "statistics.json").read_text())
        person = found.classes[1]
        assert (found.min_area, (person.regions, person.specks)) == (least, counts), "one person, and a pixel apart"
    assert "| 1 | 1 |\n\nSpecks are regions of fewer than 16 pixels" in (tmp_path / name / "README.md").read_text()


def test_small_regions_are_left_open_and_holes_filled_in_every_format(make_item, export, tmp_path):
    before = make_item().pseudo_mask
    export([make_item()], "voc", "yolo-seg", min_region=4, fill_holes=1000)
    with Image.open(tmp_path / "voc/SegmentationClass/cat.png") as file:
        after = np.array(file)
    assert (before[2, -3], after[2, -3]) == (15, 255)  # a speck of a person is no person, nor surely background
    hole = (before == 0) & (after == 8)
    assert hole.sum() == json.loads((tmp_path / "voc/statistics.json").read_text())["tidied_pixels"] - 1 > 50
    assert np.count_nonzero(after != before) == hole.sum() + 1, "all else stays"
    assert len((tmp_path / "yolo-seg/labels/train/cat.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "stem"),
    [(" a.jpg", "_a"), ("#a.jpg", "_a"), ("b /#c.jpg", "b_/_c"), ("a#b.jpg", "a#b"), ("images/a.jpg", "images/a")],
)
def test_names_that_lists_would_lose_are_written_so_that_they_survive(name, stem, make_item, export, tmp_path):
    export([make_item(name)], "voc")
    assert (tmp_path / "voc/ImageSets/Segmentation/train.txt").read_text() == f"{stem}\n"
    ((found, file, _),) = list(csv.reader((tmp_path / "voc/photos.csv").read_text().splitlines()))[1:]
    assert (found, file) == (name, stem)


def test_names_that_differ_in_case_alone_stay_apart_on_every_file_system(make_item, export, tmp_path):
    export([make_item("a.jpg"), make_item("A.jpg")], "coco")
    assert {path.name.casefold() for path in (tmp_path / "coco/images").iterdir()} == {"a.jpg", "a_jpg.jpg"}


def test_cvat_keeps_the_names_by_which_it_finds_its_photos(make_item, export, tmp_path):
    report = export([make_item("b /#a.jpg"), make_item("#a.jpg"), make_item("c .jpg")], "cvat")
    assert (tmp_path / "cvat/SegmentationClass/b /#a.png").is_file()
    assert [(entry.name, entry.code) for entry in report.left_out] == [
        ("#a.jpg", "invalid_name"), ("c .jpg", "invalid_name"),
    ]  # fmt: skip
