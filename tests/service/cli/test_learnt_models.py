"""A folder of learnt words is a model as any other on the command line, wherever the model lies that it stands on."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.tiny_model import write_learnt_model


@pytest.fixture
def kitchen(tiny_model, tmp_path, monkeypatch):
    """Words on the tiny model, which lies in the models folder."""
    shutil.copytree(tiny_model, tmp_path / "models" / "tiny")
    monkeypatch.setenv("TOCO_MODELS_DIR", str(tmp_path / "models"))
    folder = tmp_path / "kitchen"
    write_learnt_model(folder, tiny_model, ("mug", "lamp"))
    return folder


@pytest.fixture
def table(tmp_path, photos):
    (photos / "broken.jpg").unlink()
    path = tmp_path / "tags.csv"
    path.write_text("image,tags\na.jpg,mug\nb.png,lamp;unicorn\nfarm/c.jpg,unicorn\n")
    return path


def test_photos_are_labelled_with_it(toco, photos, table, kitchen, tmp_path):
    out = tmp_path / "labels"
    arguments = ("--tags", table, "--model", kitchen, "--device", "cpu", "--preset", "fast", "--set", "long_side=64")
    result = toco("label", photos, "--out", out, "--open-photos", *arguments)
    assert result.exit_code == 0, result.output
    assert "Words are learnt beside a whole model" in result.output
    found = json.loads((out / "artifacts" / "a.jpg" / "result.json").read_text())
    assert found["model_version"].startswith("kitchen@")
    mask = np.array(Image.open(out / "voc" / "SegmentationClass" / "a.png"))
    assert set(np.unique(mask)) <= {0, 1, 255}
    # A word that it does not know is left open, as by any model.
    assert set(np.unique(Image.open(out / "voc" / "SegmentationClass" / "farm" / "c.png"))) == {255}


def test_its_words_are_understood_and_its_pictures_drawn(toco, photos, table, kitchen, tmp_path):
    shown = toco("tags", "check", "mugs", "cat", "--model", kitchen)
    assert "mug" in shown.output
    assert toco("preview", photos, "--tags", table, "--model", kitchen, "--out", tmp_path / "p.png").exit_code == 0


def test_the_doctor_asks_the_classifier_of_the_model_below(toco, photos, tmp_path, kitchen):
    table = tmp_path / "known.csv"
    table.write_text("image,tags\na.jpg,cat\nb.png,dog\n")
    result = toco("tags", "doctor", photos, "--tags", table, "--model", kitchen, "--device", "cpu", "--json")
    assert json.loads(result.stdout)["model"].startswith("tiny@")


def test_without_the_model_that_it_stands_on_it_cannot_be_used(toco, photos, table, kitchen, tmp_path):
    shutil.rmtree(tmp_path / "models" / "tiny")
    result = toco("label", photos, "--tags", table, "--model", kitchen, "--out", tmp_path / "labels")
    assert result.exit_code == 2
    assert "is not here" in result.output
