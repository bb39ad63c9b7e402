"""What each part of training on soft labels gives: arms at equal budget, judged by number of tags.

    python -m benchmarks.self_training --data ../shared/data --labels runs/default/round-1/labels [--arm NAME]

Every arm starts from the same weights and trains for the same number of steps on the same photos; one thing differs. It
is judged on one scale of 336 pixels without CRF (tags gated, every pixel decided), so that differences are those of the
network. An arm that was stopped is taken up from its checkpoint; one that is done is not trained again. Figures go to
`docs/self_training.json`, the table to docs/training.md; `--tables` writes the table from the JSON as it stands.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.levers import QUICK, LeverLabeler, judge
from benchmarks.machine import ROOT
from benchmarks.quality import SETS
from benchmarks.tables import place_in_file
from toco.model.training.averaging import average_models
from toco.model.training.config import load_config, merge
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.trainer import Trainer

CONFIG = ROOT / "model" / "weights" / "default" / "train.toml"
FIGURES = ROOT / "docs" / "self_training.json"
DOCUMENT = ROOT / "docs" / "training.md"

# Of any class alike, and as large as they are in most photos: the default model's file asks for more.
PASTED: dict[str, Any] = {"pastes": 2, "paste_sizes": (0.2, 0.7), "paste_evenly": 0.0}
ALL: dict[str, Any] = PASTED | {"own": 0.3, "paste": 0.5, "mosaic": 0.15, "balance": 0.5}
ALONE: dict[str, Any] = PASTED | {"own": 0.0, "paste": 0.0, "mosaic": 0.0, "balance": 0.0}
# The parts of the soft labels, and what else of the configuration an arm changes.
ARMS: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "all together": (ALL, {}),
    "soft labels alone": (ALONE, {}),
    "the paper's own labels (refined CAMs)": (None, {"loss": {"segmentation": 0.1}}),
    "soft labels + pasted objects": (ALONE | {"paste": 0.5}, {}),
    "soft labels + the network's own prediction": (ALONE | {"own": 0.3}, {}),
    "all together + CTC": (ALL, {"loss": {"ctc": 0.5}}),
    "all together, crops of 336": (ALL, {"augmentation": {"crop": 336}, "schedule": {"batch_size": 4}}),
    "soft labels + mosaics": (ALONE | {"mosaic": 0.15}, {}),
    "soft labels + rare classes more often": (ALONE | {"balance": 0.5}, {}),
    "all together, three frozen blocks": (ALL, {"backbone": {"frozen_blocks": 3}}),
    "all together, no PTC": (ALL, {"loss": {"ptc": 0.0}}),
    "all together, objects evenly over the classes": (ALL | {"paste_sizes": (0.08, 0.6), "paste_evenly": 0.6}, {}),
    "all together + a loss on the CAMs": (ALL, {"loss": {"cam": 0.3}}),
}

AVERAGE = "average of all together, evenly and with the loss on the CAMs"  # of arms that are there already
AVERAGED = ("all together", "all together, objects evenly over the classes", "all together + a loss on the CAMs")


def train_arm(name: str, config_file: Path, labels: Path, steps: int, out: Path) -> dict[str, Any]:
    """Train one arm, or the rest of one that was stopped; `out/model` then is its model."""
    soft, changes = ARMS[name]
    budget = {"schedule": {"steps": steps, "warmup_steps": steps // 20, "average": 0.99}, "loss": {"cam": 0.0}}
    changes = merge(budget, changes)
    changes |= {
        "soft_labels": {**(soft or {}), "folder": None if soft is None else labels},
        "saliency": {"network": None},
    }
    config = load_config("small-cpu", file=config_file, changes=changes)
    trainer = Trainer(config, training_photos(config, vocabulary_of(config)), out)
    began, first = time.process_time(), trainer.step
    trainer.run()
    return {
        "steps": steps,
        "photos": config.schedule.batch_size * steps,
        "cpu_seconds": time.process_time() - began,
        "of_steps": steps - first,
    }


def folder_of(arm: str, out: Path) -> Path:
    """Return the folder of an arm's run."""
    return out / "".join(c if c.isalnum() else "-" for c in arm)


def table() -> str:
    """Return the figures as a Markdown table."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    lines = [
        "| arm | minutes | VOC, one tag | VOC, several | VOC, all | COCO, one tag | COCO, several | COCO, all |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in figures.items():
        cells = [row[key][group]["miou"] for key in SETS for group in ("one tag", "several tags", "all")]
        minutes = f"{row['cpu_seconds'] / row['of_steps'] * row['steps'] / 60:.0f}" if row.get("of_steps") else "-"
        lines.append(f"| {name} | {minutes} | {' | '.join(f'{100 * value:.1f}' for value in cells)} |")
    budget = next(row for row in figures.values() if row.get("steps"))
    return "\n".join(
        [
            *lines,
            "",
            f"{budget['steps']} steps of {budget['photos'] // budget['steps']} photos an arm; processor minutes.",
        ]
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals and coco-val")
    parser.add_argument("--config", type=Path, default=CONFIG, help="of the rounds")
    parser.add_argument("--labels", type=Path, help="soft labels that the arms train on")
    parser.add_argument("--out", type=Path, default=Path("runs/self_training"), help="folder of the runs")
    parser.add_argument("--steps", type=int, default=650, help="of each arm")
    parser.add_argument("--arm", action="append", choices=[*ARMS, AVERAGE], help="only these")
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--tables", action="store_true", help="write the table only")
    arguments = parser.parse_args()
    if not arguments.tables:
        if arguments.data is None or arguments.labels is None:
            parser.error("--data and --labels are needed to measure")
        start = Path(load_config("small-cpu", file=arguments.config).backbone.initial)
        for name in ("before", *(arguments.arm or (*ARMS, AVERAGE))):
            figures: dict[str, Any] = (
                json.loads(arguments.figures.read_text("utf-8")) if arguments.figures.exists() else {}
            )
            if name in figures:
                continue
            folder = folder_of(name, arguments.out)
            trained: dict[str, Any] = {}
            if name == AVERAGE:
                average_models([folder_of(arm, arguments.out) / "model" for arm in AVERAGED], folder / "model")
            elif name != "before":
                trained = train_arm(name, arguments.config, arguments.labels, arguments.steps, folder)
            labeler = LeverLabeler.from_folder(start if name == "before" else folder / "model")
            if not isinstance(labeler, LeverLabeler):
                parser.error("the model folder cannot be used")
            row = {**trained, **judge(labeler, arguments.data, QUICK)}
            figures = json.loads(arguments.figures.read_text("utf-8")) if arguments.figures.exists() else {}
            arguments.figures.write_text(json.dumps(figures | {name: row}, indent=1) + "\n", "utf-8")
            print(
                name, {key: {group: round(v["miou"], 3) for group, v in row[key].items()} for key in SETS}, flush=True
            )
    if arguments.figures == FIGURES:
        place_in_file(DOCUMENT, {"self-training": table()})


if __name__ == "__main__":
    main()
