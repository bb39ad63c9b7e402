"""Models over the API and the command line, while a folder is broken too."""

import shutil

import pytest
from typer.testing import CliRunner

from tests.service.live import until
from toco.model.spec import WEIGHTS_FILE
from toco.service.cli.main import app

pytestmark = pytest.mark.slow


def test_models_tell_their_vocabulary(http):
    models = http.get("/v1/models").json()
    assert models["default"] == "tiny"
    tiny = next(model for model in models["models"] if model["name"] == "tiny")
    assert [entry["name"] for entry in tiny["classes"]] == ["cat", "dog", "horse", "person"]
    assert tiny["classes"][0]["index"] == 8
    assert len(tiny["warm_on"]) == 1
    assert http.get("/v1/models/none").json()["code"] == "model_not_found"


def test_a_model_is_unloaded_and_loaded_again(http):
    assert http.post("/v1/models/tiny/unload").status_code == 202
    until(lambda: http.get("/v1/models/tiny").json()["warm_on"] == [])
    assert http.post("/v1/models/tiny/load").status_code == 202
    until(lambda: http.get("/v1/models/tiny").json()["warm_on"])


@pytest.fixture
def half_copied(models_folder, tiny_model):
    folder = models_folder / "half"
    shutil.copytree(tiny_model, folder)
    (folder / "spec.json").write_text((folder / "spec.json").read_text().replace('"name": "tiny"', '"name": "half"'))
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:1000])
    yield folder
    shutil.rmtree(folder)


def test_a_half_copied_model_is_listed_as_broken_and_the_others_label(
    http, half_copied, models_folder, jpeg, monkeypatch
):
    listed = http.get("/v1/models").json()
    assert "tiny" in {model["name"] for model in listed["models"]}
    assert [(broken["name"], "cut off" in broken["reason"]) for broken in listed["broken"]] == [("half", True)]
    photo = {"image": ("a.jpg", jpeg())}
    assert http.post("/v1/label", files=photo, data={"tags": "cat"}).status_code == 200
    refused = http.post("/v1/label", files=photo, data={"tags": "cat", "model": "half"})
    assert (refused.status_code, refused.json()["code"]) == (503, "model_broken")
    monkeypatch.setenv("TOCO_MODELS_DIR", str(models_folder))
    shown = CliRunner().invoke(app, ["models"])
    assert shown.exit_code == 0
    assert "tiny" in shown.output
    assert "Broken:" in shown.output


def test_a_model_that_was_unloaded_and_used_again_stays_loaded(http, live, jpeg):
    """Once it was to go; whoever uses it afterwards does not have it loaded for each photo."""
    assert http.post("/v1/models/tiny/unload").status_code == 202
    until(lambda: http.get("/v1/models/tiny").json()["warm_on"] == [])
    loads = live.log("worker").count('"model loaded"')
    for seed in range(3):
        answer = http.post("/v1/label", files={"image": ("a.jpg", jpeg(seed + 50))}, data={"tags": "cat"})
        assert answer.status_code == 200
    assert live.log("worker").count('"model loaded"') == loads + 1
