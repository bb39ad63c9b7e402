"""A run over a folder goes on where it stopped, reports bad photos, and leaves no half-written result."""

import json
import re
import shutil

import numpy as np
import pytest

from toco.model.formats.registry import FORMATS
from toco.model.formats.writer import ExportOptions
from toco.model.labelling.folder_run import (
    ARTIFACTS,
    ASKED,
    FAILURES,
    FolderRun,
    RunSummary,
)
from toco.model.labelling.labeler import Labeler
from toco.model.labelling.plan import plan_photos
from toco.model.options import preset_options
from toco.model.photos.assignment import assign, in_memory
from toco.model.photos.collection import read_folder
from toco.model.photos.images import UnreadableImage, read_mask
from toco.model.photos.tables.reading import parse_table

OPTIONS = preset_options("fast", refine="none", cam={"size": 64}, long_side=64)
TAGS = parse_table(b"a.jpg,cat\nb.png,dog;unicorn\nfarm/c.jpg,\nbroken.jpg,cat\n").table


@pytest.fixture(scope="module")
def labeler(tiny_model):
    return Labeler.from_folder(tiny_model, device="cpu")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def plan(photos, table=TAGS, untagged="background"):
    collection = read_folder(photos)
    assignment = assign(collection.photos, [] if table is None else [in_memory(table)])
    found = plan_photos(photos, collection, assignment, untagged=untagged)
    return found.photos, RunSummary(skipped=found.skipped, failures=found.failures)


def run(labeler, photos, out, *, options=OPTIONS, table=TAGS, **settings):
    planned, summary = plan(photos, table)
    events = []
    folder_run = FolderRun(labeler, options, out, **settings)
    folder_run.label(planned, summary, on_event=events.append)
    folder_run.export(planned, ["voc"], summary, ExportOptions())
    folder_run.write_failures(summary)
    return summary, events


@pytest.mark.slow
@pytest.mark.parametrize("writers", [1, 4])
def test_photos_are_labelled_and_the_bad_one_is_reported(writers, labeler, photos, out):
    summary, events = run(labeler, photos, out, writers=writers)
    assert (summary.done, summary.resumed, summary.skipped) == (3, 0, 0)
    assert sorted(events) == ["done", "done", "done", "failed"]
    assert isinstance(summary.failures["broken.jpg"], UnreadableImage)
    (failure,) = [json.loads(line) for line in (out / FAILURES).read_text().splitlines()]
    assert failure["image"] == "broken.jpg"
    assert failure["code"] == "unreadable_image"
    assert {path.name for path in (out / ARTIFACTS / "a.jpg").iterdir()} == {
        "cam.npz", "pseudo_mask.png", "result.json", "segmentation.png", ASKED,
    } - ({"segmentation.png"} if OPTIONS.segmentation is None else set())  # fmt: skip
    assert read_mask((out / ARTIFACTS / "farm/c.jpg/pseudo_mask.png").read_bytes()).any() == np.False_
    assert sorted(path.name for path in (out / "voc" / "SegmentationClass").rglob("*.png")) == [
        "a.png",
        "b.png",
        "c.png",
    ]
    assert not list(out.rglob("*.part"))


def test_the_summary_counts_what_is_there(labeler, photos, out):
    summary, _ = run(labeler, photos, out)
    assert dict(summary.photos_with_class) == {"cat": 1, "dog": 1}
    assert dict(summary.open_tags) == {"unicorn": 1}
    assert (summary.open_photos, summary.wholly_open) == (1, 0)
    assert summary.pixels == 3 * 48 * 64
    masks = [read_mask((out / ARTIFACTS / name / "pseudo_mask.png").read_bytes()) for name in ("a.jpg", "b.png")]
    assert summary.pixels_of_class["cat"] == (masks[0] == 8).sum()
    assert summary.ignore_ratio == pytest.approx(sum((mask == 255).sum() for mask in masks) / summary.pixels)
    content = summary.as_json()
    assert content["done"] == 3
    assert content["failed"] == 1
    assert content["classes"]["cat"]["photos"] == 1


