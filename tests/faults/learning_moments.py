"""`make learning-moments`: twenty killed moments of a job that learns; the table goes to docs/reliability.md.

python -m tests.faults.learning_moments [--parts child,worker] [--write]

A job of drawn photos with two words that no model knows runs on real processes. At each of five moments each of four
parts is killed and started again. Compared with the same job left alone: photos that were not labelled (lost), photos
that were counted or models that were published twice (twice), jobs that did not end (stuck), masks or reports that
differ (wrong), and what is left once the job and its model are deleted (left).
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.drawn_words import drawn_job
from tests.service.live import LiveService
from tests.tiny_model import write_tiny_model
from toco.jobs.keys import job_key
from toco.service.client.client import ServiceError

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = ROOT / "docs" / "reliability" / "learning.json"
PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- learning: made by `make learning-moments` -->", "<!-- end of learning -->"
COLUMNS: Final = ("lost", "twice", "stuck", "wrong", "left", "seconds")
PHOTOS: Final = 48
SECONDS: Final = 240.0

Fields = dict[str, str]
MOMENTS: Final[dict[str, Callable[[Fields], bool]]] = {
    "before the first photo is read": lambda job: job.get("learning_state") == "reading",
    "in the middle of reading": lambda job: int(job.get("learning_read", 0)) >= PHOTOS // 3,
    "before the last photo is read": lambda job: int(job.get("learning_read", 0)) >= PHOTOS - 2,
    "in the fit": lambda job: "fit_owner" in job or job.get("learning_state") == "done",
    "when all is learnt and labelling begins": lambda job: job.get("learning_state") == "done",
}


def kill_child(live: LiveService) -> None:
    live.worker_child().kill()


def kill_worker(live: LiveService) -> None:
    child, parent = live.worker_child(), live.parent()
    parent.kill()
    child.kill()
    live.worker.stop()
    live.worker.start()


def kill_api(live: LiveService) -> None:
    os.kill(live.api.pid or 0, signal.SIGKILL)
    live.api.stop()
    live.api.start()


def kill_queue(live: LiveService) -> None:
    os.kill(live.valkey.pid or 0, signal.SIGKILL)
    live.valkey.start()


PARTS: Final = {"child": kill_child, "worker": kill_worker, "API": kill_api, "queue": kill_queue}


class Story:
    """One job, from sending to deletion."""

    def __init__(self, live: LiveService, folder: Path, name: str) -> None:
        self.live, self.folder, self.name = live, folder, name
        self.redis = live.records().redis

    def run(self, due: Callable[[Fields], bool], strike: Callable[[LiveService], None]) -> dict[str, Any]:
        """Send the job, strike when the moment has come, and return what became of it."""
        with self.live.client() as client:
            job = client.label_folder(self.folder, learn_as=self.name)["id"]
            while not due(self.redis.hgetall(job_key(job))):
                time.sleep(0.002)
            strike(self.live)
            struck = time.monotonic()
        self.live.until_ready()
        with self.live.client() as client:
            try:
                ended = client.wait(job, timeout_seconds=SECONDS)
            except ServiceError:
                return {"job": client.job(job), "stuck": 1}
            seconds = time.monotonic() - struck
            items = list(client.items(job))
            masks = [
                hashlib.sha256(client.artifact(job, item["id"], "pseudo_mask.png")).hexdigest()
                for item in items
                if item["state"] == "done"
            ]
            versions = client.model_versions(self.name)["versions"]
            client.delete(job)
            client.delete_model(self.name)
        left = self._left(job)
        return {"job": ended, "masks": masks, "versions": versions, "left": left, "seconds": seconds, "stuck": 0}

    def _left(self, job: str) -> int:
        """Return how many keys and folders of a deleted job and its model are left after some seconds."""
        objects = self.live.folder / "objects"
        for _ in range(100):
            keys = [*self.redis.scan_iter(f"*{job}*"), *self.redis.scan_iter(f"*published*{self.name}*")]
            kept = (objects / "jobs" / job, *objects.glob(f"models/*/{self.name}/*"))
            folders = [path for path in kept if path.exists()]
            if not keys and not folders:
                return 0
            time.sleep(0.1)
        print("left:", keys, folders, file=sys.stderr)
        return len(keys) + len(folders)


def compared(found: dict[str, Any], alone: dict[str, Any]) -> dict[str, object]:
    """Count what differs from the job that was left alone."""
    if found["stuck"]:
        return dict.fromkeys(COLUMNS, 0) | {"stuck": 1, "seconds": SECONDS}
    learning = found["job"]["learning"]
    report = learning["report"]
    expected = alone["job"]["learning"]["report"]
    return {
        "lost": found["job"]["total"] - found["job"]["counts"]["done"] + learning["photos_left_out"],
        "twice": max(0, learning["photos_read"] - learning["photos"]) + len(found["versions"]) - 1,
        "stuck": 0,
        "wrong": sum(a != b for a, b in zip(found["masks"], alone["masks"], strict=False)) + (report != expected),
        "left": found["left"],
        "seconds": round(found["seconds"], 1),
    }


def table(rows: Sequence[dict[str, object]]) -> str:
    head = ["part", "killed", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(row[name]) for name in ('part', 'moment', *COLUMNS))} |" for row in rows]
    zeros = sum(all(row[name] == 0 for name in COLUMNS[:-1]) for row in rows)
    return f"{len(rows)} killed moments, {zeros} of them with zeros throughout.\n\n" + "\n".join(lines)


def write(rows: Sequence[dict[str, object]]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    anew = {row["part"] for row in rows}
    rows = [*(row for row in kept if row["part"] not in anew), *rows]
    rows.sort(key=lambda row: list(PARTS).index(str(row["part"])))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    """Run all moments; exit code 1 if any left a trace."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    parser.add_argument("--parts", default=",".join(PARTS), help="which are killed; the other rows stay as they are")
    asked = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as root:
        folder, models = Path(root) / "photos", Path(root) / "models"
        folder.mkdir()
        photos = drawn_job(PHOTOS - 1)
        for name, (_, content) in photos.items():
            (folder / name).write_bytes(content)
        rows_of_table = [f"{name},{';'.join(words)}" for name, (words, _) in photos.items()]
        (folder / "tags.csv").write_text("\n".join(["image,tags", *rows_of_table]) + "\n")
        write_tiny_model(models / "tiny")
        with LiveService(Path(root) / "live", models) as live:
            alone = Story(live, folder, "alone").run(lambda _: True, lambda _: None)
            for number, (part, moment) in enumerate((p, m) for p in asked.parts.split(",") for m in MOMENTS):
                found = Story(live, folder, f"moment-{number}").run(MOMENTS[moment], PARTS[part])
                rows.append({"part": part, "moment": moment} | compared(found, alone))
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if asked.write:
        write(rows)
    return int(any(row[name] for row in rows for name in COLUMNS[:-1]))


if __name__ == "__main__":
    sys.exit(main())
