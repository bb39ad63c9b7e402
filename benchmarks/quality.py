"""Quality of the default model: evaluates it on photos with masks and writes JSON, README and model card tables.

`python -m benchmarks.quality --data ../shared/data` measures, then writes the tables and the figures of the spec; with
`--tables` alone they are written from the JSON as it stands. `--adopt RUN` first makes the model of a finished run the
default one, in half precision.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.tables import place_in_file
from toco.model.evaluation.breakdown import BrokenDownReport
from toco.model.evaluation.evaluate import EvaluationReport, markdown_table
from toco.model.options import PRESETS
from toco.model.spec import SPEC_FILE, ModelSpec, read_spec
from toco.model.training.config import TrainConfig, load_config
from toco.model.training.trainer import initial_spec
from toco.model.weights_io.checkpoint import load_model, save_model

ROOT = Path(__file__).parent.parent
CARD = ROOT / "model" / "weights" / "default" / "MODEL_CARD.md"
FIGURES = ROOT / "model" / "weights" / "default" / "figures"
ANIMALS = "cat,cow,dog,horse,person,sheep"

# Column title, folder of the data, classes that are judged (None: all of the model's).
SETS = {
    "animals": ("VOC 2012 val, animal subset (212)", "voc12-animals/val", ANIMALS),
    "coco": ("COCO subset (112)", "coco-val", None),
}


def measure(data: Path, presets: tuple[str, ...]) -> None:
    """Run `toco evaluate` on every set with every preset, with CRF and tag gate; JSON goes to `FIGURES`."""
    for key, (_, folder, classes) in SETS.items():
        root = data / folder
        for preset in presets:
            tags = root / "val.csv"
            command = [sys.executable, "-m", "toco", "evaluate", "--preset", preset, "--crf", "--gate"]
            command += ["--images", str(root / "JPEGImages"), "--masks", str(root / "SegmentationClass")]
            command += ["--tags", str(tags if tags.exists() else root.parent / "val.csv")]
            command += ["--json", str(FIGURES / f"{key}-{preset}.json"), "--by-tags"]
            command += ["--classes", classes] if classes else []
            subprocess.run(command, check=True)


def adopt(run: Path) -> None:
    """Make a run's model the default one; the figures of the last one go.

    Its thresholds are those of the training file as it is now, and its decoder's share is the trainer's: `plain` and
    the share play no part in training and may be chosen after it.
    """
    network, spec = load_model(run / "model")
    config = load_config("small-cpu", file=CARD.parent / "train.toml")
    licence = "Apache-2.0 code; trained on research photos: see MODEL_CARD.md"
    weight = initial_spec(config).decoder_weight
    changes = {"licence": licence, "thresholds": config.thresholds, "decoder_weight": weight, "figures": {}}
    save_model(CARD.parent, network, spec.model_copy(update=changes), half=True)
    for path in FIGURES.glob("*.json"):
        path.unlink()


def reports() -> dict[tuple[str, str], BrokenDownReport]:
    """Return the figures that are there, by title of the set and preset."""
    found: dict[tuple[str, str], BrokenDownReport] = {}
    for key, (title, _, _) in SETS.items():
        for preset in PRESETS:
            path = FIGURES / f"{key}-{preset}.json"
            if path.exists():
                found[title, preset] = BrokenDownReport.model_validate_json(path.read_bytes())
    return found


def write_spec_figures() -> None:
    """Write the figures into the default model's spec, where the service shows them."""
    figures: dict[str, Any] = {}
    for (title, preset), report in reports().items():
        per_class = {name: value for name, value in report.per_class_iou.items() if value is not None}
        figures.setdefault(title, {})[preset] = {"mIoU": report.miou, **per_class}
    spec = read_spec(CARD.parent).model_copy(update={"figures": figures})
    (CARD.parent / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n", "utf-8")


def tables() -> dict[str, str]:
    """Return the tables of the figures that are there."""
    found = reports()
    columns: dict[str, EvaluationReport] = {f"{title}, `{preset}`": report for (title, preset), report in found.items()}
    return {
        "quality": markdown_table(columns),
        "by-tags": tags_table(found),
        "by-size": size_table(found),
        "training": training_table(read_spec(CARD.parent)),
    }


def tags_table(found: dict[tuple[str, str], BrokenDownReport]) -> str:
    """Return mIoU and boundary F by number of tags, in percent."""
    lines = ["| set | preset | photos | count | mIoU | boundary F |", "|---|---|---|---:|---:|---:|"]
    for (title, preset), report in found.items():
        for name, group in report.breakdown.by_tags.items():
            figures = " | ".join(
                "-" if value is None else f"{100 * value:.1f}" for value in (group.miou, group.boundary_f)
            )
            lines.append(f"| {title} | `{preset}` | {name} | {group.images} | {figures} |")
    return "\n".join(lines)


def size_table(found: dict[tuple[str, str], BrokenDownReport]) -> str:
    """Return the IoU of objects by their share of the photo, in percent; `balanced` alone."""
    kept = {title: report.breakdown.by_size for (title, preset), report in found.items() if preset == "balanced"}
    lines = [f"| share of the photo | {' | '.join(kept)} |", f"|---|{'---:|' * len(kept)}"]
    for name in next(iter(kept.values()), {}):
        cells = [
            "-" if sizes[name].iou is None else f"{100 * (sizes[name].iou or 0.0):.1f} ({sizes[name].objects})"
            for sizes in kept.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def training_table(spec: ModelSpec) -> str:
    """Return what a model's spec says of its training."""
    run = TrainConfig.model_validate(spec.provenance["configuration"])
    schedule, weights = run.schedule, run.loss
    rounds = spec.provenance.get("rounds", ())
    rows = {
        "steps": f"{spec.provenance['steps']} in {len(rounds)} rounds" if rounds else f"{spec.provenance['steps']}",
        "photos a step": schedule.batch_size * schedule.accumulate * spec.provenance["processes"],
        "hours": spec.provenance["hours"],
        "learning rate": f"{schedule.learning_rate} (heads {schedule.head_factor:g} times), poly {schedule.power}",
        "crop": f"{run.augmentation.crop} pixels, rescaled by {run.augmentation.rescale}",
        "frozen lower blocks": run.backbone.frozen_blocks,
        "loss weights": ", ".join(
            f"{name} {value:g}" for name, value in weights.model_dump().items() if value and not name.endswith("_start")
        ),
        "weights' average": f"momentum {schedule.average:g}" if schedule.average else "none",
        "saliency cue": "in the soft labels"
        if rounds
        else f"weight {run.saliency.weight:g}"
        if run.saliency.network
        else "none",
        "weights": f"`{spec.version}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with voc12-animals/val and coco-val")
    parser.add_argument("--preset", action="append", choices=PRESETS, help="only these presets")
    parser.add_argument("--adopt", type=Path, help="folder of a finished run")
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    arguments = parser.parse_args()
    if arguments.adopt:
        adopt(arguments.adopt)
    if not arguments.tables:
        if arguments.data is None:
            parser.error("--data is needed to measure")
        measure(arguments.data, tuple(arguments.preset or PRESETS))
    write_spec_figures()
    for document in (ROOT / "README.md", CARD):
        place_in_file(document, tables())


if __name__ == "__main__":
    main()
