"""What people corrected teaches the other labels of the job, and can be taken back."""

import time

import numpy as np
import pytest

from toco.model.formats.artifacts import encode_mask
from toco.model.photos.images import read_mask
from toco.service.client.client import ServiceError


@pytest.fixture
def job(client, tmp_path, jpeg):
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    tags = {f"{number}.jpg": ["cat"] for number in range(6)}
    made = client.label_folder(tmp_path, tags=tags, preset="fast")
    assert client.wait(made["id"], timeout_seconds=120)["state"] == "succeeded"
    return made["id"]


def ended(client, job: str, relearning: str) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = client.relearning(job, relearning)
        if found["state"] not in ("queued", "fitting", "labelling"):
            return found
        time.sleep(0.1)
    raise TimeoutError(found)


def whole_cat(client, job: str, item: str) -> bytes:
    """A mask that says what the model does not: everything is the cat."""
    found = client.item(job, item)
    return encode_mask(np.full((found["height"], found["width"]), 8, np.uint8))


@pytest.mark.slow
def test_others_learn_what_was_corrected_and_it_is_taken_back_as_one(client, job):
    before = {item["id"]: client.mask(job, item["id"]) for item in client.items(job)}
    client.put_mask(job, "000000", whole_cat(client, job, "000000"), how="brush")
    client.decide(job, "000001", "reject")
    listed = len(list(client.jobs()))
    found = ended(client, job, client.relearn(job)["id"])
    assert (found["state"], found["corrected"], found["accepted"], found["changed"]) == ("done", 1, 0, 4), found
    assert len(list(client.jobs())) == listed, "the job that labels again is in no list"
    kinds = {item["id"]: item["revision"]["how"] for item in client.items(job)}
    assert kinds == {"000000": "brush", "000001": "machine"} | dict.fromkeys(
        ("000002", "000003", "000004", "000005"), "learnt"
    ), "what a person decided stays"
    changes = list(client.changes(job, found["id"]))
    assert [change["iou"] for change in changes] == sorted(change["iou"] for change in changes)
    grown = [change["after"]["classes"][0]["area"] - change["before"]["classes"][0]["area"] for change in changes]
    assert max(grown) > 0, "more of the others is cat"
    # A person goes on with one of them; that stays, too.
    client.put_mask(job, "000002", whole_cat(client, job, "000002"), how="brush")
    assert client.undo_relearn(job, found["id"])["items"] == 3
    assert client.undo_relearn(job, found["id"])["items"] == 0
    for item in ("000001", "000003", "000004", "000005"):
        assert client.mask(job, item) == before[item]
    assert (read_mask(client.mask(job, "000002")) == 8).all()
    assert client.relearnings(job)[0]["state"] == "undone"


def test_a_job_that_nobody_corrected_says_so(client, job):
    found = ended(client, job, client.relearn(job)["id"])
    assert (found["state"], found["error"]["code"]) == ("failed", "nothing_corrected")
    with pytest.raises(ServiceError, match="did not learn"):
        client.relearning(job, "0" * 26)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_every_item_once(live, client, job):
    client.put_mask(job, "000000", whole_cat(client, job, "000000"), how="brush")
    begun = client.relearn(job)["id"]
    live.worker_child().kill()
    found = ended(client, job, begun)
    assert (found["state"], found["changed"]) == ("done", 5)
    assert {item["revision"]["latest"] for item in client.items(job)} == {1}
