"""What the service costs beside `toco label`, how long interactive requests wait under load, and whether memory grows.

    python -m benchmarks.service --json service.json

A real service (Valkey, worker, errands, API as processes) works on photos cut from the samples, no two alike.
Throughput is a job's, from its submission (after the upload) to its end; `toco label` labels the same photos with the
same options in turn, and a ratio is that of one round. Latency is that of `POST /v1/label`, first on an idle service,
then while a job of many photos runs.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.label import SAMPLES
from benchmarks.machine import provenance
from toco.jobs.broker import LABEL_QUEUES
from toco.jobs.records import Records, connect
from toco.jobs.settings import load_settings
from toco.jobs.stats import Stats
from toco.model.labelling.folder_run import FolderRun, RunSummary
from toco.model.labelling.labeler import Labeler
from toco.model.labelling.plan import PlannedPhoto
from toco.model.options import preset_options
from toco.model.photos.tables.reading import read_tags
from toco.service.client.client import Client
from toco.service.one_machine.supervisor import Program, Supervisor

OUTPUTS = ["pseudo_mask"]
CHEAP = {"cam": {"size": 112}, "refine": "none"}  # for counting memory, not for speed


@dataclass(frozen=True)
class Load:
    """How much work each measurement does.

    Attributes:
        photos: of the throughput job.
        rounds: of throughput, service and `toco label` in turn.
        calls: interactive requests, idle and under load each.
        batch: photos of the job that is the load.
        many: photos of the job whose memory is watched; 0 leaves it out.
        scaling: photos of the jobs that one and then two workers do, many shards' worth; 0 leaves them out.
    """

    photos: int = 40
    rounds: int = 3
    calls: int = 40
    batch: int = 2000
    many: int = 0
    scaling: int = 0


def write_photos(folder: Path, count: int, side: int) -> list[PlannedPhoto]:
    """Write so many different JPEG photos, cut from the samples, of a long side in pixels."""
    folder.mkdir()
    table = read_tags(SAMPLES / "tags.csv")
    sources = [(Image.open(path).convert("RGB"), path.name) for path in sorted(SAMPLES.glob("*.jpg"))]
    photos = []
    for index in range(count):
        image, name = sources[index % len(sources)]
        entry = table.find(name)
        cut = index // len(sources) % 64
        piece = image.crop((cut, index // (64 * len(sources)), image.width, image.height))
        piece.thumbnail((side, side))
        path = folder / f"{index:05}.jpg"
        piece.save(path, quality=90)
        photos.append(PlannedPhoto(path.name, path, entry.tags if entry else None))
    return photos


@contextmanager
def running_service(folder: Path) -> Iterator[tuple[Client, Supervisor]]:
    """Run the whole service from a data folder."""
    supervisor = Supervisor(load_settings(data_dir=folder, port=0))
    try:
        supervisor.start()
        supervisor.wait_until_ready()
        with Client(supervisor.url) as client:
            yield client, supervisor
    finally:
        supervisor.stop()


def submit(client: Client, photos: Sequence[PlannedPhoto], **settings: Any) -> dict[str, Any]:
    """Upload photos and submit them as one job; the upload's time is not counted by the caller."""
    tags = {photo.name: photo.tags or () for photo in photos}
    return client.label_folder(photos[0].path.parent, tags=tags, outputs=OUTPUTS, **settings)


def throughput(client: Client, labeler: Labeler, photos: Sequence[PlannedPhoto], rounds: int) -> dict[str, Any]:
    """Compare a job with `toco label` on the same photos."""
    service, direct, ratios = [], [], []
    for _ in range(rounds):
        took, alone = seconds_of_job(client, photos), seconds_of_run(labeler, photos)
        service.append(took)
        direct.append(alone)
        ratios.append(alone / took)
    return {
        "photos": len(photos),
        "service_photos_a_second": len(photos) / median(service),
        "label_photos_a_second": len(photos) / median(direct),
        "ratio": median(ratios),
    }


