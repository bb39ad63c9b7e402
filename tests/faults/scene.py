"""Where faults strike: a service of real processes with a job in the middle, and what is counted afterwards."""

import contextlib
import io
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image

from tests.service.live import LiveService, until
from toco.jobs.keys import LEASES
from toco.jobs.records import Records

COUNT: Final = 10
LIMIT_SECONDS: Final = 240.0  # a job that is not over by then is stuck
FINAL: Final = frozenset({"succeeded", "partly_failed", "failed", "cancelled"})
MASK: Final = "pseudo_mask.png"
_SAME: Final = 0.995  # share of pixels: batches of other sizes round differently

# Short times, so that what is lost is found again within a minute.
SETTINGS: Final = {
    "TOCO_BROKER_PATIENCE_SECONDS": "3",
    "TOCO_OUTBOUND_TIMEOUT_SECONDS": "2",
    "TOCO_TRAINING_CHECKPOINT_MINUTES": "0.0001",
}


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """Return a JPEG of coloured blocks that no other seed gives."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(file, "JPEG")
    return file.getvalue()


PHOTOS: Final = [(f"{number:02d}.jpg", photo(number)) for number in range(COUNT)]


@dataclass(slots=True)
class Outcome:
    """What a fault did; all zeros but the seconds is what is wanted.

    Attributes:
        lost: photos that did not reach the state they should.
        twice: photos that were recorded more than once.
        stuck: what did not come to its end: jobs, leases, the service itself.
        wrong: labels, counts or answers that are not those without the fault.
        left: keys and files after the job was deleted.
        seconds: from the end of the fault until all was as it should be.
    """

    lost: int = 0
    twice: int = 0
    stuck: int = 0
    wrong: int = 0
    left: int = 0
    seconds: float = 0.0


class Scene:
    """A service, the labels of its photos without any fault, and the job that the present fault strikes."""

    def __init__(self, live: LiveService, store: Path) -> None:
        self.live = live
        self.store = store
        self.records: Records = live.records()
        self.http = httpx.Client(base_url=live.url, timeout=60, transport=httpx.HTTPTransport(retries=5))
        self.job = ""
        self.wanted: dict[str, int] = {}
        self.truth: dict[str, np.ndarray] = {}
        self.deleted = False

    # -- what faults use -----------------------------------------------------------------------------------------

    def submit(self, **fields: Any) -> str:
        """Submit the photos as a job."""
        files = [("images", each) for each in fields.pop("photos", PHOTOS)]
        headers = fields.pop("headers", None)
        data = {"preset": "balanced", "tags": "cat"} | fields
        answer = self.http.post("/v1/jobs", files=files, data=data, headers=headers)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def begin(self, **fields: Any) -> None:
        """Submit a job, and wait until it is in the middle."""
        self.job = self.submit(**fields)
        self.wanted = {"done": COUNT}
        until(lambda: ((found := self.counts())["running"] and found["done"]) or found["done"] == COUNT, 120)

    def counts(self) -> dict[str, int]:
        """Return the job's items by state, as the records have them."""
        return self.records.job(self.job).counts

    def redis(self, *command: str) -> Any:
        """Run a command on the queue server."""
        return self.records.redis.execute_command(*command)

    def folder(self) -> Path:
        """Return the job's folder in the store."""
        return self.store / "jobs" / self.job

    # -- what is counted -----------------------------------------------------------------------------------------

    def learn_truth(self) -> None:
        """Label the photos once, without any fault."""
        self.begin()
        self.wait_for_end(time.monotonic() + LIMIT_SECONDS)
        self.truth = self._masks()
        self.http.delete(f"/v1/jobs/{self.job}")

    def wait_for_end(self, deadline: float) -> bool:
        """Say whether the job ends before a time."""
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                if self.http.get(f"/v1/jobs/{self.job}").json()["state"] in FINAL:
                    return True
            time.sleep(0.1)
        return False

    def assess(self, healed: float) -> Outcome:
        """Count what became of the job.

        Args:
            healed: monotonic seconds at which the fault was over.
        """
        outcome = Outcome()
        deadline = healed + LIMIT_SECONDS
        if not self.deleted:
            outcome.stuck += not self.wait_for_end(deadline)
            self._count_items(outcome)
        outcome.stuck += not self._labels_again(deadline)
        outcome.seconds = round(time.monotonic() - healed, 1)
        outcome.twice = self._recorded_twice()
        outcome.left = self._left_after_delete()
        outcome.stuck += sum(lease.startswith(self.job) for lease in self.records.redis.zrange(LEASES, 0, -1))
        return outcome

    def _count_items(self, outcome: Outcome) -> None:
        job = self.http.get(f"/v1/jobs/{self.job}").json()
        listed = self.http.get(f"/v1/jobs/{self.job}/items", params={"limit": 500}).json()["items"]
        states = Counter(item["state"] for item in listed)
        for state, number in self.wanted.items():
            outcome.lost += max(0, number - states[state])
        told = {state: number for state, number in job["counts"].items() if number}
        outcome.wrong += told != dict(states) or sum(told.values()) != COUNT
        for name, mask in self._masks().items():
            same = self.truth[name].shape == mask.shape and (self.truth[name] == mask).mean() >= _SAME
            outcome.wrong += not same
        for item in listed:
            for artifact in item["artifacts"]:
                stored = self.folder() / "artifacts" / item["id"] / artifact["name"]
                outcome.wrong += not stored.is_file() or stored.stat().st_size != artifact["size"]

    def _masks(self) -> dict[str, np.ndarray]:
        found = {}
        for item in self.http.get(f"/v1/jobs/{self.job}/items", params={"limit": 500}).json()["items"]:
            if item["state"] == "done":
                content = self.http.get(f"/v1/jobs/{self.job}/items/{item['id']}/artifacts/{MASK}").content
                with Image.open(io.BytesIO(content)) as picture:
                    found[item["name"]] = np.asarray(picture)
        return found

    def _labels_again(self, deadline: float) -> bool:
        """Say whether the service labels a photo that comes now, and calls itself ready."""
        new = photo(time.time_ns() % 2**32)
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.http.post("/v1/label", files={"image": ("new.jpg", new)}, data={"tags": "cat"})
                if answer.status_code == 200 and self.http.get("/readyz").status_code == 200:
                    return True
            time.sleep(0.2)
        return False

    def _recorded_twice(self) -> int:
        done: Counter[str] = Counter()
        for line in self.live.log("worker").splitlines():
            if self.job in line and '"item labelled"' in line:
                entry = json.loads(line)
                done[entry["item"]] += entry.get("outcome") == "done"
        return sum(number > 1 for number in done.values())

    def _left_after_delete(self) -> int:
        """Delete the job, and count what is still there after a while."""
        if not self.deleted:
            self.http.delete(f"/v1/jobs/{self.job}").raise_for_status()

        def left() -> list[Any]:
            return [*self.records.redis.keys(f"*{self.job}*"), *([self.folder()] if self.folder().exists() else [])]

        with contextlib.suppress(TimeoutError):
            until(lambda: not left(), 40)
        return len(left())


def own_models(folder: Path, tiny: Path) -> Path:
    """Return a models folder with the tiny model in it."""
    shutil.copytree(tiny, folder / "tiny")
    return folder
