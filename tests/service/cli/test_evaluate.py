"""`toco evaluate`: the figures of the report, whichever way the dataset is named."""

import json

import numpy as np
import pytest
from PIL import Image

from toco.model.photos.images import read_mask


@pytest.fixture
def masks(tmp_path, photos):
    """Truth for three photos, in VOC indices: cat, dog and person halves, and a sofa that the model does not know."""
    (photos / "broken.jpg").unlink()
    folder = tmp_path / "masks"
    folder.mkdir()
    for name, left, right in (("a", 8, 0), ("b", 12, 15), ("c", 13, 18)):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, :32], mask[:, 32:] = left, right
        mask[0] = 255
        Image.fromarray(mask).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "tags.csv"
    path.write_text("a.jpg,cat\nb.png,dog;person\nc.jpg,horse;sofa\n")
    return path


def figures(toco, tmp_path, *arguments):
    result = toco("evaluate", "--json", tmp_path / "deep" / "report.json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads((tmp_path / "deep" / "report.json").read_text()), result.output


def test_the_report(toco, quick, tmp_path, photos, masks, table):
    report, output = figures(toco, tmp_path, "--images", photos, "--masks", masks, "--tags", table, "--no-crf", *quick)
    assert list(report) == ["miou", "per_class_iou", "confusion", "images", "settings", "seconds"]
    assert list(report["per_class_iou"]) == ["background", "cat", "dog", "horse", "person"]
    assert report["images"] == 3
    assert np.sum(report["confusion"]) == 3 * 47 * 64
    assert report["miou"] == pytest.approx(np.mean(list(report["per_class_iou"].values())))
    assert report["settings"]["tags_left_out"] == {"sofa": 1}
    assert report["settings"]["crf"] is False
    assert report["settings"]["gate"] is True
    assert report["settings"]["open_share"] == 0.0
    assert "| **mIoU** |" in output
    assert "Tags left out: sofa (1)" in output
    # Tags read off the masks are the same here.
    from_truth, _ = figures(toco, tmp_path, "--images", photos, "--masks", masks, "--no-crf", *quick)
    assert from_truth["confusion"] == report["confusion"]
    assert from_truth["settings"]["tags"] == "truth"


def test_the_worst_photos_are_drawn(toco, quick, tmp_path, photos, masks):
    sheet = tmp_path / "sheets" / "worst.jpg"
    _, output = figures(
        toco, tmp_path, "--images", photos, "--masks", masks, "--no-crf", "--worst", sheet, "--by-tags", *quick
    )
    assert f"The worst photos: {sheet}" in output
    assert sheet.read_bytes().startswith(b"\xff\xd8")


def test_figures_agree_with_the_masks_that_label_writes(toco, quick, tmp_path, photos, masks, table):
    report, _ = figures(toco, tmp_path, "--images", photos, "--masks", masks, "--tags", table, *quick)
    # Words that the model does not know are left out of an evaluation, where they would be left open in a label.
    (tmp_path / "ignored.csv").write_text("sofa,\n")
    ignoring = ("--map", tmp_path / "ignored.csv", "--set", "ignore_band=false")
    toco("label", photos, "--tags", table, "--out", tmp_path / "out", *ignoring, *quick)
    counts = np.zeros((256, 256), int)
    for name in ("a", "b", "farm/c"):
        truth = read_mask(masks / f"{name[-1]}.png")
        np.add.at(counts, (truth, read_mask(tmp_path / "out" / "voc" / "SegmentationClass" / f"{name}.png")), 1)
    counts[0] += counts[18]  # the model knows no sofa
    counts[[18, 255]] = 0
    for name, index in (("background", 0), ("cat", 8), ("dog", 12), ("horse", 13), ("person", 15)):
        hits = counts[index, index]
        union = counts[index].sum() + counts[:, index].sum() - hits
        assert report["per_class_iou"][name] == pytest.approx(hits / union)


def test_without_the_gate_the_tags_do_not_matter(toco, quick, tmp_path, photos, masks, table):
    arguments = ("--images", photos, "--masks", masks, "--no-crf", "--no-gate", *quick)
    report, output = figures(toco, tmp_path, *arguments)
    assert report["settings"]["gate"] is False
    assert report["settings"]["tags"] == "none"
    assert "not gated" in output
    segmentation, _ = figures(toco, tmp_path, *arguments, "--mask", "segmentation")
    assert segmentation["settings"]["options"]["segmentation"]["gate"] is False


def test_open_pixels_and_a_limit(toco, quick, tmp_path, photos, masks):
    arguments = ("--images", photos, "--masks", masks, "--limit", "2", "--no-crf", *quick)
    background, output = figures(toco, tmp_path, *arguments, "--open-pixels", "background")
    left_out, _ = figures(toco, tmp_path, *arguments, "--open-pixels", "left_out")
    assert background["images"] == 2
    assert background["settings"]["open_share"] > 0
    assert "% of the pixels open" in output
    assert np.sum(left_out["confusion"]) < np.sum(background["confusion"])


def test_some_classes_only(toco, quick, tmp_path, photos, masks):
    report, _ = figures(
        toco, tmp_path, "--images", photos, "--masks", masks, "--classes", "cat, puppy", "--no-crf", *quick
    )
    assert list(report["per_class_iou"]) == ["background", "cat", "dog"]
    assert report["settings"]["tags_left_out"] == {"sofa": 1}  # tags of other classes still gate


def test_masks_in_other_classes(toco, quick, tmp_path, photos, masks):
    for path in masks.glob("*.png"):
        mask = read_mask(path)
        Image.fromarray(np.where(mask == 255, 255, (mask > 0)).astype(np.uint8)).save(path)
    report, _ = figures(
        toco, tmp_path, "--images", photos, "--masks", masks, "--mask-classes", "kitten,zebra", "--no-crf", *quick
    )
    assert report["settings"]["mean_over"] == ["background", "cat"]


def test_a_benchmark_by_name(toco, quick, tmp_path, photos, masks):
    root = tmp_path / "VOC2012"
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    (root / "JPEGImages").mkdir()
    (photos / "a.jpg").rename(root / "JPEGImages" / "a.jpg")
    masks.rename(root / "SegmentationClass")
    report, _ = figures(toco, tmp_path, "--dataset", "voc2012", tmp_path, "--no-crf", *quick)
    assert report["images"] == 1
    assert report["settings"]["dataset"] == "voc2012"


def test_failures_are_reported(toco, quick, tmp_path, photos, masks):
    (photos / "a.jpg").write_bytes(b"no photo")
    result = toco("evaluate", "--images", photos, "--masks", masks, "--no-crf", *quick)
    assert result.exit_code == 1
    assert "failed: a:" in result.stderr


def test_wrong_usage(toco, quick, tmp_path, photos, masks, table):
    for arguments in ((), ("--images", photos), ("--dataset", "voc2012", tmp_path, "--images", photos)):
        result = toco("evaluate", *arguments)
        assert result.exit_code == 2
        assert "Nothing to judge is named." in result.stderr
    table.write_text("a.jpg,cat\n")
    unlisted = toco("evaluate", "--images", photos, "--masks", masks, "--tags", table, *quick)
    assert unlisted.exit_code == 2
    assert "b.png' is not among the tagged photos." in unlisted.stderr


def test_figures_by_number_of_tags_and_size(toco, quick, tmp_path, photos, masks, table):
    arguments = ("--images", photos, "--masks", masks, "--tags", table, "--no-crf", "--by-tags", *quick)
    report, output = figures(toco, tmp_path, *arguments)
    groups = report["breakdown"]["by_tags"]
    assert {name: group["images"] for name, group in groups.items()} == {"one tag": 1, "several tags": 2, "all": 3}
    assert groups["all"]["miou"] == report["miou"]
    assert sum(size["objects"] for size in report["breakdown"]["by_size"].values()) == 4
    assert "| several tags | 2 |" in output