def seconds_of_job(client: Client, photos: Sequence[PlannedPhoto]) -> float:
    """Label photos as a job; return how long it took from its submission on."""
    return _seconds_of(client.wait(submit(client, photos, preset="fast")["id"]))


def seconds_of_run(labeler: Labeler, photos: Sequence[PlannedPhoto]) -> float:
    """Label photos as `toco label` does; return how long it took."""
    with tempfile.TemporaryDirectory() as out:
        run = FolderRun(labeler, preset_options("fast"), Path(out), outputs=frozenset({"pseudo_mask"}))
        started = time.perf_counter()
        run.label(photos, RunSummary())
        return time.perf_counter() - started


def _seconds_of(job: dict[str, Any]) -> float:
    """Return how long a finished job took from its submission on."""
    begun, ended = (datetime.fromisoformat(job[moment]) for moment in ("created_at", "finished_at"))
    return (ended - begun).total_seconds()


def latency(client: Client, photos: Sequence[PlannedPhoto], load: Sequence[PlannedPhoto]) -> dict[str, Any]:
    """Time interactive requests, idle and while a job of `load` runs."""
    idle = latencies(client, photos)
    job = submit(client, load, preset="fast")["id"]
    while client.job(job)["counts"]["done"] < 1:
        time.sleep(0.2)
    busy = latencies(client, photos)
    found = client.job(job)
    client.cancel(job)
    client.wait(job)
    return {
        "calls": len(photos),
        "batch_photos": len(load),
        "batch_still_running": found["state"] == "running",
        "idle": percentiles(idle),
        "busy": percentiles(busy),
        "ratio_p95": percentiles(busy)["p95_ms"] / percentiles(idle)["p95_ms"],
    }


def latencies(client: Client, photos: Sequence[PlannedPhoto]) -> list[float]:
    """Return how many seconds an interactive request took, for each photo."""
    times = []
    for photo in photos:
        started = time.perf_counter()
        client.label(photo.path, photo.tags, preset="fast", outputs=OUTPUTS)
        times.append(time.perf_counter() - started)
    return times


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return what half and 95 in 100 stay under, milliseconds."""
    return {"p50_ms": 1000 * median(seconds), "p95_ms": 1000 * quantiles(seconds, n=20)[-1]}


def memory(client: Client, photos: Sequence[PlannedPhoto]) -> dict[str, Any]:
    """Watch the resident memory of every process of the service while a large job runs.

    Returns:
        `samples`: photos done and MiB by process; `growth`: by process, the median of the last tenth of the samples
        over the median of those from 1,000 to 2,000 photos.
    """
    job = submit(client, photos, preset="fast", options=CHEAP)["id"]
    samples: list[dict[str, Any]] = []
    while True:
        found = client.job(job)
        sizes = {f"{_role(process)} {process.pid}": process.memory_info().rss / 2**20 for process in _processes()}
        samples.append({"done": found["counts"]["done"], "mib": sizes})
        if found["finished_at"]:
            break
        time.sleep(2.0)
    growth = {}
    for name in samples[-1]["mib"]:
        early = [s["mib"][name] for s in samples if 1000 <= s["done"] <= 2000 and name in s["mib"]]
        late = [s["mib"][name] for s in samples[-max(3, len(samples) // 10) :] if name in s["mib"]]
        if early and late:
            growth[name] = median(late) / median(early)
    return {"photos": len(photos), "seconds": _seconds_of(found), "samples": samples} | {"growth": growth}


def scaling(folder: Path, photos: Sequence[PlannedPhoto], rounds: int) -> dict[str, Any]:
    """Compare jobs that one worker does and jobs that two do, each worker on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])  # the parts of the service inherit it
    try:
        with running_service(folder / "data") as (client, supervisor):
            seconds_of_job(client, photos)  # warms the worker
            one = [seconds_of_job(client, photos) for _ in range(rounds)]
            os.sched_setaffinity(0, cores[1:2])
            settings = load_settings(data_dir=folder / "data", redis_url=supervisor.redis_url)
            environment = {"TOCO_DATA_DIR": str(settings.data_dir), "TOCO_REDIS_URL": supervisor.redis_url}
            second = Program(["worker", "--queues", ",".join(LABEL_QUEUES)], environment, folder / "second.log")
            second.start()
            try:
                stats = Stats(Records(connect(settings)))
                while sum(set(worker.queues) == set(LABEL_QUEUES) for worker in stats.live_workers()) < 2:
                    time.sleep(0.5)
                seconds_of_job(client, photos)
                two = [seconds_of_job(client, photos) for _ in range(rounds)]
            finally:
                second.stop()
    finally:
        os.sched_setaffinity(0, cores)
    rates = {"one": len(photos) / median(one), "two": len(photos) / median(two)}
    return {"photos": len(photos), "photos_a_second": rates, "ratio": rates["two"] / rates["one"]}


