"""Training as a service: from photos or a job to a published model, whatever dies meanwhile."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.service.live import LiveService, until
from tests.training_kills import (
    KILLS,
    PHOTOS,
    QUICK_TRAINING,
    STEPS,
    WORDS,
    ended,
    request_of,
    until_trained,
    weights,
)
from toco.jobs.ids import ID_PATTERN
from toco.model.formats.artifacts import encode_mask
from toco.service.cli.main import app
from toco.service.client.client import ServiceError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def training(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service with a worker that trains; a checkpoint is made after every step."""
    folder = tmp_path_factory.mktemp("training")
    with LiveService(folder, models_folder, TOCO_MAX_TRAINING_STEPS="1000", **QUICK_TRAINING) as service:
        service.trainer.start()
        yield service


@pytest.fixture
def http(training: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=training.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def form(jpeg) -> Callable[..., dict]:
    """Make the arguments of a request with twelve photos of two known and two own words."""

    def make(name: str = "kitchen", **fields) -> dict:
        return request_of(jpeg, name, **fields)

    return make


@pytest.fixture(scope="module")
def truth(training: LiveService, form) -> dict:
    """The training as it ends when nothing happens."""
    with httpx.Client(base_url=training.url, timeout=60) as http:
        answer = http.post("/v1/models", **form("undisturbed"))
        assert answer.status_code == 202, answer.text
        return ended(http, answer.json()["id"])


# From photos to a model


def test_photos_and_tags_become_a_published_model_with_figures(truth, http):
    assert truth["state"] == "succeeded", truth["error"]
    assert truth["classes"] == list(WORDS)
    assert (truth["photos"], truth["kept"]) == (9, 3)
    assert truth["version"] == 1
    figures = truth["figures"]
    assert figures["photos"] == 3
    assert figures["before"]["model"] == truth["start"]
    rows = {row["name"]: row for row in figures["classes"]}
    assert sum(row["photos"] for row in rows.values()) == 3
    judged = [row for row in rows.values() if row["photos"]]
    assert all(0 <= row["recognised_after"] <= 1 for row in judged)
    assert rows["mug"]["recognised_before"] is rows["lamp"]["recognised_before"] is None, "words that it did not know"
    history = truth["history"]
    assert [row["step"] for row in history] == list(range(1, STEPS + 1))
    assert all({"cls", "seg", "ptc"} <= row.keys() for row in history)
    for which in ("before", "after"):
        picture = http.get(f"/v1/trainings/{truth['id']}/pictures/0/{which}")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content.startswith(b"\xff\xd8")
    assert http.get(f"/v1/trainings/{truth['id']}/pictures/50/after").status_code == 404


def test_what_only_a_restart_needs_goes_with_the_end(truth, training):
    # A moment after the record.
    until(lambda: not list((training.folder / "objects").rglob("*.pt")), 60)
    until(lambda: not list((training.folder / "trainings").glob(f"{truth['id']}*")), 60)


def test_a_job_is_trained_on_and_its_progress_is_told_as_events(http, jpeg):
    files = [("images", (f"{number}.jpg", jpeg(number))) for number in range(PHOTOS)]
    files.append(("images", ("untagged.jpg", jpeg(99))))
    tags = [*(WORDS[number % 2] for number in range(PHOTOS)), ""]
    job = http.post("/v1/jobs", files=files, data={"tags": tags, "preset": "fast", "untagged": "model"}).json()["id"]
    body = {"name": "of-a-job", "job": job, "settings": {"steps": 20, "kept_aside": 0.25}, "classes": ["dog", "cat"]}
    answer = http.post("/v1/models", json=body, headers={"idempotency-key": "once"})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/v1/trainings/{made['id']}"
    assert made["notes"] == ["1 photo was left out: no tags."]
    assert (made["job"], made["classes"], made["preset"]) == (job, ["dog", "cat"], "quick")
    again = http.post("/v1/models", json=body, headers={"idempotency-key": "once"})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    other = http.post("/v1/models", json=body | {"name": "else"}, headers={"idempotency-key": "once"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    stages, names = [], []
    with http.stream("GET", f"/v1/trainings/{made['id']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event:"):
                names.append(line.partition(":")[2].strip())
            if line.startswith("data:"):
                told = json.loads(line.partition(":")[2])
                stages.append(told["stage"])
                if names[-1] == "end":
                    break
    assert told["state"] == "succeeded", told["error"]
    assert names == ["progress"] * (len(names) - 1) + ["end"]
    assert "round 1: training" in stages
    assert stages[-1] == ""


def test_what_nothing_can_be_learnt_from_is_refused_before_any_work(http, jpeg, form):
    few = http.post("/v1/models", files=[("images", ("a.jpg", jpeg(1)))], data={"name": "few", "tags": "cat"})
    cases = [
        (few, 422, "1 photos to train on"),
        (http.post("/v1/models", **form(classes="cat,unicorn")), 422, "No photo shows 'unicorn'"),
        (http.post("/v1/models", **form(settings='{"steps": 600, "rounds": 2}')), 413, "more than 1000 steps"),
        (http.post("/v1/models", **form(settings='{"speed": 3}')), 422, "settings.speed"),
        (http.post("/v1/models", **form(preset="slow")), 422, "preset"),
        (http.post("/v1/models", **form("my/model")), 422, "cannot be called"),
        (http.post("/v1/models", **form("tiny")), 422, "A model in a folder is called 'tiny'"),
        (http.post("/v1/models", **form(model="nobody")), 404, "No model 'nobody'"),
        (http.post("/v1/models", json={"name": "x"}), 422, "Photos of a job, or of an upload?"),
        (http.post("/v1/models", content=b"x", headers={"content-type": "text/plain"}), 415, "text/plain"),
    ]
    for answer, status, said in cases:
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    left = http.get("/v1/trainings").json()["trainings"]
    assert not {"few", "my/model", "tiny", "x"} & {training["name"] for training in left}


def test_masks_that_people_corrected_are_trained_on(training, http, jpeg):
    files = [("images", (f"{number}.jpg", jpeg(number))) for number in range(PHOTOS)]
    tags = [WORDS[number % 2] for number in range(PHOTOS)]
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 32:] = 12  # dog
    with training.client() as client:
        job = http.post("/v1/jobs", files=files, data={"tags": tags, "preset": "fast"}).json()["id"]
        assert client.wait(job, timeout_seconds=120)["state"] == "succeeded"
        for number in range(PHOTOS):
            if tags[number] == "dog":
                client.put_mask(job, f"{number:06d}", encode_mask(mask), expected=0)
        made = client.train("corrected", job=job, classes=["cat", "dog"], settings={"steps": 3, "kept_aside": 0.5})
        ended = client.wait_for_training(made["id"], timeout_seconds=120)
    assert ended["state"] == "succeeded", ended["error"]
    listed = json.loads((training.folder / "objects" / "trainings" / made["id"] / "set.json").read_text())
    assert {photo["name"] for photo in listed["photos"] if photo["mask"]} == {f"{n}.jpg" for n in range(1, PHOTOS, 2)}
    judged = sum(bool(photo["mask"]) for photo in listed["photos"] if photo["kept"])
    assert ended["figures"]["masks"] == judged > 0
    rows = {row["name"]: row for row in ended["figures"]["classes"]}
    assert rows["dog"]["iou_after"] is not None
    assert rows["cat"]["iou_after"] is None, "no mask shows it"


# From Python and from the command line


def test_the_client_trains_on_a_folder_and_decides(training, photos, jpeg):
    for number in range(6):
        (photos / f"{number}.jpg").write_bytes(jpeg(number))
    tags = {f"{number}.jpg": [WORDS[number % 2]] for number in range(6)}
    seen = []
    with training.client() as client:
        made = client.train("by-client", folder=photos, tags=tags, settings={"steps": 2})
        assert made["notes"] == [
            "4 photos have no row: 'a.jpg', 'b.png', 'broken.jpg' and 1 more.", "4 photos were left out: no tags.",
        ]  # fmt: skip
        ended = client.wait_for_training(made["id"], progress=seen.append, timeout_seconds=120)
        assert (ended["state"], ended["classes"]) == ("succeeded", ["cat", "dog"])
        assert seen[-1] == ended
        assert client.promote_training(made["id"])["decision"] == "promoted"
        assert made["id"] in {found["id"] for found in client.trainings()}
        client.delete_training(made["id"])
        assert client.model_versions("by-client")["current"] == 1, "the model stays"
        with pytest.raises(ServiceError, match="No training"):
            client.training(made["id"])


def test_the_command_line_trains_and_shows_what_came_of_it(training, photos, jpeg, tmp_path):
    for number in range(6):
        (photos / f"{number}.jpg").write_bytes(jpeg(number))
    (tmp_path / "tags.csv").write_text("image,tags\n" + "".join(f"{n}.jpg,{WORDS[n % 2]}\n" for n in range(6)))

    def toco(*arguments: object) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--url", training.url])

    ran = toco("trainings", "start", "by-hand", photos, "--tags", tmp_path / "tags.csv", "--set", "steps=2")
    assert ran.exit_code == 0, ran.output
    assert "Published as version 1 of by-hand." in ran.output
    (made,) = (line for line in ran.output.splitlines() if re.fullmatch(ID_PATTERN, line))
    assert json.loads(toco("trainings", "show", made).output)["decision"] is None
    assert "version 1 now" in toco("trainings", "promote", made).output
    assert made in toco("trainings", "list").output
    assert toco("trainings", "cancel", made).exit_code == toco("trainings", "discard", made).exit_code == 0
    refused = toco("trainings", "resume", made)
    assert (refused.exit_code, "is succeeded" in refused.output) == (2, True)


# What is decided on it


def test_a_second_version_is_promoted_or_thrown_away(http, form):
    first = ended(http, http.post("/v1/models", **form("twice", settings='{"steps": 2}')).json()["id"])
    second = ended(http, http.post("/v1/models", **form("twice", settings='{"steps": 3}')).json()["id"])
    assert (first["version"], second["version"]) == (1, 2)
    assert http.post(f"/v1/trainings/{second['id']}/promote").json()["decision"] == "promoted"
    assert http.post(f"/v1/trainings/{second['id']}/discard").json()["decision"] == "discarded"
    late = http.post(f"/v1/trainings/{second['id']}/promote")
    assert (late.status_code, late.json()["code"]) == (409, "training_conflict")
    assert http.delete(f"/v1/trainings/{first['id']}").status_code == 204
    assert http.get(f"/v1/trainings/{first['id']}").json()["code"] == "training_not_found"


# What dies


@pytest.mark.parametrize("strike", KILLS)
def test_whatever_dies_the_model_is_the_same_and_there_once(strike, training, http, form, truth):
    made = http.post("/v1/models", **form(strike.__name__.replace("_", "-"))).json()
    until_trained(http, made["id"], 5)
    strike(training)
    found = ended(http, made["id"])
    assert found["state"] == "succeeded", found["error"]
    assert found["version"] == 1, "published once"
    assert weights(found) == weights(truth)
    assert [row["step"] for row in found["history"]] == list(range(1, STEPS + 1))
    assert [row["cls"] for row in found["history"]] == [row["cls"] for row in truth["history"]]


def test_a_cancelled_training_stops_soon_and_is_resumed_from_its_checkpoint(training, http, form, truth):
    made = http.post("/v1/models", **form("cancelled")).json()
    waiting = http.post("/v1/models", **form("waiting")).json()
    assert http.post(f"/v1/trainings/{waiting['id']}/cancel").json()["state"] == "cancelled", "it had not begun"
    before = until_trained(http, made["id"], 5)
    assert http.delete(f"/v1/trainings/{made['id']}").json()["code"] == "training_conflict"
    assert http.post(f"/v1/trainings/{made['id']}/cancel").json()["cancel_requested"]
    assert ended(http, made["id"], 60)["state"] == "cancelled"
    assert http.post(f"/v1/trainings/{made['id']}/resume").json()["state"] == "queued"
    assert http.post(f"/v1/trainings/{made['id']}/resume").json()["code"] == "training_conflict"
    found = ended(http, made["id"])
    assert weights(found) == weights(truth)
    assert before["step"] < STEPS

    def outcomes() -> list[str]:
        lines = [json.loads(line) for line in training.log("trainer").splitlines() if made["id"] in line]
        return [line["outcome"] for line in lines if line["message"] == "training left"]

    until(lambda: outcomes() == ["cancelled", "succeeded"], 60)  # each told once, a moment after the record
