"""Taking many photos in: linear, and ended when nobody waits any more."""

import asyncio
import io
import threading
import time

import pytest
from starlette.requests import Request

from toco.jobs.api_keys import ApiKey
from toco.service.api.auth import LOCAL_USER
from toco.service.api.request_context import until_gone
from toco.service.api.submission import ClientGone, JobRequest, Photo, Submission


@pytest.fixture
def submission(alone):
    def make(caller: ApiKey = LOCAL_USER, **fields) -> Submission:
        return Submission(alone.app.state.toco, caller, JobRequest(), request_id="r", **fields)

    return make


def test_the_work_ends_when_nobody_waits_and_leaves_nothing(submission, alone, jpeg):
    gone = threading.Event()
    objects = alone.app.state.toco.settings.data_dir / "objects"
    photo = jpeg()

    def photos():
        for number in range(1000):
            if number == 20:
                gone.set()
            assert number < 40, "the photos are taken in still"
            yield Photo(f"{number}.jpg", ("cat",), content=photo)

    before = alone.get("/v1/jobs").json()["jobs"], {path for path in objects.rglob("*") if path.is_file()}
    with pytest.raises(ClientGone):
        submission(gone=gone.is_set).submit(photos())
    after = alone.get("/v1/jobs").json()["jobs"], {path for path in objects.rglob("*") if path.is_file()}
    assert after == before


def test_a_client_that_goes_is_noticed_while_the_work_goes_on():
    async def story() -> bool:
        messages = asyncio.Queue()

        async def work() -> bool:
            return await asyncio.to_thread(gone.wait, 5)

        gone = threading.Event()
        request = Request({"type": "http"}, messages.get)
        asyncio.get_running_loop().call_later(0.05, messages.put_nowait, {"type": "http.disconnect"})
        async with asyncio.timeout(5):
            return await until_gone(request, gone, work())

    assert asyncio.run(story())


def form(*parts: tuple[str, str]) -> dict:
    body = b"".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in parts
    )
    return {
        "content": io.BytesIO(body + b"--x--\r\n").getvalue(),
        "headers": {"content-type": "multipart/form-data; boundary=x"},
    }


def test_a_form_of_ten_thousand_fields_is_refused_at_once(alone):
    fields = [(f"key{number}", "v") for number in range(10_000)]
    for path in ("/v1/jobs", "/v1/label"):
        began = time.process_time()
        answer = alone.post(path, **form(*fields))
        assert 400 <= answer.status_code < 500
        assert time.process_time() - began < 3
