"""Own words beside known ones: four classes that a model of sixteen does not know, learnt from the job that uses them.

    python -m benchmarks.own_words_beside --data ../shared/data --model runs/voc16

The job is the COCO subset with all its tags, and the photos of complete tags that show a bottle, sofa, tvmonitor or
diningtable, with some others beside them. It is judged on the COCO subset: tags gated, dense CRF, every pixel
decided, background and all twenty classes; with the words learnt, and with them left out, as the model alone would.
`runs/voc16` is the default model of commit 13b6cff (`git show 13b6cff:model/weights/default/spec.json`, likewise
`weights.safetensors`). `--tables` writes the table from the JSON as it stands.
"""

import argparse
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.levers import samples_of
from benchmarks.machine import ROOT, provenance
from benchmarks.tables import place_in_file
from toco.model.evaluation.breakdown import Breakdown, Rows
from toco.model.evaluation.evaluate import Sample, evaluate
from toco.model.evaluation.judged_labels import judged_options, predictor
from toco.model.labelling.labeler import Labeler
from toco.model.labelling.plan import PlannedPhoto
from toco.model.learning.job import JobLabeler, learn_job
from toco.model.options import preset_options
from toco.model.photos.classes import VOC
from toco.model.photos.tables.reading import read_tags

WORDS = ("bottle", "sofa", "tvmonitor", "diningtable")
FIGURES = ROOT / "docs" / "own_words_beside.json"
DOCUMENT = ROOT / "docs" / "learning.md"


def teaching(data: Path, others: int) -> list[PlannedPhoto]:
    """Return the training photos of the job: all that show one of the words, and some that do not."""
    showing: list[PlannedPhoto] = []
    rest: list[PlannedPhoto] = []
    for folder, table in ((data / "more" / "train", data / "more" / "train.csv"),
                          (data / "voc12-animals" / "train", data / "voc12-animals" / "train.csv")):  # fmt: skip
        found = read_tags(table)
        for name in sorted(found):
            if not found[name].complete or name.startswith("extra_"):
                continue
            tags = tuple(found[name].tags)
            (showing if set(tags) & set(WORDS) else rest).append(PlannedPhoto(name, folder / name, tags))
    random.Random(0).shuffle(rest)  # noqa: S311 - a fixed choice, nothing secret
    return [*showing, *rest[: min(others, len(rest))]]


def judge(labeler: Labeler, samples: list[Sample]) -> dict[str, Any]:
    """Return the figures of a labeler on the COCO subset; tags that it does not know are not asked of it."""
    known = [
        replace(sample, tags=tuple(tag for tag in sample.tags or () if tag in labeler.vocabulary)) for sample in samples
    ]
    judged = labeler.vocabulary.subset(name for name in VOC.names if name in labeler.vocabulary)
    breakdown = Breakdown(judged.names)

    def count(sample: Sample, truth: Rows, mask: Rows) -> None:
        breakdown.update(truth, mask, len(sample.tags or ()))

    report = evaluate(
        known,
        predictor(labeler, judged_options(preset_options("balanced"), "pseudo_mask", crf=True)),
        truth_classes=VOC,
        model_classes=labeler.vocabulary,
        classes=judged.names,
        on_judged=count,
    )
    return {"miou": report.miou, "per_class_iou": dict(report.per_class_iou), **breakdown.report().model_dump()}


def table() -> str:
    """Return the figures as a Markdown table."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    lines = [
        "| labels of the COCO subset | " + " | ".join(WORDS) + " | mean of the sixteen known | mIoU of what it knows |"
    ]
    lines.append("|---|" + "---:|" * (len(WORDS) + 2))
    for title, key in (("the model of sixteen classes alone", "known"), ("the four words learnt in the job", "learnt")):
        iou = figures[key]["per_class_iou"]
        known = [value for name, value in iou.items() if name in VOC.names and name not in WORDS and value is not None]
        cells = [iou.get(word) for word in WORDS] + [sum(known) / len(known), figures[key]["miou"]]
        lines.append(f"| {title} | {' | '.join('-' if value is None else f'{100 * value:.1f}' for value in cells)} |")
    counts = ", ".join(f"{word['word']} {word['photos']}" for word in figures["words"] if word["word"] in WORDS)
    return "\n".join([*lines, "", f"Photos of the job that show them: {counts}; {figures['photos']} photos in all."])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with more, voc12-animals and coco-val")
    parser.add_argument("--model", type=Path, help="folder of a model that does not know the four words")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    arguments = parser.parse_args()
    if not arguments.tables:
        if arguments.data is None or arguments.model is None:
            parser.error("--data and --model are needed to measure")
        labeler = Labeler.from_folder(arguments.model)
        samples = samples_of(arguments.data, "coco")
        taught = teaching(arguments.data, others=150)
        photos = [*taught, *(PlannedPhoto(sample.image.name, sample.image, sample.tags) for sample in samples)]
        with tempfile.TemporaryDirectory() as folder:
            model = learn_job(labeler, photos, Path(folder) / "learnt")
        figures = {
            "photos": len(photos),
            "learnt": judge(JobLabeler(labeler, model), samples),
            "known": judge(labeler, samples),
            "words": [report.model_dump(mode="json") for report in model.spec.words],
            "machine": provenance(),
        }
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    place_in_file(DOCUMENT, {"own-words-beside": table()})


if __name__ == "__main__":
    main()
