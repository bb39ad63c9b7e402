"""A training as the service runs it: seconds a stage, memory, checkpoints, and masks before and after.

python -m benchmarks.training --data ../shared/data [--preset quick] [--steps N]

Photos of the animal set with one tag each, whose classes are given names of their own, are trained on from the default
model; photos of VOC 2012 val with true masks are kept aside. Nothing but tags is trained on.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import provenance
from benchmarks.tables import place_in_file
from toco.model.formats.artifacts import encode_mask
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask
from toco.model.photos.tables.reading import read_tags
from toco.model.spec import DEFAULT_MODEL, read_spec
from toco.model.threads import threads
from toco.model.training.figures import TrainingFigures
from toco.model.training.recipes import RECIPES, training_config
from toco.model.training.task_files import (
    FIGURES_FILE,
    MASKS_FOLDER,
    PHOTOS_FOLDER,
    RUN_FOLDER,
    START_FOLDER,
    TASK_FILE,
    TaskPhoto,
    TrainingTask,
)

ROOT: Final = Path(__file__).parent.parent
FIGURES: Final = ROOT / "docs" / "performance" / "training.json"
DOCUMENT: Final = ROOT / "docs" / "training.md"
WORDS: Final = {"cat": "mies", "dog": "bello", "horse": "zossen"}  # no model knows these
PHOTOS_A_CLASS: Final = 24
KEPT_A_CLASS: Final = 8


def chosen(folder: Path, tags: Path, each: int) -> list[tuple[Path, str]]:
    """Return photos that show one of the classes and nothing else, so many a class, with their class."""
    single = [(folder / name, entry.tags[0]) for name, entry in read_tags(tags).items() if len(entry.tags) == 1]
    return [found for name in WORDS for found in islice((one for one in single if one[1] == name), each)]


def prepare(data: Path, out: Path, preset: str, steps: int | None) -> None:
    """Make the folder of the training."""
    animals = data / "voc12-animals"
    shutil.rmtree(out, ignore_errors=True)
    for name in (PHOTOS_FOLDER, MASKS_FOLDER):
        (out / name).mkdir(parents=True)
    (out / START_FOLDER).symlink_to(DEFAULT_MODEL.resolve())
    photos = [
        TaskPhoto(file=path.name, name=path.name, tags=(WORDS[name],))
        for path, name in chosen(animals / "train", animals / "train.csv", PHOTOS_A_CLASS)
        if shutil.copy(path, out / PHOTOS_FOLDER / path.name)
    ]
    values = np.zeros(256, np.uint8)
    values[255] = 255
    for channel, name in enumerate(WORDS):
        values[VOC.classes[VOC.channel(name)].index] = 1 + channel
    kept = []
    for path, name in chosen(animals / "val" / "JPEGImages", animals / "val.csv", KEPT_A_CLASS):
        shutil.copy(path, out / PHOTOS_FOLDER / path.name)
        truth = read_mask(animals / "val" / "SegmentationClass" / f"{path.stem}.png")
        (out / MASKS_FOLDER / f"{path.stem}.png").write_bytes(encode_mask(values[truth]))
        kept.append(TaskPhoto(file=path.name, name=path.name, tags=(WORDS[name],), mask=f"{path.stem}.png"))
    settings = RECIPES[preset]  # type: ignore[index] # argparse offers its names alone
    if steps is not None:
        settings = settings.model_copy(update={"steps": steps})
    config = training_config(
        "words", read_spec(DEFAULT_MODEL), tuple(WORDS.values()), settings, photos=len(photos), checkpoint_minutes=5.0
    )
    task = TrainingTask(config=config, photos=tuple(photos), kept=tuple(kept))
    (out / TASK_FILE).write_text(task.model_dump_json(), "utf-8")


def run(out: Path) -> dict[str, Any]:
    """Run the training; return what it took and what came of it."""
    stages: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    load = os.getloadavg()[0]
    before = time.perf_counter()
    command = [sys.executable, "-m", "toco.model.training.run_task"]
    with subprocess.Popen(
        command, cwd=out, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        for line in process.stdout or ():
            said = json.loads(line)
            now = time.perf_counter()
            stages.setdefault(said["stage"], [before, now])[1] = now
            counts[said["stage"]] = said["of"]
            before = now
    if process.returncode:
        raise SystemExit(f"The training ended with {process.returncode}.")
    figures = TrainingFigures.model_validate_json((out / RUN_FOLDER / FIGURES_FILE).read_bytes())
    checkpoints = sorted((out / RUN_FOLDER).rglob("checkpoint.pt"))
    return {
        "load": round(load, 1),
        "stages": {name: {"of": counts[name], "seconds": end - start} for name, (start, end) in stages.items()},
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        "checkpoint_bytes": checkpoints[-1].stat().st_size,
        "figures": figures.model_dump(mode="json", exclude={"pictures"}),
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    figures = found["figures"]
    after = {row["name"]: row for row in figures["classes"]}
    stages = found["stages"]
    words = list(WORDS.values())
    head = ["steps", *stages, "peak memory", "checkpoint", *(f"IoU {word}" for word in words), "mIoU"]
    cells = [str(found["steps"])]
    cells += [f"{stage['of']} in {stage['seconds']:.0f} s" for stage in stages.values()]
    cells += [f"{found['peak_bytes'] / 2**30:.1f} GiB", f"{found['checkpoint_bytes'] / 2**20:.0f} MiB"]
    cells += [f"{100 * after[word]['iou_after']:.0f}" for word in words] + [f"{100 * figures['after']['miou']:.1f}"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", f"| {' | '.join(cells)} |", ""]
    lines.append(
        f"{found['photos']} photos with one tag; {figures['masks']} of VOC 2012 val kept aside, with true masks; words "
        f"that the default model does not know. {found['processor']}, {found['cores']} cores, threads: "
        f"{found['threads']}, at a load of {found['load']}; {found['date']}."
    )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with voc12-animals")
    parser.add_argument("--preset", choices=list(RECIPES), default="quick")
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--out", type=Path, default=Path("runs/service-training"))
    arguments = parser.parse_args()
    prepare(arguments.data, arguments.out, arguments.preset, arguments.steps)
    task = TrainingTask.model_validate_json((arguments.out / TASK_FILE).read_bytes())
    found = provenance() | {
        "preset": arguments.preset,
        "steps": task.config.schedule.steps,
        "photos": len(task.photos),
        "threads": threads(),
    }
    found |= run(arguments.out)
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"service-training": table(found)})


if __name__ == "__main__":
    main()