def _processes() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process.is_running()]


def _role(process: psutil.Process) -> str:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return "gone"
    if "valkey" in line:
        return "valkey"
    if "worker" in line:
        return "errands" if "errands" in line else "worker"
    return "api" if "serve" in line else "other"


def measure(load: Load) -> dict[str, Any]:
    """Measure throughput, latency and, if asked, memory."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, running_service(Path(name) / "data") as (client, _):
        folder = Path(name)
        if load.photos:
            photos = write_photos(folder / "photos", load.photos, 500)
            labeler = Labeler.from_folder(device="cpu")
            labeler.label_one(np.zeros((64, 64, 3), np.uint8), labeler.vocabulary.names[:1], preset_options("fast"))
            result["throughput"] = throughput(client, labeler, photos, load.rounds)
        if load.calls:
            calls = write_photos(folder / "calls", load.calls, 500)
            result["latency"] = latency(client, calls, write_photos(folder / "batch", load.batch, 500))
        if load.many:
            result["memory"] = memory(client, write_photos(folder / "many", load.many, 160))
    if load.scaling:
        with tempfile.TemporaryDirectory() as name:
            photos = write_photos(Path(name) / "photos", load.scaling, 500)
            result["scaling"] = scaling(Path(name), photos, load.rounds)
    return result


def markdown(result: dict[str, Any]) -> str:
    """The result of `measure` as Markdown."""
    lines = []
    if found := result.get("throughput"):
        lines += ["| service, photos a second | `toco label`, photos a second | ratio |", "|---|---|---|"]
        lines += [
            f"| {found['service_photos_a_second']:.2f} | {found['label_photos_a_second']:.2f} | {found['ratio']:.2f} |"
        ]
    if found := result.get("latency"):
        lines += ["", "| interactive request | p50, ms | p95, ms |", "|---|---|---|"]
        busy = f"while {found['batch_photos']:,} photos are labelled"
        lines += [
            f"| {title} | {found[key]['p50_ms']:.0f} | {found[key]['p95_ms']:.0f} |"
            for title, key in (("idle", "idle"), (busy, "busy"))
        ]
        lines += [f"| ratio | | {found['ratio_p95']:.2f} |"]
    if found := result.get("scaling"):
        rates = found["photos_a_second"]
        lines += ["", "| one worker on a core, photos a second | two, a core each | ratio |", "|---|---|---|"]
        lines += [f"| {rates['one']:.2f} | {rates['two']:.2f} | {found['ratio']:.2f} |"]
    if found := result.get("memory"):
        last = found["samples"][-1]["mib"]
        lines += ["", f"| process, {found['photos']:,} photos | MiB at the end | over that at 1,000 to 2,000 |"]
        lines += ["|---|---|---|"]
        lines += [f"| {name.split()[0]} | {last[name]:.0f} | {ratio:.3f} |" for name, ratio in found["growth"].items()]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here")
    for name, value in vars(Load()).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    load = Load(**{name: getattr(arguments, name) for name in vars(Load())})
    result = {**provenance(), **measure(load)}
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
