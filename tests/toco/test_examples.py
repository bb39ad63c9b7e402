"""The examples run, on an export as people have it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from toco.model.formats.artifacts import encode_mask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def export(tmp_path) -> Path:
    """Three photos of one class, a third of each open."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    mask = np.zeros((48, 64), np.uint8)
    mask[:16], mask[16:32] = 255, 8
    for name in "abc":
        Image.effect_noise((64, 48), 60).convert("RGB").save(root / "JPEGImages" / f"{name}.jpg")
        (root / "SegmentationClass" / f"{name}.png").write_bytes(encode_mask(mask))
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\nc\n")
    (root / "labels.txt").write_text("0\tbackground\n8\tcat\n15\tperson\n")
    return root


@pytest.mark.slow
def test_a_student_is_trained_on_an_export(export, tmp_path):
    out = tmp_path / "student.pt"
    command = [sys.executable, ROOT / "examples" / "train_student.py", export, "--epochs", "2", "--side", "64"]
    done = subprocess.run([*command, "--out", out], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["epoch 1", "epoch 2"]
    weights = torch.load(out, weights_only=True)
    assert weights["classifier.high_classifier.weight"].shape[0] == 16
    assert all(bool(torch.isfinite(values).all()) for values in weights.values())


def test_the_example_is_short():
    assert len((ROOT / "examples" / "train_student.py").read_text("utf-8").splitlines()) < 60
