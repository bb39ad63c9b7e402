"""Whatever dies, no item is lost, none counts twice, and the job ends with the right counts."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.api.test_jobs import finished, submit
from tests.service.live import LiveService, until

pytestmark = pytest.mark.slow

COUNT = 16


@pytest.fixture(scope="module")
def mortal(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service of our own: its parts are killed."""
    with LiveService(tmp_path_factory.mktemp("mortal"), models_folder) as service:
        yield service


@pytest.fixture
def http(mortal: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mortal.url, timeout=60, transport=httpx.HTTPTransport(retries=3)) as client:
        yield client


@pytest.fixture(scope="module")
def photos(jpeg) -> list[tuple[str, bytes]]:
    return [(f"{n:02d}.jpg", jpeg(n, size=(400, 300))) for n in range(COUNT)]


def begun(http: httpx.Client, photos, **settings) -> str:
    """Submit a job and wait until it is half done."""
    job = submit(http, photos, tags="cat", preset="balanced", **settings)["id"]

    def midway() -> bool:
        counts = http.get(f"/v1/jobs/{job}").json()["counts"]
        return counts["done"] >= 2 and counts["running"] > 0

    until(midway, 120)
    return job


def all_done_once(http: httpx.Client, job: str) -> None:
    ended = finished(http, job, 180)
    assert ended["counts"] == {"queued": 0, "running": 0, "done": COUNT, "failed": 0, "cancelled": 0}
    items = http.get(f"/v1/jobs/{job}/items", params={"limit": 500}).json()["items"]
    assert len({item["name"] for item in items}) == COUNT
    for item in items:
        assert http.head(item["artifacts"][0]["url"]).status_code in (200, 405)
        assert item["attempts"] <= 3


def test_a_killed_child_loses_and_repeats_nothing(mortal, http, photos):
    job = begun(http, photos)
    child = mortal.worker_child()
    child.kill()
    all_done_once(http, job)
    assert mortal.worker_child().pid != child.pid


def test_a_killed_worker_leaves_its_work_to_the_next(mortal, http, photos):
    job = begun(http, photos)
    os.killpg(mortal.worker.pid, signal.SIGKILL)
    before = http.get(f"/v1/jobs/{job}").json()["counts"]
    assert before["done"] < COUNT
    mortal.worker.stop()
    mortal.worker.start()
    all_done_once(http, job)


def test_a_killed_queue_server_comes_back_with_everything(mortal, http, photos):
    job = begun(http, photos)
    os.killpg(mortal.valkey.pid, signal.SIGKILL)
    time.sleep(1)
    assert http.get(f"/v1/jobs/{job}").json()["code"] == "records_unavailable"
    mortal.valkey.start()
    until(lambda: http.get(f"/v1/jobs/{job}").status_code == 200)
    all_done_once(http, job)


def test_the_api_may_be_restarted_while_workers_work(mortal, http, photos):
    key = {"idempotency-key": f"restart-{time.time_ns()}"}
    job = begun(http, photos, headers=key)
    os.killpg(mortal.api.pid, signal.SIGKILL)
    mortal.api.stop()
    mortal.api.start()
    mortal.until_ready()
    again = submit(http, photos, tags="cat", preset="balanced", headers=key)
    assert again["id"] == job
    all_done_once(http, job)


def test_a_poison_image_fails_alone_after_three_attempts(mortal, http, photos, jpeg):
    """An image that ends its process every time: here we are what ends it, whenever that image is being labelled."""
    large = ("poison.jpg", jpeg(5, size=(1600, 1200)))  # a second's work: it is struck before it is done
    job = submit(http, [*photos[:4], large, *photos[6:9]], tags="cat", preset="balanced")["id"]
    over = threading.Event()
    records = mortal.records()

    def poison() -> None:
        last = 0
        while not over.wait(0.005):
            item = records.item(job, "000004")
            if item.state == "running" and item.attempts != last:
                last = item.attempts
                with contextlib.suppress(Exception):
                    mortal.worker_child().kill()

    thread = threading.Thread(target=poison)
    thread.start()
    try:
        ended = finished(http, job, 180)
    finally:
        over.set()
        thread.join()
        records.redis.close()
    assert (ended["state"], ended["counts"]["done"], ended["counts"]["failed"]) == ("partly_failed", 7, 1)
    failed = http.get(f"/v1/jobs/{job}/items/000004").json()
    assert (failed["error"]["code"], failed["attempts"]) == ("poison_image", 3)
    assert http.post(f"/v1/jobs/{job}/retry").json()["items"] == 1
    assert finished(http, job)["state"] == "succeeded"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs more rights: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_delays_the_work_and_loses_nothing(small_disk, models_folder, tmp_path, jpeg):
    service = LiveService(
        tmp_path / "state", models_folder, TOCO_STORE_URL=f"file://{small_disk}", TOCO_MAX_ATTEMPTS="10"
    )
    with service, httpx.Client(base_url=service.url, timeout=60) as http:
        photos = [(f"{n}.jpg", jpeg(n, size=(160, 120))) for n in range(6)]
        filler = small_disk / "filler"
        used = sum(len(content) for _, content in photos)
        filler.write_bytes(bytes(2 * 2**20 - used - 64 * 1024))
        job = submit(http, photos, tags="cat")["id"]
        # Some artifacts still fit, the rest wait with a typed error.
        waiting = until(lambda: [item for item in http.get(f"/v1/jobs/{job}/items").json()["items"] if item["error"]])
        assert waiting[0]["error"]["code"] == "storage_full"
        refused = http.post("/v1/label", files={"image": jpeg(7, size=(900, 900), kind="BMP")}, data={"tags": "cat"})
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_full")
        filler.unlink()
        ended = finished(http, job)
        assert (ended["state"], ended["counts"]["done"]) == ("succeeded", 6)
