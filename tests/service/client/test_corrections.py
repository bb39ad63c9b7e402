"""Labels corrected through the client, on the running service."""

import asyncio

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
