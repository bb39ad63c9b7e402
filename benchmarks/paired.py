"""Labelling by this tree and by an older one, in turn on the same photos: seconds, equal labels, quality, memory.

    git worktree add ../before COMMIT
    python -m benchmarks.paired --before ../before --data ../shared/data --json paired.json

Each tree runs in a process of its own, which loads its model once and then labels what it is told; while one works the
other waits. Ratios are medians of paired rounds. `--busy 4` repeats it beside four processes that never rest, `--isa
AVX2` on a processor without newer instructions, as far as the runtimes let themselves be told.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ROOT, provenance
from benchmarks.quality import SETS
from toco.model.evaluation.datasets.catalogue import mask_classes
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.options import PRESETS
from toco.model.spec import DEFAULT_MODEL, read_spec

Photo = tuple[str, tuple[str, ...]]

# What a tree's process runs; it knows only what both trees have.
PROGRAM = """
import json, resource, sys, time
import numpy as np
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.options import preset_options

labeler = Labeler.from_folder(device="cpu")
for line in sys.stdin:
    asked = json.loads(line)
    options = preset_options(asked["preset"], **asked["changes"])
    if getattr(options.cam, "doubted", None):  # it came later: both trees are to make the same maps
        options = options.model_copy(update={"cam": options.cam.model_copy(update={"doubted": None})})
    requests = [LabelRequest(open(path, "rb").read(), tags, path) for path, tags in asked["photos"]]
    masks, each = [], []
    started, spent = time.perf_counter(), time.process_time()
    for group in [[request] for request in requests] if asked["alone"] else [requests]:
        begun = time.perf_counter()
        masks += [label.pseudo_mask for _, label in labeler.label(group, options)]
        each.append(time.perf_counter() - begun)
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - spent, "each": each}
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if asked["out"]:
        np.savez(asked["out"], *masks)
    print(json.dumps(found), flush=True)
