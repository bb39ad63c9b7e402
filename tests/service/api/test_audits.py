"""Audits and what to look at next, over the API."""

import pytest

from tests.labelled_items import labelled_job
from toco.jobs.revision import Revision
from toco.jobs.revisions import NewRevision, Revisions
from toco.model.formats.artifacts import encode_mask
from toco.model.photos.images import read_mask
from toco.service.api.routes import audits


@pytest.fixture
def job(alone):
    state = alone.app.state.toco
    state.records.redis.flushdb()
    state.start()
    return f"/v1/jobs/{labelled_job(state.records, state.store, 6).id}"


def checked(alone, audit: str) -> list[str]:
    return [photo["item"] for photo in alone.get(audit).json()["photos"] if photo["checked"]]


def test_an_audit_is_drawn_checked_and_says_how_good_the_labels_are(alone, job):
    drawn = alone.post(f"{job}/audits", json={"photos": 4, "seed": 1})
    assert (drawn.status_code, drawn.json()["estimate"], drawn.json()["complete"]) == (201, None, False), drawn.text
    items = [photo["item"] for photo in drawn.json()["photos"]]
    assert len(set(items)) == 4
    again = alone.post(f"{job}/audits", json={"photos": 4, "seed": 1}).json()
    assert [photo["item"] for photo in again["photos"]] == items, "the same seed draws the same photos"
    here = f"{job}/audits/{drawn.json()['id']}"
    for item in items[:3]:
        alone.patch(f"{job}/items/{item}", json={"decision": "accept"})
    perfect = alone.get(here).json()
    assert (perfect["estimate"]["miou"]["estimate"], perfect["complete"]) == (1.0, False)
    address = f"{job}/items/{items[3]}"
    mask = read_mask(alone.get(f"{address}/artifacts/pseudo_mask.png").content)
    mask[mask == 8] = 12  # the cat is a dog
    alone.put(f"{address}/mask?how=brush", content=encode_mask(mask))
    found = alone.get(here).json()
    assert found["complete"] is True
    rows = {row["name"]: row for row in found["estimate"]["classes"]}
    assert rows["cat"]["estimate"] == pytest.approx(0.75)
    assert rows["person"]["estimate"] == 1.0
    assert (rows["dog"]["estimate"], rows["dog"]["in_mean"]) == (0.0, False)
    assert found["estimate"]["miou"]["low"] < found["estimate"]["miou"]["estimate"] < 1.0
    assert (found["estimate"]["photos"], found["estimate"]["population"]) == (4, 6)
    assert [audit["id"] for audit in alone.get(f"{job}/audits").json()] == [again["id"], found["id"]]


def test_accepting_what_the_machine_made_after_the_draw_checks_nothing(alone, job):
    drawn = alone.post(f"{job}/audits", json={"photos": 6}).json()
    here, item = f"{job}/audits/{drawn['id']}", drawn["photos"][0]["item"]
    state = alone.app.state.toco
    record = state.records.item(job.rpartition("/")[2], item)
    made = NewRevision(Revision(number=1, how="thresholds", based_on=0), record.summary, record.tags, None)
    Revisions(state.records, state.store, max_pixels=1).write(record, made)

    alone.patch(f"{job}/items/{item}", json={"decision": "accept"})
    assert (alone.get(f"{job}/items/{item}").json()["decision"], checked(alone, here)) == ("accept", [])
    alone.post(f"{job}/items/{item}/revisions/0/current")
    assert checked(alone, here) == [], "the verdict was of the other one"
    alone.patch(f"{job}/items/{item}", json={"decision": "accept"})
    assert checked(alone, here) == [item]


def test_a_persons_mask_that_was_put_aside_again_checks_nothing(alone, job):
    drawn = alone.post(f"{job}/audits", json={"photos": 6}).json()
    here, item = f"{job}/audits/{drawn['id']}", drawn["photos"][0]["item"]
    mask = encode_mask(read_mask(alone.get(f"{job}/items/{item}/revisions/0/mask.png").content))

    alone.put(f"{job}/items/{item}/mask", content=mask)
    assert checked(alone, here) == [item]
    alone.post(f"{job}/items/{item}/revisions/0/current")
    assert checked(alone, here) == []


def test_faults_are_told(alone, job):
    missing = alone.get(f"{job}/audits/{'0' * 26}")
    assert (missing.status_code, missing.json()["code"]) == (404, "audit_not_found")
    assert alone.post(f"{job}/audits", json={"photos": 0}).status_code == 422


def test_the_next_photos_are_undecided_ones_and_what_is_left_is_counted(alone, job):
    before = alone.get(f"{job}/next?limit=3").json()
    assert len(before["items"]) == 3
    doubtful = sum(item["summary"]["doubt"] > 0.5 for item in alone.get(f"{job}/items").json()["items"])
    assert before["left"] == {
        "undecided": 6,
        "doubtful": doubtful,
        "labelled": 6,
        "by_class": {"cat": 6, "person": 6},
    }
    done = before["items"][0]["id"]
    alone.patch(f"{job}/items/{done}", json={"decision": "accept"})
    after = alone.get(f"{job}/next").json()
    assert done not in {item["id"] for item in after["items"]}
    assert (after["left"]["undecided"], after["left"]["by_class"]) == (5, {"cat": 5, "person": 5})


def test_a_mask_that_a_person_made_is_not_left_though_nobody_judged_it(alone, job, monkeypatch):
    monkeypatch.setattr(audits, "_MOST_SEEN", 1)
    made = "000003"
    state = alone.app.state.toco
    name = job.rpartition("/")[2]
    certain = state.records.item(name, "000000")  # as a photo without tags is, of which there may be thousands
    summary = certain.summary.model_copy(update={"doubt": 0.0, "score": 0.0})
    without = NewRevision(Revision(number=1, how="thresholds", based_on=0), summary, certain.tags, None)
    Revisions(state.records, state.store, max_pixels=1).write(certain, without)
    mask = alone.get(f"{job}/items/{made}/artifacts/pseudo_mask.png").content
    sent = alone.put(f"{job}/items/{made}/mask", content=mask, headers={"content-type": "image/png"})
    assert (sent.status_code, state.records.item(name, made).decision) == (200, None), sent.text
    after = alone.get(f"{job}/next").json()
    assert made not in {item["id"] for item in after["items"]}
    assert (after["left"]["undecided"], after["left"]["by_class"]) == (5, {"cat": 5, "person": 5})
