"""A store that hangs takes the requests that need it, each for a bounded time, and nothing else."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.trainings import make_training
from toco.jobs.job import JobOptions, NewItem, Summary
from toco.jobs.records import Records, connect
from toco.jobs.settings import Settings, load_settings
from toco.jobs.store import StorageUnavailable
from toco.jobs.trainings import Trainings
from toco.model.options import preset_options
from toco.service.api.patient_store import PatientStore
from toco.service.api.threads import BoundedThreads, Busy
from toco.service.applications.whole import create_app

STORE_SECONDS = 3.0
MADE = {"cam.npz": 9, "pseudo_mask.png": 9, "overlay.jpg": 9}


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1000)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def settings(valkey, models_folder, tmp_path, hanging) -> Settings:
    return load_settings(
        redis_url=valkey.url, data_dir=tmp_path, models_dir=models_folder, default_model="tiny",
        store_url="s3://photos", store_timeout_seconds=STORE_SECONDS, label_wait_seconds=0, _env_file=None,
        store_options={"endpoint": hanging, "access_key_id": "k", "secret_access_key": "s", "region": "r"},
    )  # fmt: skip


@pytest.fixture
def job(settings) -> str:
    """A job of one labelled photo."""
    records = Records(connect(settings))
    job = records.begin_job()
    options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
    records.create_job(job, [NewItem("a.jpg", f"jobs/{job}/images/000000", tags=("cat",))], options)
    lease = records.lease(job, "000000", owner="w", seconds=60, max_attempts=3)
    made = Summary(tags=("cat",), tag_source="user", ignore_ratio=0, area_ratio=0.5, score=0.5, doubt=0.5,
                   width=8, height=8, artifacts=MADE)  # fmt: skip
    assert records.complete(lease, made) == "done"
    yield job
    records.delete_job(job)
    records.redis.close()


@pytest.fixture
def training(settings) -> str:
    """A training that is over."""
    records = Records(connect(settings))
    trainings = Trainings(records, lease_seconds=60)
    training = make_training(trainings)
    yield training
    trainings.delete(training)
    records.redis.close()


@pytest.mark.slow
def test_everything_else_answers_while_sixty_requests_hang(settings, job, training, jpeg):
    item = f"/v1/jobs/{job}/items/000000"
    picture = f"/v1/trainings/{training}/pictures/0/after"
    paths = [f"{item}/image", f"{item}/artifacts/pseudo_mask.png", f"{item}/cams/cat", f"{item}/preview"] * 4
    paths += [picture] * 45  # more than the framework has threads

    async def story() -> tuple[list[httpx.Response], list[float], httpx.Response]:
        transport = httpx.ASGITransport(create_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            hung = [asyncio.create_task(client.get(path)) for path in paths]
            photo = {"files": {"image": jpeg()}, "data": {"tags": "cat"}}
            hung += [asyncio.create_task(client.post("/v1/label", **photo)) for _ in range(4)]
            await asyncio.sleep(0.2)
            waits = []
            for path in ["/healthz", "/v1/jobs", "/v1/models", f"/v1/jobs/{job}", "/"] * 3:
                began = time.monotonic()
                answer = await client.get(path)
                waits.append(time.monotonic() - began)
                assert answer.status_code == 200, answer.text
            assert not all(task.done() for task in hung), "the store hangs on"
            ready = await client.get("/readyz")
            return list(await asyncio.gather(*hung)), waits, ready

    began = time.monotonic()
    answers, waits, ready = asyncio.run(story())
    took = time.monotonic() - began
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} <= {"storage_unavailable", "busy"}
    assert all("retry-after" in answer.headers for answer in answers)
    assert max(waits) < STORE_SECONDS, waits
    assert took < 15 * STORE_SECONDS
    assert ready.status_code == 503


@pytest.mark.slow
def test_an_operation_ends_in_time_and_the_threads_are_bounded(settings):
    store = PatientStore.open(settings)
    before = threading.active_count()
    with ThreadPoolExecutor(100) as pool:
        began = time.monotonic()
        calls = [pool.submit(store.head, f"inputs/{n}") for n in range(100)]
        failures = [call.exception() for call in calls]
        took = time.monotonic() - began
    assert all(isinstance(failure, StorageUnavailable) for failure in failures)
    assert took < 10 * STORE_SECONDS
    assert threading.active_count() - before <= 64
    store.close()


def test_threads_are_bounded_and_one_that_hangs_keeps_its_own():
    async def story() -> None:
        threads = BoundedThreads("Waiting", 2, 0.1)
        go_on = threading.Event()
        hung = [asyncio.create_task(threads.run(go_on.wait, 5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        hung[0].cancel()  # its client went; its thread hangs on
        with pytest.raises(Busy, match="Waiting takes all"):
            await threads.run(lambda: None)
        go_on.set()
        assert await hung[1] is True
        assert await threads.run(lambda value: value + 1, 1) == 2
        threads.close()

    asyncio.run(story())


def test_readiness_writes_its_probe_seldom(start, tmp_path):
    alone = start()
    probe = tmp_path / "objects" / "health" / "probe"
    alone.get("/readyz")
    written = probe.stat().st_mtime_ns
    for _ in range(5):
        alone.get("/readyz")
    assert probe.stat().st_mtime_ns == written
    probe.unlink()
    alone.get("/readyz")
    assert probe.exists()
