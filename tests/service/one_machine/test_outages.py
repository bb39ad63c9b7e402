"""What the worker needs goes away and comes back; what it cannot know about itself shows in /readyz."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.api.test_jobs import finished, submit
from tests.service.live import LiveService, until
from toco.jobs.records import Records
from toco.jobs.settings import load_settings
from toco.jobs.store import Store, upload_key
from toco.jobs.uploads import Uploads

pytestmark = pytest.mark.slow

COUNT = 12
PATIENCE = 2.0


@pytest.fixture(scope="module")
def deprived(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service of our own, whose worker has little patience with an absent broker."""
    folder = tmp_path_factory.mktemp("deprived")
    with LiveService(folder, models_folder, TOCO_BROKER_PATIENCE_SECONDS=str(PATIENCE)) as service:
        yield service


@pytest.fixture
def http(deprived: LiveService) -> Iterator[httpx.Client]:
    """A client without idle connections: the API closes one after five seconds, perhaps just as it is used again."""
    patient = httpx.HTTPTransport(retries=3)
    with httpx.Client(base_url=deprived.url, timeout=60, transport=patient, headers={"connection": "close"}) as client:
        yield client


@pytest.fixture
def own_records(deprived: LiveService) -> Iterator[Records]:
    records = deprived.records()
    yield records
    records.redis.close()


@pytest.fixture(scope="module")
def photos(jpeg) -> list[tuple[str, bytes]]:
    return [(f"{n:02d}.jpg", jpeg(n, size=(400, 300))) for n in range(COUNT)]


def begun(http: httpx.Client, photos) -> str:
    """Submit a job and wait until a worker is at it."""
    job = submit(http, photos, tags="cat", preset="balanced")["id"]
    until(lambda: http.get(f"/v1/jobs/{job}").json()["counts"]["running"], 120)
    return job


def all_done(http: httpx.Client, job: str) -> None:
    assert finished(http, job, 120)["counts"] == {"queued": 0, "running": 0, "done": COUNT, "failed": 0, "cancelled": 0}


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_queue_server_away_for_longer_than_the_worker_waits_does_not_stop_it(deprived, http, photos, own_records):
    job = begun(http, photos)
    parent = deprived.parent()
    os.killpg(deprived.valkey.pid, signal.SIGKILL)
    time.sleep(3 * PATIENCE + 4)  # the child gives up, and its parent fails to acknowledge
    deprived.valkey.start()
    all_done(http, job)
    assert own_records.redis.zcard("toco:leases") == 0
    # The one slot of the worker is free again: it takes what comes next.
    all_done(http, submit(http, photos, tags="cat", preset="balanced")["id"])
    assert parent.is_running()
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("refuse", "accept"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "read-only"],
)
def test_a_queue_server_that_refuses_to_write_does_not_end_the_worker(
    deprived, http, photos, own_records, refuse, accept
):
    job = begun(http, photos)
    parent = deprived.parent()
    own_records.redis.execute_command(*refuse)
    time.sleep(5)
    own_records.redis.execute_command(*accept)
    all_done(http, job)
    assert parent.is_running()
    all_done(http, submit(http, photos, tags="cat", preset="balanced")["id"])


def test_a_worker_whose_parent_takes_no_messages_is_not_ready(deprived, http):
    parent = deprived.parent()
    parent.suspend()
    try:
        answer = until(lambda: (found := http.get("/readyz")).status_code == 503 and found, 60)
        assert "No worker answers" in answer.json()["detail"]
    finally:
        parent.resume()
    until(lambda: http.get("/readyz").status_code == 200, 60)


def test_a_child_that_takes_a_dead_ones_place_works_although_the_sweep_used_the_store(
    deprived, http, photos, own_records
):
    """Threads do not survive a fork, and what they hold locked stays locked: Celery's parent has none."""
    settings = load_settings(data_dir=deprived.folder, redis_url=deprived.valkey.url, _env_file=None)
    store = Store.open(settings)
    upload = Uploads(settings, own_records, store).create(length=1, name="a.zip").id
    store.put(upload_key(upload, 0, "s"), b"x")
    own_records.redis.zadd("toco:uploads", {upload: time.time() - 1})
    until(lambda: not list(store.under("uploads/")))
    assert deprived.parent().num_threads() == 1
    child = deprived.worker_child()
    child.kill()
    until(lambda: [other for other in deprived.parent().children() if other != child])
    all_done(http, submit(http, photos, tags="cat", preset="balanced")["id"])


def test_an_orphaned_worker_ends_at_once(deprived):
    parent, child = deprived.parent(), deprived.worker_child()
    parent.kill()
    until(lambda: has_ended(child), 20)
    deprived.worker.stop()
    deprived.worker.start()
