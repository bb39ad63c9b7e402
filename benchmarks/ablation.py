"""What each part of the training gives: trains small arms at equal budget and writes a table into docs/training.md.

    python -m benchmarks.ablation --data ../shared/data --out runs/ablation

Every arm starts from the same first weights, sees the same small crops in the same order for the same number of steps,
and is judged by the plain CAM and by its decoder (one scale, tags gated, no CRF). An arm
that is done is not trained again; `--tables` writes the table from the JSON as it stands.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.quality import ANIMALS, SETS
from benchmarks.tables import place_in_file
from toco.model.evaluation.datasets.catalogue import mask_classes
from toco.model.evaluation.datasets.dataset import folder_dataset
from toco.model.evaluation.evaluate import EvaluationReport, evaluate
from toco.model.evaluation.judged_labels import JudgedMask, judged_options, predictor
from toco.model.labelling.labeler import Labeler
from toco.model.options import SegmentationOptions, preset_options
from toco.model.training.config import load_config, merge
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.rounds import rounds_table
from toco.model.training.trainer import SALIENCY_FILE, Trainer

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "model" / "weights" / "default" / "train.toml"
FIGURES = ROOT / "docs" / "ablation.json"
DOCUMENT = ROOT / "docs" / "training.md"
ROUNDS = (
    ROOT / "docs" / "rounds.json"
)  # of the default model: `rounds.json` of its run, by the protocol that the table names

CROP = 154  # pixels: 11 x 11 tokens, for arms of some minutes on two cores
JUDGED_SIDE = 224

# The paper's losses from tags alone, on small crops; every arm below changes one thing of it.
BASE: dict[str, Any] = {
    "saliency": {"network": None},
    "loss": {"ctc": 0.5, "segmentation": 0.1, "segmentation_start": 0.1},
    "thresholds": {"high": 0.5},
    "augmentation": {"crop": CROP, "rescale": (0.4, 0.9)},
    "contrast": {"local_size": 56, "border": 28},
}
ARMS: dict[str, dict[str, Any]] = {
    "tags alone, all losses": {},
    "without PTC": {"loss": {"ptc": 0.0}},
    "without CTC": {"loss": {"ctc": 0.0}},
    "without PTC and CTC": {"loss": {"ptc": 0.0, "ctc": 0.0}},
    "with the saliency cue": {
        "saliency": {},
        "thresholds": {"high": 0.6},
        "loss": {"segmentation": 1.0, "segmentation_start": 0.0},
    },
    "auxiliary layer 11 of 12": {"backbone": {"aux_layer": -2}},
    "auxiliary layer 8 of 12": {"backbone": {"aux_layer": -5}},
    "no frozen blocks": {"backbone": {"frozen_blocks": 0}},
    "6 of 12 blocks frozen": {"backbone": {"frozen_blocks": 6}},
    "1 cached crop a photo": {"cached_crops": 1},
}


def train_arm(name: str, steps: int, out: Path) -> dict[str, Any]:
    """Train one arm; `out` then holds its model."""
    file = load_config("small-cpu", file=CONFIG)
    changes = merge(BASE, {"schedule": {"steps": steps, "warmup_steps": steps // 10, "batch_size": 12}})
    changes = merge(changes, ARMS[name])
    if "saliency" in ARMS[name]:
        changes["saliency"] = file.saliency.model_dump()
    config = load_config("small-cpu", file=CONFIG, changes=changes)
    trainer = Trainer(config, training_photos(config, vocabulary_of(config)), out)
    trainer.run()
    return {"steps": steps, "photos": steps * config.schedule.batch_size}


def judge(model: Path, data: Path, judged: JudgedMask) -> EvaluationReport:
    """Judge the plain CAM or the decoder of a model on the six animals of the VOC subset."""
    folder = data / SETS["animals"][1]
    samples = folder_dataset(folder / "JPEGImages", folder / "SegmentationClass", mask_classes("voc"))
    labeler = Labeler.from_folder(model)
    # Photos are about 500 pixels wide: the decoder sees them at about the size of the CAMs' input.
    options = preset_options("fast", cam={"size": JUDGED_SIDE, "decoder_weight": 0.0}).model_copy(
        update={"segmentation": SegmentationOptions(scales=(0.5,), flip=False)}
    )
    return evaluate(
        samples.samples,
        predictor(labeler, judged_options(options, judged, crf=False)),
        truth_classes=samples.classes,
        model_classes=labeler.vocabulary,
        classes=ANIMALS.split(","),
    )


def measure(data: Path, out: Path, steps: int, arms: list[str]) -> None:
    """Train and judge the arms that have no figures yet; figures go to `FIGURES` after each."""
    figures: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    for name in arms:
        if name in figures:
            continue
        folder = out / name.replace(" ", "-").replace(",", "")
        shared = out / SALIENCY_FILE
        if "saliency" in ARMS[name] and shared.exists():
            folder.mkdir(parents=True, exist_ok=True)
            os.link(shared, folder / SALIENCY_FILE)
        row = train_arm(name, steps, folder)
        for key, judged in (("cam", "pseudo_mask"), ("decoder", "segmentation")):
            report = judge(folder / "model", data, judged)  # type: ignore[arg-type] # the two names of JudgedMask
            row[key] = {"miou": report.miou, "per_class_iou": dict(report.per_class_iou)}
        figures[name] = row
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def table() -> str:
    """Return the Markdown table of the figures that are there."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    first = next(iter(figures.values()))
    classes = list(first["cam"]["per_class_iou"])
    lines = [
        f"| arm | CAM mIoU | decoder mIoU | {' | '.join(classes)} |",
        f"|---|---|---|{'---|' * len(classes)}",
    ]
    for name, row in figures.items():
        values = " | ".join(f"{100 * row['cam']['per_class_iou'][key]:.0f}" for key in classes)
        lines.append(f"| {name} | {100 * row['cam']['miou']:.1f} | {100 * row['decoder']['miou']:.1f} | {values} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{first['steps']} steps of {first['photos'] // first['steps']} photos an arm, crops of {CROP} pixels.",
        ]
    )


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of the runs")
    parser.add_argument("--steps", type=int, default=120, help="of each arm")
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only these")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    arguments = parser.parse_args()
    if not arguments.tables:
        if arguments.data is None:
            parser.error("--data is needed to measure")
        measure(arguments.data, arguments.out, arguments.steps, arguments.arm or list(ARMS))
    place_in_file(DOCUMENT, {"ablation": table(), "rounds": rounds_table(json.loads(ROUNDS.read_text("utf-8")))})


if __name__ == "__main__":
    main()
