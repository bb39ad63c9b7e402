"""How long a process takes to come up: this tree and an older one, in turn.

    git worktree add ../before COMMIT
    python -m benchmarks.startup --before ../before --json startup.json

Each measurement is a process of its own: the help of the command line, `toco label` of one photo from its start to its
end, and what a worker does until its first label (its modules, the model, one photo). What is cached on disk is there
already. What counts is the processor's time, all threads and children together; the figures are medians of the rounds.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.machine import ROOT, commit_of, provenance
from benchmarks.paired import prelude

PHOTO: Final = ROOT / "samples" / "dog.jpg"

WORKER: Final = """
from pathlib import Path
import toco.workers.process
from toco.model.labelling.labeler import Labeler
Labeler.from_folder(device="cpu").label_one(Path("dog.jpg").read_bytes(), ("dog",))
import os
os._exit(0)  # as a worker ends
"""

CASES: Final = {
    "`toco --help`": ["-m", "toco", "--help"],
    "`toco label`, one photo": ["-m", "toco", "label", ".", "--out", "out", "--tag", "dog"],
    "a worker's first label": ["-c", WORKER],
}


def spent(tree: Path, arguments: list[str]) -> tuple[float, float]:
    """Run Python in a folder that holds one photo; return seconds of the processor and of the clock."""
    if arguments[0] == "-c":
        arguments = ["-c", f"import sys\nsys.argv = ['toco']\n{prelude(tree)}\n{arguments[1]}"]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PHOTO, Path(folder) / "dog.jpg")
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            env=os.environ | {"PYTHONPATH": str(tree)},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{tree}: {arguments} ended with {process.returncode}")
        return usage.ru_utime + usage.ru_stime, time.monotonic() - began


def measure(before: Path, rounds: int) -> dict[str, Any]:
    """Return medians of processor and clock seconds of both trees, by case."""
    found: dict[str, Any] = {}
    for case, arguments in CASES.items():
        for tree in (before, ROOT):
            spent(tree, arguments)  # files of bytecode and of compiled kernels
        pairs = [(spent(before, arguments), spent(ROOT, arguments)) for _ in range(rounds)]
        found[case] = {
            "before": median(old[0] for old, _ in pairs),
            "now": median(new[0] for _, new in pairs),
            "ratio": median(old[0] / new[0] for old, new in pairs),
            "clock_before": median(old[1] for old, _ in pairs),
            "clock_now": median(new[1] for _, new in pairs),
        }
    return {"against": commit_of(before), "rounds": rounds, "cases": found}


def markdown(result: dict[str, Any]) -> str:
    """The result of `measure` as Markdown."""
    lines = [
        f"| {result['rounds']} rounds | `{result['against']}`, s | now, s | ratio | clock: before, s | now, s |",
        "|---|---|---|---|---|---|",
    ]
    for case, row in result["cases"].items():
        lines.append(
            f"| {case} | {row['before']:.2f} | {row['now']:.2f} | {row['ratio']:.2f} | {row['clock_before']:.1f} "
            f"| {row['clock_now']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, required=True, help="an older checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    result = {**provenance(), **measure(arguments.before.resolve(), arguments.rounds)}
    print(markdown(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
