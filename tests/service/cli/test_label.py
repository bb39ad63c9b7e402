"""`toco label`: tags from anywhere, exit codes that scripts can trust, and a run that can be taken up again."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from toco.model.formats.registry import FORMATS
from toco.model.spec import SPEC_FILE

TAGS = "image,tags\na.jpg,cat\nb.png,dog;unicorn\nfarm/c.jpg,horse\n"


@pytest.fixture
def table(tmp_path, photos):
    (photos / "broken.jpg").unlink()
    path = tmp_path / "tags.csv"
    path.write_text(TAGS)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "labels"


def test_photos_with_a_table(toco, quick, photos, table, out):
    result = toco("label", photos, "--tags", table, "--out", out, "--format", "voc", *quick)
    assert result.exit_code == 0, result.output
    assert "3 labelled, 0 finished before, 0 skipped, 0 failed" in result.output
    assert "unicorn (1)" in result.output
    for name, index in (("a", 8), ("b", 12), ("farm/c", 13)):
        mask = np.array(Image.open(out / "voc" / "SegmentationClass" / f"{name}.png"))
        assert mask.shape == (48, 64)
        assert set(np.unique(mask)) <= {0, index, 255}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["done"] == 3
    assert summary["classes"]["cat"]["photos"] == 1
    result = json.loads((out / "artifacts" / "a.jpg" / "result.json").read_text())
    assert result["tags"] == ["cat"]
    assert result["model_version"].startswith("tiny@")


def test_a_dry_run_says_what_each_tag_is_understood_as_and_makes_nothing(toco, quick, photos, table, out):
    table.write_text("image,tags\na.jpg,kitten\nb.png,dog;unicorn\n")
    result = toco("label", photos, "--tags", table, "--out", out, "--dry-run", "--untagged", "skip", *quick)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "a.jpg: cat (kitten)",
        "b.png: dog, unicorn (not understood)",
        "2 photos would be labelled, 0 would fail, 1 would be skipped.",
    ]
    assert not out.exists()


def test_a_second_run_goes_on(toco, quick, photos, table, out):
    arguments = ("label", photos, "--tags", table, "--out", out, "--no-crf", *quick)
    toco(*arguments)
    (out / "artifacts" / "a.jpg" / "result.json").unlink()
    result = toco(*arguments)
    assert "1 labelled, 2 finished before" in result.output


def test_results_inside_the_folder_of_photos_are_not_labelled_in_their_turn(toco, quick, photos, table):
    out = photos / "labels"
    arguments = ("label", photos, "--tags", table, "--out", out, "--outputs", "overlay", "--no-crf", *quick)
    assert toco(*arguments).exit_code == 0
    again = toco(*arguments)
    assert again.exit_code == 0, again.output
    assert "0 labelled, 3 finished before, 0 skipped, 0 failed" in again.output


def test_photos_that_were_shrunk_for_refinement_are_counted(toco, quick, photos, table, out):
    whole = toco("label", photos, "--tags", table, "--out", out, "--no-crf", *quick)
    assert "mapped back" not in whole.output
    assert json.loads((out / "summary.json").read_text())["capped"] == 0  # 64 pixels are not over 64
    Image.new("RGB", (90, 30)).save(photos / "wide.png")
    capped = toco("label", photos / "wide.png", "--tag", "cat", "--out", out, "--no-crf", *quick)
    assert "Refined at 64 pixels and mapped back to their own size: 1 photos" in capped.output
    assert json.loads((out / "summary.json").read_text())["capped"] == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11 under NumPy 2
def test_every_format_can_be_asked_for(name, toco, quick, photos, table, out):
    result = toco(
        "label", photos, "--tags", table, "--out", out, "--format", name, "--outputs", "overlay", "--no-crf", *quick
    )
    assert result.exit_code == 0, result.output
    assert any((out / name).rglob("*"))
    assert (out / "artifacts" / "a.jpg" / "overlay.jpg").exists()


def test_one_bad_photo_is_reported_and_the_rest_go_on(toco, quick, photos, table, out):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    table.write_text(TAGS + "broken.jpg,cat\nmisspelt.jpg,cat\n")
    result = toco("label", photos, "--tags", table, "--out", out, "--no-crf", *quick)
    assert result.exit_code == 1
    assert "3 labelled" in result.output
    assert "failed: broken.jpg:" in result.stderr
    assert "1 row of" in result.stderr
    assert "misspelt.jpg" in result.stderr
    (failure,) = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert failure["image"] == "broken.jpg"
    assert len(list((out / "voc" / "SegmentationClass").rglob("*.png"))) == 3


def test_many_failures_are_listed_in_the_file(toco, quick, tmp_path, out):
    photos = tmp_path / "bad"
    photos.mkdir()
    for number in range(12):
        (photos / f"{number:02}.jpg").write_bytes(b"no photo")
    result = toco("label", photos, "--tag", "cat", "--out", out, *quick)
    assert result.exit_code == 1
    assert "all 12 failures are in" in result.stderr
    assert result.stderr.count("failed: ") == 10
    assert not (out / "voc").exists()


def test_the_same_tags_for_all(toco, quick, photos, out):
    result = toco("label", photos / "a.jpg", "--tag", "cat", "--tag", "puppy", "--out", out, "--no-crf", *quick)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "artifacts" / "a.jpg" / "result.json").read_text())["tags"] == ["cat", "dog"]


def test_every_unknown_word_of_a_table_may_be_refused_before_anything_is_done(toco, quick, photos, table, out):
    table.write_text("a.jpg,hrose;mug\nb.png,mug\n")
    result = toco("label", photos, "--tags", table, "--unknown-tags", "refuse", "--out", out, *quick)
    assert result.exit_code == 2
    assert "'mug' (2 photos), 'hrose' (1 photo; did you mean 'horse'?)" in " ".join(result.stderr.split())
    assert not out.exists()


def test_words_are_told_before_and_what_is_not_understood_is_left_open(toco, quick, photos, table, out):
    table.write_text("a.jpg,mug\nb.png,kitty\nfarm/c.jpg,Hund\n")
    mapping = table.with_name("map.csv")
    mapping.write_text("word,class\nHund,dog\n")
    arguments = ("label", photos, "--tags", table, "--untagged", "skip", "--out", out, "--no-crf", *quick)
    result = toco(*arguments, "--map", mapping)
    assert result.exit_code == 0, result.output
    assert "kitty -> cat (kind), 1 photo" in result.stderr
    assert "Hund -> dog (mapping), 1 photo" in result.stderr
    assert "mug: unknown, 1 photo" in result.stderr
    assert "No word is shown by enough photos to be learnt." in result.stderr
    assert "Left open, not understood: mug (1); on 1 photos" in result.stdout
    assert "Wholly open, exported with --open-photos alone: 1 photos" in result.stdout
    found = json.loads((out / "artifacts" / "a.jpg" / "result.json").read_text())
    assert (found["open_tags"], found["ignore_ratio"]) == (["mug"], 1.0)
    understood = json.loads((out / "artifacts" / "b.png" / "result.json").read_text())["words"]
    assert understood == [{"written": "kitty", "understood": "cat", "why": "kind", "suggestions": []}]
    assert {path.name for path in (out / "voc" / "SegmentationClass").rglob("*.png")} == {"b.png", "c.png"}
    assert json.loads((out / "summary.json").read_text())["open_tags"] == {"mug": 1}
    assert toco(*arguments, "--map", mapping, "--open-photos").exit_code == 0
    assert (out / "voc" / "SegmentationClass" / "a.png").exists()


def test_folder_names_as_tags(toco, quick, photos, out):
    (photos / "farm").rename(photos / "horse")
    result = toco("label", photos, "--tags-from-folders", "--untagged", "skip", "--out", out, "--no-crf", *quick)
    assert result.exit_code == 0, result.output
    assert "1 labelled, 0 finished before, 3 skipped" in result.output


def test_photos_without_tags(toco, quick, photos, table, out):
    table.write_text("a.jpg,cat\n")
    arguments = ("label", photos, "--tags", table, "--out", out, "--no-crf", *quick)
    refused = toco(*arguments)
    assert refused.exit_code == 1
    assert "failed: b.png: 'b.png' is not among the tagged photos." in refused.stderr
    tagged = toco(*arguments, "--untagged", "model", "--set", "tag_threshold=0.01")
    assert tagged.exit_code == 0
    assert "Tagged by the model: 2 photos" in tagged.output


def test_segmentation_maps_can_be_made_and_exported(toco, quick, photos, table, out):
    result = toco(
        "label", photos, "--tags", table, "--out", out, "--segmentation", "--set", "segmentation.refine=none",
        "--no-crf", "--mask", "segmentation", "--subset", "val", "--no-copy-images", *quick,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (out / "artifacts" / "a.jpg" / "segmentation.png").exists()
    assert (out / "voc" / "ImageSets" / "Segmentation" / "val.txt").exists()
    assert not (out / "voc" / "JPEGImages").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No tags are given."),
        (("--tag", "cat", "--tags-from-folders"), "more than one way"),
        (("--tag", "cat", "--format", "voc,dicom"), "Unknown format 'dicom'"),
        (("--tag", "cat", "--outputs", "cam,sound"), "Unknown output 'sound'"),
        (("--tag", "cat", "--set", "cam.scales"), "is no name=value"),
        (("--tag", "cat", "--set", "cam.size=2"), "cam.size = 2"),
        (("--tag", "cat", "--set", "thresholds.high=0.05"), "must be under high (0.05)"),
        (("--tag", "cat", "--set", "refine=magic"), "refine = 'magic'"),
        (("--tag", "cat", "--preset", "slow"), "Unknown preset 'slow'"),
    ],
)
def test_wrong_usage_is_told_before_any_work(arguments, message, toco, photos, out, tiny_model, tmp_path):
    shutil.copy(tiny_model / SPEC_FILE, tmp_path)  # without weights: loading the model would be another error
    result = toco("label", photos, "--out", out, "--model", tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not out.exists()


def test_a_folder_without_photos_and_a_missing_model(toco, tmp_path, photos, out):
    (tmp_path / "empty").mkdir()
    assert "There is no photo in" in toco("label", tmp_path / "empty", "--tag", "cat", "--out", out).stderr
    missing = toco("label", photos, "--tag", "cat", "--out", out, "--model", tmp_path / "empty")
    assert missing.exit_code == 2
    assert "No spec.json in" in missing.stderr


def test_photos_are_split_into_parts(toco, quick, photos, table, out):
    arguments = ("label", photos, "--tag", "cat", "--out", out, "--format", "yolo,voc", "--no-crf", *quick)
    result = toco(*arguments, "--split", "50/50", "--seed", "1", "--export-set", "min_region=2")
    assert result.exit_code == 0, result.output
    statistics = json.loads((out / "yolo" / "statistics.json").read_text())
    assert (statistics["split"], statistics["seed"], sum(statistics["parts"].values())) == ("50/50", 1, 3)
    assert set(statistics["parts"]) == {"train", "val"}
    assert "`min_region` 2" in (out / "voc" / "README.md").read_text()


def test_the_parts_of_the_table_are_those_of_the_exports(toco, quick, photos, table, out):
    table.write_text("image,tags,split\na.jpg,cat,train\nb.png,dog,Validation\nfarm/c.jpg,horse,test\n")
    result = toco("label", photos, "--tags", table, "--out", out, "--no-crf", *quick)
    assert result.exit_code == 0, result.output
    lists = out / "voc" / "ImageSets" / "Segmentation"
    assert {path.stem: path.read_text() for path in lists.iterdir()} == {
        "train": "a\n",
        "val": "b\n",
        "test": "farm/c\n",
    }


@pytest.mark.parametrize(("asked", "why"), [("80/10", "does not add up to 100"), ("most", "split = 'most'")])
def test_a_split_that_is_none_is_refused_before_any_work(asked, why, toco, quick, photos, table, out):
    result = toco("label", photos, "--tags", table, "--out", out, "--split", asked, *quick)
    assert result.exit_code == 2
    assert why in result.output
    assert not out.exists()
