"""`make soak`: thousands of small photos while parts are killed by chance; nothing is lost, memory stays flat.

python -m tests.faults.soak [--photos N] [--minutes M] [--write]
"""

import argparse
import contextlib
import os
import platform
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from tests.faults.list_of_faults import restart
from tests.faults.matrix import PAGE
from tests.faults.scene import FINAL, SETTINGS, own_models, photo
from tests.service.live import LiveService
from tests.tiny_model import write_tiny_model

EVERY_SECONDS: Final = 20.0
JOB_PHOTOS: Final = 250
BEGIN, END = "<!-- soak: made by `make soak` -->", "<!-- end of soak -->"


class Soak:
    """A service under fire.

    Args:
        live: the service.
        ends: monotonic seconds after which no further job is submitted.
    """

    def __init__(self, live: LiveService, ends: float) -> None:
        self.live = live
        self.ends = ends
        self.kills: Counter[str] = Counter()
        self.memory: list[int] = []
        self.jobs: list[str] = []
        self.over = threading.Event()
        self.http = httpx.Client(base_url=live.url, timeout=60)

    def fire(self) -> None:
        """Kill a part by chance, again and again, until all is submitted.

        In the thread that stays: what a thread starts ends with it (see `die_with_parent`).
        """
        chance = random.Random(0)
        arms: dict[str, Callable[[], None]] = {
            "child": self._kill_child,
            "worker": lambda: self._kill(self.live.worker),
            "API": lambda: self._kill(self.live.api),
            "queue": lambda: self._kill(self.live.valkey),
        }
        while not self.over.wait(EVERY_SECONDS):
            self.memory.append(self._memory())
            name = chance.choice(sorted(arms))
            with contextlib.suppress(psutil.Error, ValueError):
                arms[name]()
                self.kills[name] += 1

    def _kill_child(self) -> None:
        self.live.worker_child().kill()

    def _kill(self, part: Any) -> None:
        os.killpg(part.pid, signal.SIGKILL)
        restart(part) if part is not self.live.valkey else part.start()

    def _memory(self) -> int:
        """Return the bytes that all our processes have for themselves."""
        total = 0
        for part in (self.live.valkey, self.live.worker, self.live.api):
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(part.pid)
                total += sum(one.memory_full_info().uss for one in [process, *process.children(recursive=True)])
        return total

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Make a request; an API that is away for a moment is asked again."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.http.request(method, path, **more)
                if answer.status_code < 500 and answer.status_code != 409:
                    return answer
            time.sleep(0.5)

    def feed(self, photos: int) -> None:
        """Submit jobs, never far ahead of the workers, until the photos or the time are used up."""
        while len(self.jobs) * JOB_PHOTOS < photos and time.monotonic() < self.ends:
            number = len(self.jobs)
            files = [
                ("images", (f"{number}-{index}.jpg", photo(number * JOB_PHOTOS + index, (48, 40))))
                for index in range(JOB_PHOTOS)
            ]
            key = {"idempotency-key": f"soak-{number}"}
            answer = self.ask("POST", "/v1/jobs", files=files, data={"tags": "cat", "preset": "fast"}, headers=key)
            answer.raise_for_status()
            self.jobs.append(answer.json()["id"])
            while len(self.jobs) > 3 and not self.ended(self.jobs[-3]) and time.monotonic() < self.ends:
                time.sleep(0.5)

    def feed_and_end(self, photos: int) -> None:
        """Submit jobs, and have the kills end however that ends."""
        try:
            self.feed(photos)
        finally:
            self.over.set()

    def ended(self, job: str) -> bool:
        """Say whether a job is over."""
        return self.ask("GET", f"/v1/jobs/{job}").json()["state"] in FINAL

    def count(self) -> dict[str, Any]:
        """Wait for the end of all jobs, delete them, and return what was counted."""
        limit = time.monotonic() + 600
        while time.monotonic() < limit and not all(map(self.ended, self.jobs)):
            time.sleep(1)
        states: Counter[str] = Counter()
        for job in self.jobs:
            states.update(self.ask("GET", f"/v1/jobs/{job}").json()["counts"])
            self.ask("DELETE", f"/v1/jobs/{job}")
        records, objects = self.live.records(), self.live.folder / "objects" / "jobs"
        limit = time.monotonic() + 120
        while time.monotonic() < limit and (left := self._left(records, objects)):
            time.sleep(1)
        sent = len(self.jobs) * JOB_PHOTOS
        return {
            "photos": sent,
            "done": states["done"],
            "lost": sent - states["done"],
            "miscounted": abs(sum(states.values()) - sent),
            "left": left,
            "kills": dict(sorted(self.kills.items())),
            "memory": self.memory,
        }

    def _left(self, records: Any, objects: Path) -> int:
        keys = sum(len(records.redis.keys(f"*{job}*")) for job in self.jobs)
        return keys + sum((objects / job).exists() for job in self.jobs)


def sentence(found: dict[str, Any], minutes: float) -> str:
    """Say what was counted."""
    kills = ", ".join(f"{name} {number}" for name, number in found["kills"].items())
    mebi = [size / 2**20 for size in found["memory"]] or [0.0]
    third = max(1, len(mebi) // 3)
    first, last = sum(mebi[:third]) / third, sum(mebi[-third:]) / third
    return (
        f"{found['photos']:,} photos in {minutes:.0f} minutes, {sum(found['kills'].values())} kills ({kills}): "
        f"{found['done']:,} done, {found['lost']} lost, {found['miscounted']} miscounted, "
        f"{found['left']} keys and folders left after deleting. "
        f"Memory of all processes: {first:.0f} MiB in the first third, {last:.0f} MiB in the last. "
        f"Machine: {os.cpu_count()} cores {platform.machine()}; {time.strftime('%Y-%m-%d')}."
    )


def main() -> None:
    """Run the soak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help="write the figures to docs/reliability.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="toco-soak-") as name:
        folder = Path(name)
        (folder / "tiny").mkdir()
        write_tiny_model(folder / "tiny")
        with LiveService(folder, own_models(folder / "models", folder / "tiny"), **SETTINGS) as live:
            begun = time.monotonic()
            soak = Soak(live, begun + 60 * chosen.minutes)
            feeder = threading.Thread(target=soak.feed_and_end, args=[chosen.photos])
            feeder.start()
            soak.fire()
            feeder.join()
            found = soak.count()
            said = sentence(found, (time.monotonic() - begun) / 60)
    print(said)
    if chosen.write:
        page = PAGE.read_text("utf-8")
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{said}\n{END}{after}", "utf-8")
    sys.exit(bool(found["lost"] or found["miscounted"] or found["left"]))


if __name__ == "__main__":
    main()
