"""`make faults`: every fault strikes a service of real processes; the table goes to docs/reliability.md.

python -m tests.faults.matrix [--only WORDS] [--write]
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.faults.list_of_faults import FAULTS, Fault
from tests.faults.scene import COUNT, SETTINGS, Outcome, Scene, own_models
from tests.service.live import LiveService
from tests.tiny_model import write_tiny_model

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "reliability" / "faults.json"
PAGE = DOCS / "reliability.md"
BEGIN, END = "<!-- faults: made by `make faults` -->", "<!-- end of faults -->"
COLUMNS = ("lost", "twice", "stuck", "wrong", "left", "seconds")
STORE_BYTES = 256 * 2**20  # room for two checkpoints of a training


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk that can be filled."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STORE_BYTES}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def struck(scene: Scene, fault: Fault) -> Outcome:
    """Let a fault strike and count what became of it; a service that is not well again is started anew."""
    scene.deleted = False
    scene.job = ""
    try:
        wrong = fault.strike(scene)
        outcome = scene.assess(time.monotonic())
        outcome.wrong += wrong
    except Exception as error:  # a fault that breaks the harness is a row too, not the end of the table
        print(f"{fault.part}: {fault.name}: {type(error).__name__}: {error}", file=sys.stderr)
        scene.live.stop()
        scene.live.start()
        return Outcome(stuck=1)
    return outcome


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| part | fault | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {' | '.join(str(row[name]) for name in ('part', 'fault', *COLUMNS))} |" for row in rows]
    return "\n".join(lines)


def summary(found: dict[str, object], rows: Sequence[dict[str, object]]) -> str:
    """Return the sentence over the table."""
    clean = sum(not any(row[name] for name in COLUMNS[:-1]) for row in rows)
    seconds = sorted(float(str(row["seconds"])) for row in rows)
    return (
        f"{len(rows)} kinds of faults, {clean} of them with zeros throughout; healed after "
        f"{seconds[len(seconds) // 2]:.0f} s in the median and {seconds[-1]:.0f} s at most. "
        f"Machine: {found['machine']} with a load of {found['load']}; {found['date']}."
    )


def write(found: dict[str, object]) -> None:
    """Write the results, and put their table into the page."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    rows = found["rows"]
    if not isinstance(rows, list):
        raise TypeError("rows")
    page = PAGE.read_text("utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{summary(found, rows)}\n\n{table(rows)}\n{END}{after}", "utf-8")


def joined(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return new rows and, of faults that were not struck this time, those of before, in the order of the list."""
    before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    found = {(row["part"], row["fault"]): row for row in [*before, *rows]}
    return [found[fault.part, fault.name] for fault in FAULTS if (fault.part, fault.name) in found]


def main() -> None:
    """Run the matrix."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="faults whose part and name contain these words")
    parser.add_argument("--write", action="store_true", help="write these rows into the table of docs/reliability.md")
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if chosen.only in f"{fault.part}: {fault.name}"]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="toco-faults-") as name, small_disk(Path(name) / "store") as store:
        folder = Path(name)
        (folder / "tiny").mkdir()
        write_tiny_model(folder / "tiny")
        models = own_models(folder / "models", folder / "tiny")
        live = LiveService(folder, models, TOCO_STORE_URL=f"file://{store}", **SETTINGS)
        with live:
            scene = Scene(live, store)
            scene.learn_truth()
            for fault in faults:
                outcome = struck(scene, fault)
                rows.append({"part": fault.part, "fault": fault.name, **asdict(outcome)})
                print(json.dumps(rows[-1]), flush=True)
            scene.records.redis.close()
            scene.http.close()
    machine = f"{os.cpu_count()} cores {platform.machine()}"
    load = round(os.getloadavg()[2])
    found = {"date": time.strftime("%Y-%m-%d"), "machine": machine, "load": load, "photos": COUNT, "rows": rows}
    print(table(rows))
    if chosen.write:
        write(found | {"rows": joined(rows)})
    sys.exit(any(row[name] for row in rows for name in COLUMNS[:-1]))


if __name__ == "__main__":
    main()
