"""Labels corrected through the client, on the running service."""

import asyncio
import time

import numpy as np
import pytest

from toco.model.formats.artifacts import encode_mask
from toco.model.photos.images import read_mask
from toco.service.client.async_client import AsyncClient
from toco.service.client.client import ServiceError


@pytest.fixture
def made(client, photos):
    answer = client.label(photos / "a.jpg", ["cat"], preset="fast")
    return answer["job"]["id"], answer["item"]["id"], (answer["item"]["height"], answer["item"]["width"])


def test_a_mask_goes_in_and_comes_out_and_an_older_one_comes_back(client, made):
    job, item, size = made
    machine = client.mask(job, item)
    mask = np.full(size, 255, np.uint8)
    revision = client.put_mask(job, item, encode_mask(mask), how="brush", expected=0, accept=True)
    assert (revision["number"], client.item(job, item)["decision"]) == (1, "accept")
    assert (read_mask(client.mask(job, item)) == mask).all()
    with pytest.raises(ServiceError, match="revision 1") as told:
        client.choose_revision(job, item, 0, expected=0)
    assert (told.value.status, told.value.code) == (412, "revision_outdated")
    client.choose_revision(job, item, 0, expected=1)
    assert client.mask(job, item) == machine == client.mask(job, item, 0)
    assert [entry["number"] for entry in client.revisions(job, item)] == [1, 0]


def test_the_same_awaited(live, made):
    job, item, size = made

    async def correct() -> list[int]:
        async with AsyncClient(live.url) as client:
            await client.put_mask(job, item, encode_mask(np.zeros(size, np.uint8)))
            return [entry["number"] for entry in await client.revisions(job, item)]

    assert asyncio.run(correct()) == [1, 0]


def until_made(client, made, latest: int) -> dict:
    job, item, _ = made
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = client.item(job, item)
        if found["revision"]["latest"] >= latest:
            return found
        time.sleep(0.1)
    raise TimeoutError(found)


def test_thresholds_and_tags_are_changed_in_place(client, made):
    job, item, _ = made
    machine = client.mask(job, item)
    working = client.revise(job, item, options={"thresholds": {"high": 0.9, "low": 0.89}}, expected=0)
    assert working["id"] not in {listed["id"] for listed in client.jobs()}, "what makes a revision clutters no list"
    found = until_made(client, made, 1)
    assert found["revision"] == {"number": 1, "how": "thresholds", "latest": 1}
    assert client.mask(job, item) != machine
    client.change_tags(job, item, ["cat", "dog"], expected=1)
    found = until_made(client, made, 2)
    assert (found["tags"], found["summary"]["tags"]) == (["cat", "dog"], ["cat", "dog"])
    assert {part["name"] for part in found["artifacts"]} >= {"cam.npz", "heat_dog.jpg", "overlay.jpg", "result.json"}
    for part in found["artifacts"]:
        assert len(client.artifact(job, item, part["name"])) == part["size"]
    client.choose_revision(job, item, 0)
    assert (client.item(job, item)["tags"], client.mask(job, item)) == (["cat"], machine)


def test_what_was_asked_for_is_kept_but_a_persons_mask_stays_current(live, client, made):
    job, item, size = made
    live.worker_child().suspend()
    try:
        client.change_tags(job, item, ["dog"])
        client.put_mask(job, item, encode_mask(np.zeros(size, np.uint8)), how="brush")
    finally:
        live.worker_child().resume()
    found = until_made(client, made, 2)
    assert found["revision"] == {"number": 1, "how": "brush", "latest": 2}
    newest = next(iter(client.revisions(job, item)))
    assert (newest["how"], newest["tags"]) == ("tags", ["dog"])
