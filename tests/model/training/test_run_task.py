"""One training as a process in a folder: killed anywhere and taken up in another folder, it ends the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.model.training.conftest import TAGS
from toco.model.formats.artifacts import encode_mask
from toco.model.spec import read_spec
from toco.model.training.figures import TrainingFigures
from toco.model.training.recipes import TrainingSettings, training_config
from toco.model.training.soft_labels import read_soft_labels
from toco.model.training.task_files import TaskPhoto, TrainingTask, model_folder

pytestmark = pytest.mark.slow

STEPS = 6


@pytest.fixture
def folder_of(eight_photos, tiny_model, tmp_path):
    """Make the folder of a training on the eight photos, two of them kept aside."""

    def make(name: str, masks=(), **settings) -> Path:
        folder = tmp_path / name
        shutil.copytree(eight_photos / "photos", folder / "photos")
        shutil.copytree(tiny_model, folder / "start")
        photos = [
            TaskPhoto(file=f"{stem}.png", name=f"{stem}.png", tags=tags.split(";")) for stem, tags in TAGS.items()
        ]
        (folder / "masks").mkdir()
        for stem, mask in masks:
            (folder / "masks" / f"{stem}.png").write_bytes(encode_mask(mask))
        drawn = {f"{stem}.png" for stem, _ in masks}
        photos = [one.model_copy(update={"mask": one.file if one.file in drawn else ""}) for one in photos]
        settings = TrainingSettings(steps=STEPS, **settings)
        config = training_config(
            "farm", read_spec(tiny_model), ("cat", "dog", "horse", "person"), settings,
            photos=6, checkpoint_minutes=0.0001,
        )  # fmt: skip
        task = TrainingTask(config=config, photos=tuple(photos[2:]), kept=tuple(photos[:2]), device="cpu")
        (folder / "training.json").write_text(task.model_dump_json())
        return folder

    return make


def started(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "toco.model.training.run_task"], cwd=folder, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def run(folder: Path) -> list[dict]:
    with started(folder) as process:
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    return events


def weights(folder: Path) -> dict:
    return load_file(folder / "run" / "round-1" / "run" / "model" / "weights.safetensors")


def test_a_training_leaves_a_model_figures_and_pictures(folder_of):
    folder = folder_of("whole")
    events = run(folder)
    stages = list(dict.fromkeys(event["stage"] for event in events))
    assert stages == ["round 1: learning", "round 1: labelling", "round 1: training", "judging"]
    trained = [event for event in events if event["losses"]]
    assert [event["step"] for event in trained] == list(range(1, STEPS + 1))
    assert {event["of"] for event in trained} == {STEPS}
    figures = TrainingFigures.model_validate_json((folder / "run" / "figures.json").read_bytes())
    assert (figures.masks, figures.after.miou, figures.before.miou) == (0, None, None)
    task = TrainingTask.model_validate_json((folder / "training.json").read_bytes())
    spec = read_spec(folder / "run" / model_folder(task.config))
    assert spec.name == "farm"
    assert (figures.before.model, figures.after.model) == (read_spec(folder / "start").version, spec.version)
    assert figures.photos == 2
    assert [row.name for row in figures.classes] == ["cat", "dog", "horse", "person"]
    by_name = {row.name: row for row in figures.classes}
    assert by_name["person"].photos == 2
    assert by_name["person"].recognised_before == by_name["person"].recognised_after == 1.0  # both photos show it
    assert by_name["cat"].recognised_after is None, "no photo kept aside shows it"
    assert figures.pictures == ("astronaut.png", "astronaut_top.png")
    pictures = sorted((folder / "run" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["00-after.jpg", "00-before.jpg", "01-after.jpg", "01-before.jpg"]
    with Image.open(pictures[0]) as picture:
        assert max(picture.size) <= 480


def test_masks_that_people_made_are_trained_on_and_judge_the_result(folder_of):
    half = np.zeros((80, 64), np.uint8)
    half[:, 32:] = 4  # person
    shapes = {}
    with Image.open(folder_of("size") / "photos" / "astronaut.png") as photo:
        shapes["astronaut"] = photo.size[::-1]
    kept = np.zeros(shapes["astronaut"], np.uint8)
    kept[:, kept.shape[1] // 2 :] = 4
    folder = folder_of("drawn", masks=[("astronaut", kept), ("person", half)])
    run(folder)
    labels = read_soft_labels(folder / "run" / "round-1" / "labels")
    names, maps = labels.of("photos/person.png")
    person = 1 + names.index("person")
    assert set(np.unique(maps)) == {0, 255}, "what a person drew is sure"
    assert (maps[person, :, 32:] == 255).all()
    assert (maps[0, :, :32] == 255).all()
    figures = TrainingFigures.model_validate_json((folder / "run" / "figures.json").read_bytes())
    assert (figures.photos, figures.masks) == (2, 1)
    by_name = {row.name: row for row in figures.classes}
    assert 0.0 <= by_name["person"].iou_after <= 1.0
    assert 0.0 <= by_name["person"].iou_before <= 1.0
    assert by_name["cat"].iou_after is None
    assert 0.0 <= figures.after.miou <= 1.0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
def test_a_training_is_taken_up_in_another_folder(how, folder_of):
    whole = folder_of("whole")
    run(whole)
    first = folder_of("first")
    with started(first) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["losses"] and event["step"] == 3:
                process.send_signal(how)
                break
        process.stdout.read()
    assert process.returncode == (143 if how == signal.SIGTERM else -9)
    second = folder_of("second")
    shutil.copytree(first / "run", second / "run")
    events = run(second)
    assert not [event for event in events if event["stage"] in ("round 1: learning", "round 1: labelling")]
    assert min(event["step"] for event in events if event["losses"]) in (3, 4)
    one, other = weights(whole), weights(second)
    assert all((one[name] == other[name]).all() for name in one)
    assert run(second) == [], "what is finished stays finished"


def test_what_goes_wrong_is_told_as_a_last_line(folder_of):
    folder = folder_of("broken")
    spec = json.loads((folder / "start" / "spec.json").read_text())
    (folder / "start" / "spec.json").write_text(json.dumps(spec | {"weights_sha256": "0" * 64}))
    with started(folder) as process:
        lines = process.stdout.read().splitlines()
    assert process.returncode == 1
    assert json.loads(lines[-1])["error"]["code"] == "invalid_checkpoint"
