"""Labelling beside processes that never rest: how much of the idle speed is left, of command line and service.

    python -m benchmarks.busy --json docs/performance/busy.json

The same photos are labelled by `toco label`'s run and as a job of a real service (Valkey, worker, errands, API), idle
and beside neighbours, in turn. The fair share is that of a program with a thread a core, if every thread that wants the
processor got as much of it as any other. Interactive requests are timed one by one.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import provenance
from benchmarks.paired import neighbours
from benchmarks.service import latencies, percentiles, running_service, seconds_of_job, seconds_of_run, write_photos
from toco.model.labelling.labeler import Labeler
from toco.model.options import preset_options

TITLES = {"label": "`toco label`", "service": "the service"}


def measure(*, photos: int, calls: int, busy: int, rounds: int) -> dict[str, Any]:
    """Measure throughput of both doors, and interactive requests, idle and beside `busy` processes."""
    cores = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {"neighbours": busy, "photos": photos, "calls": calls, "fair": cores / (cores + busy)}
    with tempfile.TemporaryDirectory() as name, running_service(Path(name) / "data") as (client, _):
        many, few = write_photos(Path(name) / "photos", photos, 500), write_photos(Path(name) / "calls", calls, 500)
        labeler = Labeler.from_folder(device="cpu")
        labeler.label_one(np.zeros((64, 64, 3), np.uint8), labeler.vocabulary.names[:1], preset_options("fast"))
        doors: dict[str, Callable[[], float]] = {
            "label": lambda: seconds_of_run(labeler, many),
            "service": lambda: seconds_of_job(client, many),
        }
        for run in doors.values():
            run()  # warm
        seconds: dict[str, dict[str, list[float]]] = {door: {"idle": [], "busy": []} for door in doors}
        for _ in range(rounds):
            for state, count in (("idle", 0), ("busy", busy)):
                with neighbours(count):
                    for door, run in doors.items():
                        seconds[door][state].append(run() / photos)
        for door, found in seconds.items():
            shares = [idle / taken for idle, taken in zip(found["idle"], found["busy"], strict=True)]
            result[door] = {state: median(taken) for state, taken in found.items()} | {"share": median(shares)}
        with neighbours(busy):
            result["requests"] = {"busy": percentiles(latencies(client, few))}
        result["requests"]["idle"] = percentiles(latencies(client, few))
    return result


def markdown(result: dict[str, Any]) -> str:
    """The result of `measure` as Markdown."""
    beside = f"beside {result['neighbours']} busy processes"
    head = f"| `fast`, {result['photos']} photos | idle, s a photo | {beside} | of the idle speed | of the fair share |"
    lines = [head, "|---|---|---|---|---|"]
    lines += [
        f"| {title} | {(row := result[door])['idle']:.2f} | {row['busy']:.2f} | {row['share']:.2f} | "
        f"{row['share'] / result['fair']:.2f} |"
        for door, title in TITLES.items()
    ]
    lines += ["", "| interactive request | p50, ms | p95, ms |", "|---|---|---|"]
    requests = result["requests"]
    lines += [
        f"| {title} | {requests[state]['p50_ms']:.0f} | {requests[state]['p95_ms']:.0f} |"
        for title, state in (("idle", "idle"), (beside, "busy"))
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--photos", type=int, default=30)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--busy", type=int, default=4, help="processes beside it")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found = measure(photos=asked.photos, calls=asked.calls, busy=asked.busy, rounds=asked.rounds)
    result = {**provenance(), **found}
    print(markdown(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