def test_a_second_run_does_only_what_is_missing(labeler, photos, out):
    run(labeler, photos, out)
    before = (out / ARTIFACTS / "b.png" / "result.json").stat().st_mtime_ns
    (out / ARTIFACTS / "a.jpg" / "result.json").unlink()
    summary, events = run(labeler, photos, out)
    assert (summary.done, summary.resumed) == (1, 2)
    assert sorted(events) == ["done", "failed", "resumed", "resumed"]
    assert (out / ARTIFACTS / "b.png" / "result.json").stat().st_mtime_ns == before
    assert len(list((out / "voc" / "SegmentationClass").rglob("*.png"))) == 3
    # The bad photo is mended: nothing fails any more, and the list of failures goes away.
    shutil.copy(photos / "a.jpg", photos / "broken.jpg")
    summary, _ = run(labeler, photos, out)
    assert (summary.done, summary.resumed, len(summary.failures)) == (1, 3, 0)
    assert not (out / FAILURES).exists()


@pytest.mark.parametrize("change", ["photo", "tags", "options", "outputs", "asked"])
def test_whatever_changes_the_result_labels_anew(change, labeler, photos, out):
    (photos / "broken.jpg").unlink()
    run(labeler, photos, out)
    settings = {}
    expected = 1
    if change == "photo":
        shutil.copy(photos / "b.png", photos / "a.jpg")
    elif change == "tags":
        settings["table"] = parse_table(b"a.jpg,dog\nb.png,dog;unicorn\nfarm/c.jpg,\n").table
    elif change == "options":
        settings["options"], expected = preset_options("fast", refine="none", cam={"size": 96}, long_side=64), 3
    elif change == "outputs":
        settings["outputs"], expected = frozenset({"overlay", "heat"}), 3
    else:
        (out / ARTIFACTS / "a.jpg" / ASKED).write_text("{")
    summary, _ = run(labeler, photos, out, **settings)
    assert (summary.done, summary.resumed) == (expected, 3 - expected)


@pytest.mark.parametrize("changed", [{"decoder_weight": 0.5}, {"mean": (0.5, 0.5, 0.5)}], ids=["options", "input"])
def test_a_model_of_the_same_weights_and_other_settings_labels_anew(changed, labeler, photos, out, monkeypatch):
    (photos / "broken.jpg").unlink()
    run(labeler, photos, out)
    monkeypatch.setattr(labeler, "spec", labeler.spec.model_copy(update=changed))
    assert (run(labeler, photos, out)[0].done, run(labeler, photos, out)[0].resumed) == (3, 3)


def test_pictures_are_made_if_asked_and_old_ones_go(labeler, photos, out):
    (photos / "broken.jpg").unlink()
    wanted = frozenset({"overlay", "heat"})
    run(labeler, photos, out, outputs=wanted)
    folder = out / ARTIFACTS / "a.jpg"
    assert (folder / "overlay.jpg").exists()
    assert (folder / "heat_cat.jpg").exists()
    assert not (folder / "cam.npz").exists()
    assert run(labeler, photos, out, outputs=wanted)[0].resumed == 3
    run(labeler, photos, out, table=parse_table(b"a.jpg,dog\nb.png,dog\nfarm/c.jpg,\n").table, outputs=wanted)
    assert (folder / "heat_dog.jpg").exists()
    assert not (folder / "heat_cat.jpg").exists()


UNKNOWN = parse_table(b"a.jpg,mug\nb.png,kitty\nfarm/c.jpg,nice\n").table


@pytest.mark.parametrize("name", FORMATS)
def test_a_photo_of_unknown_words_alone_is_open_and_left_out_of_every_format(name, labeler, photos, out):
    (photos / "broken.jpg").unlink()
    planned, summary = plan(photos, UNKNOWN)
    folder_run = FolderRun(labeler, OPTIONS, out)
    folder_run.label(planned, summary)
    assert (read_mask((out / ARTIFACTS / "a.jpg" / "pseudo_mask.png").read_bytes()) == 255).all()
    folder_run.export(planned, [name], summary, ExportOptions())
    assert (summary.wholly_open, summary.failures) == (2, {})
    assert _photos_in(out / name) == {"b"}
    shutil.rmtree(out / name)
    folder_run.export(planned, [name], RunSummary(), ExportOptions(open_photos=True))
    assert _photos_in(out / name) == {"a", "b", "c"}


def _photos_in(folder):
    texts = (path.read_text() for path in folder.rglob("*") if path.suffix in {".txt", ".json", ".jsonl", ".xml"})
    said = "\n".join((*(path.name for path in folder.rglob("*")), *texts))
    return {name for name in "abc" if re.search(rf"\b{name}\.(jpg|png|txt|npz)\b|^{name}$", said, re.MULTILINE)}


