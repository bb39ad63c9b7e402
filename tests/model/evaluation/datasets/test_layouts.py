"""Each benchmark is read in the layout it is published in, with its own index map; tiny folders stand for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from toco.model.errors import InvalidOption
from toco.model.evaluation.datasets.catalogue import BENCHMARKS, MASK_CLASSES, mask_classes, open_benchmark
from toco.model.evaluation.datasets.coco import draw_instances
from toco.model.evaluation.datasets.dataset import InvalidDataset, folder_dataset
from toco.model.evaluation.evaluate import evaluate, tags_of_truth
from toco.model.photos.classes import COCO, VOC, Vocabulary
from toco.model.photos.images import read_image
from toco.model.photos.palette import PALETTE

# pycocotools 2.0.11 under NumPy 2: its arrays lack the new `copy` keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (4, 6)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 30)).save(path)


def stored(path: Path, values: list[int], *, palette: bool = False) -> None:
    """Write a mask of columns of these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SIZE, np.uint8)
    mask[:, : len(values)] = values
    image = Image.fromarray(mask)
    if palette:
        image = Image.fromarray(mask, "P")
        image.putpalette(PALETTE.tobytes())
    image.save(path)


def listing(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


def voc2012(root: Path) -> None:
    for name in ("2007_000033", "2007_000042"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    stored(root / "SegmentationClass/2007_000033.png", [0, 1, 20, 255], palette=True)
    stored(root / "SegmentationClass/2007_000042.png", [19], palette=True)
    listing(root / "ImageSets/Segmentation/val.txt", "2007_000042", "2007_000033")


def coco2014(root: Path) -> None:
    square = {"id": 1, "image_id": 9, "category_id": 90, "area": 8, "iscrowd": 0}
    crowd = np.zeros(SIZE, np.uint8)
    crowd[:, 5] = 1
    content = {
        "images": [
            {"id": 9, "file_name": "COCO_val2014_000000000009.jpg", "height": SIZE[0], "width": SIZE[1]},
            {"id": 10, "file_name": "COCO_val2014_000000000010.jpg", "height": SIZE[0], "width": SIZE[1]},
        ],
        "annotations": [
            {**square, "segmentation": [[1, 0, 3, 0, 3, 4, 1, 4]]},  # toothbrush over columns 1 and 2
            # Uncompressed RLE, column by column: 20 pixels off, 4 on: a crowd of persons in the last column.
            {
                "id": 2, "image_id": 9, "category_id": 1, "area": 4, "iscrowd": 1,
                "segmentation": {"counts": [20, 4], "size": list(SIZE)},
            },
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 17, "name": "cat"}],
    }  # fmt: skip
    for image in content["images"]:
        photo(root / "val2014" / image["file_name"])
    path = root / "annotations/instances_val2014.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))


def ade20k(root: Path) -> None:
    photo(root / "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg")
    stored(root / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png", [0, 1, 150, 13])


def cityscapes(root: Path) -> None:
    photo(root / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    stored(root / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png", [0, 7, 33, 29, 26])


def context(root: Path) -> None:
    base = root / "VOCdevkit/VOC2010"
    photo(base / "JPEGImages/2008_000002.jpg")
    stored(base / "SegmentationClassContext/2008_000002.png", [0, 1, 59, 55])
    listing(base / "ImageSets/SegmentationContext/val.txt", "2008_000002")


CASES = {
    # benchmark: (builder, first sample, its truth by column, its tags, number of classes)
    "voc2012": (voc2012, "2007_000033", [0, 1, 20, 255, 0, 0], ("aeroplane", "tvmonitor"), 20),
    "coco2014": (coco2014, "COCO_val2014_000000000009", [0, 80, 80, 0, 0, 1], ("person", "toothbrush"), 80),
    "ade20k": (ade20k, "ADE_val_00000001", [255, 1, 150, 13, 255, 255], ("wall", "person", "flag"), 150),
    "cityscapes": (cityscapes, "ulm_000000_000019", [255, 1, 19, 255, 14, 255], ("road", "car", "bicycle"), 19),
    "context59": (context, "2008_000002", [255, 1, 59, 55, 255, 255], ("aeroplane", "tvmonitor", "wood"), 59),
    "context60": (context, "2008_000002", [0, 1, 59, 55, 0, 0], ("aeroplane", "tvmonitor", "wood"), 59),
}


def test_every_benchmark_has_a_case():
    assert CASES.keys() == BENCHMARKS.keys()


@pytest.mark.parametrize("name", CASES)
def test_native_layout(name, tmp_path):
    build, first, truth, tags, classes = CASES[name]
    build(tmp_path)
    dataset = open_benchmark(name, tmp_path)
    assert (dataset.name, dataset.split, len(dataset.classes)) == (name, "val", classes)
    sample = dataset.samples[0]
    assert sample.name == first
    mask = sample.read_truth()
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.tile(np.array(truth, np.uint8), (SIZE[0], 1)))
    assert read_image(sample.image).original_size == SIZE
    assert tags_of_truth(mask, dataset.classes) == tags
    assert sample.tags in (None, tags)


@pytest.mark.parametrize("name", CASES)
def test_a_perfect_model_scores_one(name, tmp_path):
    CASES[name][0](tmp_path)
    dataset = open_benchmark(name, tmp_path)

    def predict(samples):
        for sample, tags in samples:
            assert tags
            truth = sample.read_truth()
            yield np.where(truth == 255, 0, truth).astype(np.uint8)

    report = evaluate(dataset.samples, predict, truth_classes=dataset.classes, model_classes=dataset.classes)
    assert report.miou == 1.0
    assert report.images == len(dataset.samples)
    # Benchmarks without background leave it out of the mean.
    assert ("background" in report.settings["mean_over"]) == (name in ("voc2012", "coco2014", "context60"))


@pytest.mark.parametrize("parent", ["VOC2012", "VOCdevkit/VOC2012", "."])
def test_voc_may_be_named_by_any_of_its_folders(parent, tmp_path):
    voc2012(tmp_path / parent)
    assert [sample.name for sample in open_benchmark("VOC 2012", tmp_path).samples] == ["2007_000033", "2007_000042"]


@pytest.mark.parametrize("name", CASES)
def test_a_folder_without_the_layout_says_what_it_should_be(name, tmp_path):
    with pytest.raises(InvalidDataset, match="There is no folder") as caught:
        open_benchmark(name, tmp_path)
    assert "layout" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("voc2012", "SegmentationClass/2007_000033.png"),
        ("voc2012", "ImageSets/Segmentation/val.txt"),
        ("coco2014", "annotations/instances_val2014.json"),
        ("ade20k", "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"),
        ("ade20k", "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg"),
        ("cityscapes", "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"),
        ("cityscapes", "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"),
        ("context60", "VOCdevkit/VOC2010/SegmentationClassContext/2008_000002.png"),
    ],
)
def test_missing_files_are_named(name, broken, tmp_path):
    CASES[name][0](tmp_path)
    (tmp_path / broken).unlink()
    with pytest.raises(InvalidDataset, match="There is no"):
        open_benchmark(name, tmp_path)


def test_an_empty_split(tmp_path):
    voc2012(tmp_path)
    listing(tmp_path / "ImageSets/Segmentation/val.txt")
    with pytest.raises(InvalidDataset, match="lists no image"):
        open_benchmark("voc2012", tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", '{"categories": [{"id": 1, "name": "unicorn"}]}'])
def test_broken_coco_annotations(content, tmp_path):
    coco2014(tmp_path)
    (tmp_path / "annotations/instances_val2014.json").write_text(content)
    with pytest.raises(InvalidDataset, match="does not fit COCO"):
        open_benchmark("coco2014", tmp_path)


def test_small_instances_lie_on_top_of_large_ones():
    large, small = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    large[:], small[1:3, 1:3] = 1, 1
    annotations = [
        {"id": n, "category_id": n, "area": int(m.sum()), "segmentation": coco_mask.encode(np.asfortranarray(m))}
        for n, m in ((1, small), (2, large))
    ]
    for order in (annotations, annotations[::-1]):
        drawn = draw_instances(order, height=SIZE[0], width=SIZE[1], index={1: 5, 2: 7})
        np.testing.assert_array_equal(drawn, np.where(small, 5, 7))


def test_datasets_by_their_usual_names(tmp_path):
    ade20k(tmp_path)
    assert open_benchmark("ADE20K-150", tmp_path).name == "ade20k"
    with pytest.raises(InvalidOption, match="Unknown dataset 'imagenet'"):
        open_benchmark("imagenet", tmp_path)


def test_a_folder_of_photos_and_one_of_masks(tmp_path):
    for name in ("a", "b", "c"):
        photo(tmp_path / "photos" / f"{name}.jpg")
    stored(tmp_path / "masks/b.png", [8], palette=True)
    stored(tmp_path / "masks/a.png", [12], palette=True)
    dataset = folder_dataset(tmp_path / "photos", tmp_path / "masks", VOC)
    assert [sample.name for sample in dataset.samples] == ["a", "b"]
    assert tags_of_truth(dataset.samples[1].read_truth(), VOC) == ("cat",)
    stored(tmp_path / "masks/z.png", [1], palette=True)
    with pytest.raises(InvalidDataset, match=r"1 of 3 masks .* the first 'z'"):
        folder_dataset(tmp_path / "photos", tmp_path / "masks", VOC)
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidDataset, match="0 of 0 masks"):
        folder_dataset(tmp_path / "photos", tmp_path / "none", VOC)


def test_mask_classes():
    assert mask_classes("VOC") is VOC
    assert mask_classes("coco") is COCO
    assert mask_classes("cat, big dog") == Vocabulary.of_names(["cat", "big dog"])
    assert {name: len(classes) for name, classes in MASK_CLASSES.items()} == {
        "voc": 20, "coco": 80, "ade20k": 150, "cityscapes": 19, "context": 59,
    }  # fmt: skip
    for nonsense in ("imagenet", "cat,,dog"):
        with pytest.raises(InvalidOption, match="Unknown mask classes"):
            mask_classes(nonsense)
