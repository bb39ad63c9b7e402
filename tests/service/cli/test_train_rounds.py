"""`toco train --rounds`: from a model folder to a better one, with a table of what each round gave."""

import json

import numpy as np
import pytest
from PIL import Image

SETTINGS = {
    "backbone.frozen_blocks": 0,
    "schedule.warmup_steps": 1,
    "schedule.batch_size": 2,
    "augmentation.crop": 64,
    "contrast.local_size": 32,
    "contrast.border": 16,
    "contrast.hidden": 16,
    "loss.ctc": 0,
    "backbone.image_size": 64,
    "rounds.count": 1,
    "rounds.side": 64,
    "rounds.fit.rounds": 1,
    "rounds.fit.steps": 2,
}


@pytest.fixture
def arguments(photos, tmp_path):
    """Two photos with tags, their masks to judge by, and settings that make a round take a second."""
    (photos / "broken.jpg").unlink()
    (tmp_path / "tags.csv").write_text("a.jpg,cat\nb.png,dog;person\n")
    masks = tmp_path / "masks"
    masks.mkdir()
    for name, left, right in (("a", 8, 0), ("b", 12, 15)):
        mask = np.zeros((48, 64), np.uint8)
        mask[:, :32], mask[:, 32:] = left, right
        Image.fromarray(mask).save(masks / f"{name}.png")
    given = ["--preset", "small-cpu", "--backbone", "test_vit", "--images", photos, "--tags", tmp_path / "tags.csv"]
    given += ["--classes", "cat,dog,person", "--eval-images", photos, "--eval-masks", masks, "--device", "cpu"]
    for name, value in SETTINGS.items():
        given += ["--set", f"{name}={value}"]
    return given


@pytest.mark.slow
def test_a_round_is_trained_judged_and_not_trained_again(toco, arguments, tmp_path):
    first = toco("train", "--initial", "random", "--steps", 1, "--out", tmp_path / "first", *arguments)
    assert first.exit_code == 0, first.output
    out = tmp_path / "rounds"
    arguments += ["--initial", tmp_path / "first" / "model", "--steps", 2]
    result = toco("train", "--rounds", "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads((out / "rounds.json").read_text())
    assert [row["round"] for row in rows] == [0, 1]
    assert set(rows[0]) == {"round", "one tag", "several tags", "all"}
    assert "| start |" in result.output
    weights = (out / "round-1" / "run" / "model" / "weights.safetensors").read_bytes()
    assert toco("train", "--rounds", "--out", out, *arguments).exit_code == 0
    assert (out / "round-1" / "run" / "model" / "weights.safetensors").read_bytes() == weights


def test_rounds_need_a_trained_model(toco, arguments, tmp_path):
    result = toco("train", "--rounds", "--initial", "random", "--out", tmp_path / "rounds", *arguments)
    assert result.exit_code != 0
    assert "backbone.initial" in result.output