def test_a_mapping_is_part_of_what_is_asked(labeler, photos, out):
    (photos / "broken.jpg").unlink()
    assert run(labeler, photos, out, table=UNKNOWN)[0].done == 3
    summary, _ = run(labeler, photos, out, table=UNKNOWN, mapping={"mug": "dog"})
    assert (summary.done, summary.resumed) == (1, 2)
    assert dict(summary.photos_with_class) == {"cat": 1, "dog": 1}


def test_segmentation_maps_are_part_of_the_result(labeler, photos, out):
    (photos / "broken.jpg").unlink()
    options = preset_options("fast", refine="none", cam={"size": 64}, segmentation={"refine": "none", "scales": [1.0]})
    assert run(labeler, photos, out, options=options)[0].done == 3
    assert (out / ARTIFACTS / "a.jpg" / "segmentation.png").exists()
    (out / ARTIFACTS / "a.jpg" / "segmentation.png").unlink()
    assert run(labeler, photos, out, options=options)[0].done == 1


def test_a_photo_is_decoded_once_for_label_and_pictures(labeler, photos, out, monkeypatch):
    opened = []
    monkeypatch.setattr("toco.model.photos.images._loaded", lambda image, name: opened.append(name) or image)
    for name in ("b.png", "broken.jpg"):
        (photos / name).unlink()
    summary, _ = run(labeler, photos, out, outputs=frozenset({"overlay", "heat"}))
    assert summary.done == 2
    assert sorted(map(str, opened[:2])) == sorted(str(photos / name) for name in ("a.jpg", "farm/c.jpg"))
    assert all(isinstance(source, bytes) for source in opened[2:])  # the masks, for the export
    assert len(opened) == 4


@pytest.mark.parametrize("broken", ["mask", "photo"])
def test_a_photo_that_cannot_be_exported_fails_alone(broken, labeler, photos, out):
    planned, summary = plan(photos)
    folder_run = FolderRun(labeler, OPTIONS, out)
    folder_run.label(planned, summary)
    if broken == "mask":
        (out / ARTIFACTS / "b.png" / "pseudo_mask.png").write_bytes(b"no mask")
    else:
        (photos / "b.png").unlink()
    folder_run.export(planned, ["voc", "npz"], summary, ExportOptions())
    folder_run.write_failures(summary)
    assert summary.failures["b.png"].code == ("invalid_artifact" if broken == "mask" else "unreadable_image")
    assert [json.loads(line)["image"] for line in (out / FAILURES).read_text().splitlines()] == ["broken.jpg", "b.png"]
    assert {path.stem for path in (out / "voc" / "SegmentationClass").rglob("*.png")} == {"a", "c"}
    assert summary.pixels == 2 * 48 * 64


def test_an_export_made_anew_has_nothing_of_photos_that_are_gone(labeler, photos, out):
    run(labeler, photos, out)
    (photos / "a.jpg").unlink()
    (photos / "farm" / "c.jpg").unlink()
    run(labeler, photos, out)
    assert {path.name for path in (out / "voc").rglob("*.[jp][pn]g")} == {"b.jpg", "b.png"}
    assert not (out / "voc" / "JPEGImages" / "farm").exists()


def test_a_photo_of_a_long_name_is_labelled_and_exported(labeler, photos, out):
    long = f"{'n' * 246}.jpg"
    (photos / "a.jpg").rename(photos / long)
    summary, _ = run(labeler, photos, out, table=None)
    assert set(summary.failures) == {"broken.jpg"}
    assert (out / "voc" / "JPEGImages" / long).is_file()


def test_a_photo_that_vanishes_is_reported(labeler, photos, out):
    planned, summary = plan(photos)
    (photos / "a.jpg").unlink()
    FolderRun(labeler, OPTIONS, out).label(planned, summary)
    assert isinstance(summary.failures["a.jpg"], UnreadableImage)


def test_the_model_tags_untagged_photos(labeler, photos, out):
    (photos / "broken.jpg").unlink()
    planned, summary = plan(photos, None, "model")
    folder_run = FolderRun(labeler, OPTIONS, out)
    folder_run.label(planned, summary)
    folder_run.export(planned, [], summary, ExportOptions())
    assert summary.tagged_by_model == 3
