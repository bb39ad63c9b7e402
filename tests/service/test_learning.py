"""Words that no model knows, learnt by a job of the service from its own photos."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.drawn_words import drawn_job

pytestmark = pytest.mark.slow


@pytest.fixture
def drawn(tmp_path):
    """A folder of drawn photos and a table of their words."""

    def make(seed: int = 0, count: int = 24):
        photos = drawn_job(count, seed=seed)
        folder = tmp_path / f"things-{seed}"
        folder.mkdir()
        for name, (_, content) in photos.items():
            (folder / name).write_bytes(content)
        rows = [f"{name},{';'.join(words)}" for name, (words, _) in photos.items()]
        (folder / "tags.csv").write_text("\n".join(["image,tags", *rows]) + "\n")
        return folder

    return make


def mask_of(client, job, item):
    return np.asarray(Image.open(io.BytesIO(client.artifact(job, item["id"], "pseudo_mask.png"))))


def test_a_job_learns_its_own_words_and_is_labelled_with_them(client, drawn):
    seen = []
    job = client.label_folder(drawn(), learn_as="things")
    assert job["state"] == "learning"
    assert job["learning"]["words"] == ["gadget", "widget"]
    assert job["notes"][-1].startswith("Learnt first, from 25 photos: gadget, widget")
    ended = client.wait(
        job["id"], progress=lambda found: seen.append((found["state"], found["learning"])), timeout_seconds=120
    )
    assert ended["state"] == "succeeded", ended
    assert {state for state, _ in seen} >= {"learning", "succeeded"}
    read = [learning["photos_read"] for _, learning in seen]
    assert read == sorted(read)
    learning = ended["learning"]
    assert (learning["state"], learning["photos_read"], learning["model"], learning["number"]) == (
        "done",
        25,
        "things",
        1,
    )
    assert [word["word"] for word in learning["report"]] == ["gadget", "rarity", "widget"], "what it knew is as ever"
    standing = {word["word"]: word["standing"] for word in learning["report"]}
    assert standing["rarity"] == "too_few_photos"
    assert ended["model_version"].startswith("things@")
    assert any("rarity: 1 photo," in note for note in ended["notes"])
    details = client.job(job["id"])
    names = {entry["name"]: entry["index"] for entry in details["classes"]}
    items = list(client.items(job["id"]))
    shown = {item["id"]: set(np.unique(mask_of(client, job["id"], item))) for item in items}
    assert set.union(*shown.values()) <= {0, 255, *names.values()}
    (rare,) = [item["id"] for item in items if [word["written"] for word in item["summary"]["words"]] == ["rarity"]]
    assert shown[rare] == {255}
    client.delete(job["id"])
    client.delete_model("things")
