"""Whatever dies while masks are kept, no revision is lost and none is half there."""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.labelled_items import labelled_job
from tests.service.live import LiveService
from toco.jobs.records import Records, connect
from toco.jobs.settings import load_settings
from toco.jobs.store import Store
from toco.model.formats.artifacts import encode_mask, read_result
from toco.model.photos.images import read_mask

pytestmark = pytest.mark.slow

DOG = 12


@pytest.fixture
def mortal(models_folder: Path, tmp_path: Path) -> Iterator[LiveService]:
    with LiveService(tmp_path / "mortal", models_folder) as service:
        yield service


def noise(seed: int) -> np.ndarray:
    """A mask that does not compress, each of its own."""
    return np.where(np.random.default_rng(seed).random((90, 120)) < 0.5, np.uint8(DOG), np.uint8(0))


def all_whole(http: httpx.Client, here: str) -> list[dict]:
    """Return the revisions, after every file of every one was read and found to fit the others."""
    listed = http.get(f"{here}/revisions?limit=500").json()["revisions"]
    assert [entry["number"] for entry in listed] == list(range(len(listed) - 1, -1, -1))
    current = [entry["number"] for entry in listed if entry["current"]]
    assert len(current) == 1
    for entry in listed:
        mask = read_mask(http.get(entry["mask_url"]).content)
        areas = {row["name"]: row["area"] for row in entry["classes"]}
        assert areas.get("dog", 0) == int((mask == DOG).sum()), entry["number"]
        http.post(f"{here}/revisions/{entry['number']}/current").raise_for_status()
        result = read_result(http.get(f"{here}/artifacts/result.json").content)
        assert {row.name: row.area for row in result.classes} == areas
        for part in http.get(here).json()["artifacts"]:
            assert len(http.get(part["url"]).content) == part["size"]
    http.post(f"{here}/revisions/{current[0]}/current").raise_for_status()
    return listed


def test_an_api_killed_in_the_middle_of_saving_loses_nothing_that_it_promised(mortal):
    settings = load_settings(redis_url=mortal.valkey.url, data_dir=mortal.folder, _env_file=None)
    records, store = Records(connect(settings)), Store.open(settings)
    job = labelled_job(records, store).id
    here = f"/v1/jobs/{job}/items/000000"
    promised: dict[int, int] = {}
    stopped = threading.Event()

    def save(first: int) -> None:
        seed = first
        with httpx.Client(base_url=mortal.url, timeout=20) as http:
            while not stopped.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    answer = http.put(f"{here}/mask?how=brush", content=encode_mask(noise(seed)))
                    if answer.status_code == 200:
                        promised[answer.json()["number"]] = seed
                seed += 1

    threads = [threading.Thread(target=save, args=(first,)) for first in (1_000, 2_000, 3_000)]
    for thread in threads:
        thread.start()
    for pause in (0.3, 0.55, 0.8):
        time.sleep(pause)
        psutil.Process(mortal.api.pid).send_signal(signal.SIGKILL)
        mortal.api.stop()
        mortal.api.start()
        mortal.until_ready()
    stopped.set()
    for thread in threads:
        thread.join()
    with httpx.Client(base_url=mortal.url, timeout=60) as http:
        listed = all_whole(http, here)
        assert promised
        assert len(listed) - 1 >= len(promised), "what was promised is there, and what was not may be"
        for number, seed in promised.items():
            assert np.array_equal(read_mask(http.get(f"{here}/revisions/{number}/mask.png").content), noise(seed))
    records.redis.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_a_mask_and_keeps_all_that_was(small_disk, models_folder, tmp_path):
    service = LiveService(tmp_path / "state", models_folder, TOCO_STORE_URL=f"file://{small_disk}")
    with service, httpx.Client(base_url=service.url, timeout=60) as http:
        settings = load_settings(
            redis_url=service.valkey.url, data_dir=service.folder, store_url=f"file://{small_disk}", _env_file=None
        )
        records, store = Records(connect(settings)), Store.open(settings)
        here = f"/v1/jobs/{labelled_job(records, store).id}/items/000000"
        filler = small_disk / "filler"
        filler.write_bytes(bytes(2**20))
        kept = 0
        for seed in range(200):
            answer = http.put(f"{here}/mask", content=encode_mask(noise(seed)))
            if answer.status_code != 200:
                break
            kept += 1
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_full")
        assert kept > 0
        assert len(all_whole(http, here)) == kept + 1
        filler.unlink()
        assert http.put(f"{here}/mask", content=encode_mask(noise(seed))).json()["number"] == kept + 1
        assert len(all_whole(http, here)) == kept + 2
        records.redis.close()