"""

BUSY = "while True: pass"


class Tree:
    """A checkout whose labeler runs in a process.

    Args:
        folder: the checkout.
        environment: beside the present one.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        # As the command line starts a labeler: what it says of threads before torch loads is part of a tree.
        start = f"import sys\nsys.argv = ['toco']\n{prelude(folder)}\n{PROGRAM}"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", start],
            env=os.environ | environment | {"PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def label(
        self,
        preset: str,
        photos: Sequence[Photo],
        *,
        out: Path | None = None,
        alone: bool = False,
        changes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Label photos, together or one at a time; return seconds and peak memory."""
        asked = {"preset": preset, "photos": photos, "out": out and str(out), "alone": alone, "changes": changes or {}}
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the labeler ended")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def prelude(folder: Path) -> str:
    """Return how the command line of a tree prepares its process."""
    if (folder / "model" / "starting.py").exists():
        return "from toco.model.starting import start_process\nstart_process()"
    shares = (folder / "model" / "threads.py").exists()
    return "from toco.model.threads import share_the_processor\nshare_the_processor()" if shares else ""


@contextmanager
def both(before: Path, environment: dict[str, str]) -> Iterator[tuple[Tree, Tree]]:
    """Start both trees: the older one, this one."""
    trees = Tree(before, environment), Tree(ROOT, environment)
    try:
        yield trees
    finally:
        for tree in trees:
            tree.close()


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many processes busy meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def speed(
    trees: tuple[Tree, Tree], photos: Sequence[Photo], presets: Sequence[str], rounds: int
) -> dict[str, dict[str, float]]:
    """Return for each preset seconds a photo of both trees, their ratio, and the share of pixels with equal labels."""
    found = {}
    for preset in presets:
        for tree in trees:
            tree.label(preset, photos[: 2 * len(os.sched_getaffinity(0))])  # warm
        pairs = []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(rounds):
                outs = [Path(folder) / f"{name}.npz" for name in ("before", "now")]
                pairs.append([tree.label(preset, photos, out=out) for tree, out in zip(trees, outs, strict=True)])
            masks = [read_masks(out) for out in outs]
        found[preset] = {
            "before": median(old["seconds"] for old, _ in pairs) / len(photos),
            "now": median(new["seconds"] for _, new in pairs) / len(photos),
            "ratio": median(old["seconds"] / new["seconds"] for old, new in pairs),
            "processor_ratio": median(old["cpu"] / new["cpu"] for old, new in pairs),
            "equal": equal_share(*masks),
            "peak_mib_before": pairs[-1][0]["peak_mib"],
            "peak_mib_now": pairs[-1][1]["peak_mib"],
        }
        print(preset, found[preset], file=sys.stderr)
    return found


def single(trees: tuple[Tree, Tree], photos: Sequence[Photo], presets: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each preset the median and the 95th percentile of a single photo's seconds, of both trees."""
    found = {}
    for preset in presets:
        for tree in trees:
            tree.label(preset, photos[:1], alone=True)
        each: tuple[list[float], list[float]] = ([], [])
        for photo in photos:
            for tree, spent in zip(trees, each, strict=True):
                spent.extend(tree.label(preset, [photo], alone=True)["each"])
        found[preset] = {
            f"{name}_{when}": value
            for when, seconds in zip(("before", "now"), each, strict=True)
            for name, value in (("p50", median(seconds)), ("p95", quantiles(seconds, n=20)[-1]))
        }
        print("single", preset, found[preset], file=sys.stderr)
    return found


def quality(
    trees: tuple[Tree, Tree], data: Path, presets: Sequence[str], every: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return for each set and preset the mIoU of both trees' masks, every pixel decided, and how many are equal."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for key, (_, folder, classes) in SETS.items():
        root = data / folder
        known = folder_dataset(root / "JPEGImages", root / "SegmentationClass", mask_classes("voc"))
        samples = known.samples[::every]
        for preset in presets:
            row: dict[str, float] = {"photos": len(samples)}
            both_masks: list[list[NDArray[np.uint8]]] = []
            for name, tree in zip(("before", "now"), trees, strict=True):
                masks: list[NDArray[np.uint8]] = []
                report = evaluate(
                    samples,
                    partial(_predicted, tree, preset, masks),
                    truth_classes=known.classes,
                    model_classes=read_spec(DEFAULT_MODEL).vocabulary,
                    classes=classes.split(",") if classes else None,
                )
                row[name] = report.miou or 0.0
                both_masks.append(masks)
            row["equal"] = equal_share(*both_masks)
            found.setdefault(key, {})[preset] = row
            print(key, preset, row, file=sys.stderr)
    return found


def _predicted(
    tree: Tree, preset: str, masks: list[NDArray[np.uint8]], samples: Iterable[tuple[Sample, tuple[str, ...] | None]]
) -> Iterator[NDArray[np.uint8]]:
    photos = [(str(sample.image), tuple(tags or ())) for sample, tags in samples]
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "masks.npz"
        tree.label(preset, photos, out=out, changes={"ignore_band": False})
        masks += read_masks(out)
    yield from masks


def tagged(root: Path, paths: Sequence[Path]) -> list[Photo]:
    """Return photos of a set with their tags."""
    with (root.parent / "val.csv").open(encoding="utf-8", newline="") as file:
        tags = {row["image"]: tuple(row["tags"].split(";")) for row in csv.DictReader(file)}
    return [(str(path), tags[path.name]) for path in paths]


def read_masks(path: Path) -> list[NDArray[np.uint8]]:
    """Read the masks that a tree wrote, in order."""
    with np.load(path) as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]


def equal_share(one: Sequence[NDArray[np.uint8]], other: Sequence[NDArray[np.uint8]]) -> float:
    """Return the share (0..1) of pixels with the same label."""
    equal = sum(int((mine == theirs).sum()) for mine, theirs in zip(one, other, strict=True))
    return equal / sum(mask.size for mask in one)


def markdown(result: dict[str, Any]) -> str:
    """The parts that were measured as Markdown."""
    lines = []
    titles = {
        "idle": "idle",
        "idle_again": "idle, another run",
        "busy": f"beside {result.get('neighbours', 4)} busy processes",
        "isa": "without newer instructions than AVX2",
    }
    for part, title in titles.items():
        if part in result:
            of = result["measured"][part]
            lines += ["", f"{of['photos']} photos, commit `{of['commit']}`:"]
            lines += ["", f"| {title}, s a photo | before | now | ratio | processor time | equal pixels | peak, MiB |"]
            lines += ["|---|---|---|---|---|---|---|"]
            lines += [
                f"| `{preset}` | {row['before']:.2f} | {row['now']:.2f} | {row['ratio']:.2f} | "
                f"{row['processor_ratio']:.2f} | {100 * row['equal']:.2f} % | "
                f"{row['peak_mib_before']:.0f}, now {row['peak_mib_now']:.0f} |"
                for preset, row in result[part].items()
            ]
    if "single" in result:
        lines += [
            "",
            f"Commit `{result['measured']['single']['commit']}`:",
            "",
            "| one photo at a time, ms | p50 before | p50 now | p95 before | p95 now |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{preset}` | "
            + " | ".join(f"{1000 * row[f'{name}_{when}']:.0f}" for name in ("p50", "p95") for when in ("before", "now"))
            + " |"
            for preset, row in result["single"].items()
        ]
    if "quality" in result:
        lines += [
            "",
            f"Commit `{result['measured']['quality']['commit']}`:",
            "",
            "| masks of | preset | photos | mIoU before | mIoU now | equal pixels |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {SETS[key][0]} | `{preset}` | {row['photos']:.0f} | {100 * row['before']:.2f} | "
            f"{100 * row['now']:.2f} | {100 * row['equal']:.2f} % |"
            for key, rows in result["quality"].items()
            for preset, row in rows.items()
        ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the older commit")
    parser.add_argument("--data", type=Path, required=True, help="folder with voc12-animals/val and coco-val")
    parser.add_argument("--json", type=Path, help="write the figures here; what it holds of other parts stays")
    parser.add_argument("--part", action="append", choices=["idle", "single", "busy", "isa", "quality"], required=True)
    parser.add_argument("--preset", action="append", choices=list(PRESETS))
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=4, help="processes beside it, for the part of that name")
    parser.add_argument("--isa", default="AVX2", help="the newest instructions, for the part of that name")
    parser.add_argument("--every", type=int, default=1, help="of the photos that quality is judged on")
    arguments = parser.parse_args()
    presets = arguments.preset or ["fast", "balanced"]
    root = arguments.data / SETS["animals"][1]
    paths = sorted((root / "JPEGImages").glob("*.jpg"))
    photos = tagged(root, paths[:: max(1, len(paths) // arguments.photos)][: arguments.photos])
    isa = {"DNNL_MAX_CPU_ISA": arguments.isa, "ONEDNN_MAX_CPU_ISA": arguments.isa, "ATEN_CPU_CAPABILITY": "avx2"}
    written = json.loads(arguments.json.read_text("utf-8")) if arguments.json and arguments.json.exists() else {}
    for part in arguments.part:
        started = time.perf_counter()
        with ExitStack() as stack:
            trees = stack.enter_context(both(arguments.before, isa if part == "isa" else {}))
            if part == "quality":
                result: Any = quality(trees, arguments.data, presets, arguments.every)
            elif part == "single":
                result = single(trees, photos, presets)
            else:
                for tree in trees:
                    tree.label("fast", photos[:1])  # the model is loaded before the neighbours come
                stack.enter_context(neighbours(arguments.busy if part == "busy" else 0))
                result = speed(trees, photos, presets, arguments.rounds)
        known = written.get(part, {})
        written[part] = {**known, **result} if part != "quality" else _merged(known, result)
        written.setdefault("measured", {})[part] = {"photos": len(photos), "commit": provenance()["commit"]}
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    before = subprocess.run(
        ["git", "-C", str(arguments.before), "rev-parse", "--short", "HEAD"],  # noqa: S607 - the user's own git
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    written |= {**provenance(), "before": before, "neighbours": arguments.busy}
    text = json.dumps(written, indent=1) + "\n"
    print(text) if arguments.json is None else arguments.json.write_text(text, "utf-8")


def _merged(known: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {key: {**known.get(key, {}), **result.get(key, {})} for key in {**known, **result}}


if __name__ == "__main__":
    main()
