"""Writes docs/performance.md's tables and plots from the JSON of the benchmarks; `--measure` runs them first.

python -m benchmarks.performance --measure
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import busy, crf, exports, label, paired, service, startup
from benchmarks.machine import ROOT
from benchmarks.tables import place_in_file

DOCUMENT = ROOT / "docs" / "performance.md"
FIGURES = ROOT / "docs" / "performance"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "crf": crf.markdown,
    "label": label.markdown,
    "paired": paired.markdown,
    "paper": paired.markdown,
    "busy": busy.markdown,
    "exports": exports.markdown,
    "startup": startup.markdown,
    "service": service.markdown,
}
ARGUMENTS = {
    "crf": ["--side", "500"],
    "label": ["--memory", "100", "--memory", "1000", "--memory", "10000"],
    "service": ["--many", "10000", "--scaling", "400"],
}
OURS, THEIRS = "#2f6fde", "#9aa4b2"


def measure(names: list[str]) -> None:
    """Run benchmarks, each in a process of its own, into `FIGURES`."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in names:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(FIGURES / f"{name}.json")]
        subprocess.run([*command, *ARGUMENTS[name]], check=True, cwd=ROOT)


def conditions(result: dict[str, Any]) -> str:
    """Return one line on what a result was measured on."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return (
        f"{result['date']}, commit `{result['commit']}`, {result['processor']}, {result['cores']} cores, "
        f"Python {result['python']}; {versions}."
    )


def plot(axes: Axes, name: str, result: dict[str, Any]) -> None:
    """Draw a benchmark's picture."""
    if name == "crf":
        rows = [row for row in result["rows"] if row["setting"] == "pseudo mask"]
        _bars(axes, [f"{row['classes']} classes" for row in rows], [row["cached_ratio"] for row in rows])
        axes.set_ylabel("times faster than pydensecrf")
    elif name == "label":
        presets = result["presets"]
        _bars(axes, list(presets), [row["ratio"] for row in presets.values()])
        axes.set_ylabel("times faster than the published recipe")
    else:
        samples = result["memory"]["samples"]
        for process in samples[-1]["mib"]:
            points = [(sample["done"], sample["mib"][process]) for sample in samples if process in sample["mib"]]
            axes.plot(*zip(*points, strict=True), label=process.split()[0])
        axes.set_xlabel("photos labelled")
        axes.set_ylabel("resident memory, MiB")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)


def _bars(axes: Axes, names: list[str], ratios: list[float]) -> None:
    bars = axes.bar(names, ratios, color=OURS, width=0.6)
    axes.bar_label(bars, fmt="%.1fx")
    axes.axhline(1.0, color=THEIRS, linewidth=1)


def write() -> None:
    """Write the tables and plots of the results that are there."""
    rcParams["svg.hashsalt"] = "toco"  # the same figures give the same file
    tables = {}
    for name, markdown in TABLES.items():
        path = FIGURES / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text("utf-8"))
        tables[name] = f"{conditions(result)}\n\n{markdown(result).strip()}"
        if name in ARGUMENTS and (name != "service" or "memory" in result):
            figure = Figure(figsize=(6.4, 3.0), layout="constrained")
            axes = figure.subplots()
            axes.spines[["top", "right"]].set_visible(False)
            plot(axes, name, result)
            figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    place_in_file(DOCUMENT, tables)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--measure", action="store_true", help="run the benchmarks first")
    parser.add_argument("--only", action="append", choices=list(ARGUMENTS))
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.only or list(ARGUMENTS))
    write()


if __name__ == "__main__":
    main()
