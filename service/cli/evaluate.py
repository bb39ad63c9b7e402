"""`toco evaluate`: judge a model's masks against truth masks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toco.model.errors import InvalidOption
from toco.service.cli.error_report import SOME_FAILED
from toco.service.cli.labelling import Crf, Device, Model, Preset, Settings, load_labeler, make_options, progress

WORST = 24
"""Photos on the sheet of `--worst`."""

if TYPE_CHECKING:
    from toco.model.evaluation.breakdown import Breakdown, Rows
    from toco.model.evaluation.datasets.dataset import BenchmarkDataset
    from toco.model.evaluation.evaluate import EvaluationReport, Sample
    from toco.model.evaluation.worst import WorstPhotos
    from toco.model.options import LabelOptions
    from toco.model.photos.classes import Vocabulary
    from toco.model.photos.tables.reading import TableReading


def evaluate(
    *,
    images: Annotated[Path | None, typer.Option(help="Folder of photos.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of index masks with the same file names.")] = None,
    tags: Annotated[Path | None, typer.Option(help="Tags of the photos. Default: the classes of each mask.")] = None,
    dataset: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="NAME ROOT", help="A benchmark: voc2012, coco2014, ade20k, cityscapes, context59 or context60."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of the benchmark.")] = "val",
    mask_classes: Annotated[
        str,
        typer.Option(help="Classes 1, 2, 3, ... of the masks: voc, coco, ade20k, cityscapes, context, or names."),
    ] = "voc",
    classes: Annotated[
        str | None, typer.Option(help="Judge only these of the model's classes; all others are background.")
    ] = None,
    preset: Preset = "balanced",
    judged: Annotated[
        Literal["pseudo_mask", "segmentation"],
        typer.Option("--mask", help="The mask to judge; a pseudo mask without CRF is the paper's plain CAM."),
    ] = "pseudo_mask",
    crf: Crf = True,
    gate: Annotated[bool, typer.Option("--gate/--no-gate", help="Use the photos' tags.")] = True,
    open_pixels: Annotated[
        Literal["decide", "background", "left_out"],
        typer.Option(
            help="Doubtful pixels of pseudo masks: decide them by the plain threshold, or leave them open as in "
            "`toco label` and count them as background or not at all."
        ),
    ] = "decide",
    by_tags: Annotated[
        bool,
        typer.Option(
            "--by-tags", help="Also tell photos of one tag from those of several, small objects from large, and edges."
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first N photos only.")] = None,
    worst: Annotated[
        Path | None,
        typer.Option(help="Write a picture of the 24 worst photos beside their truth: what goes wrong, not how much."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    model: Model = None,
    device: Device = "auto",
    settings: Settings = None,
) -> None:
    """Print IoU a class from one confusion matrix over the whole dataset, as a Markdown table.

    The mean runs over background and those of the model's classes that the truth has. Truth pixels of other classes
    count as background; tags that the model does not know are left out and counted.
    """
    options = make_options(preset, settings, model=model)
    from toco.model.evaluation.evaluate import evaluate as judge
    from toco.model.evaluation.evaluate import markdown_table

    data = _open(images, masks, dataset, split, mask_classes)
    samples = data.samples[:limit]
    if tags is not None:
        from toco.model.photos.tables.reading import read_table

        samples = _tagged(samples, read_table(tags))

    from toco.model.evaluation.judged_labels import judged_options, predictor

    options = judged_options(options, judged, crf=crf, gate=gate, ignore_band=open_pixels != "decide")
    labeler = load_labeler(model, device)
    judged_classes = None if classes is None else [name.strip() for name in classes.split(",")]
    breakdown = _breakdown(labeler.vocabulary, judged_classes, open_pixels) if by_tags else None
    sheet = _worst_photos(labeler.vocabulary, judged_classes) if worst is not None else None
    with progress("Judging", len(samples)) as finished:
        report = judge(
            samples,
            predictor(labeler, options),
            truth_classes=data.classes,
            model_classes=labeler.vocabulary,
            classes=judged_classes,
            gate=gate,
            open_pixels="left_out" if open_pixels == "left_out" else "background",
            settings={
                "dataset": data.name,
                "split": data.split,
                "model": labeler.spec.version,
                "preset": preset,
                "mask": judged,
                "crf": crf,
                "scales": list(options.cam.scales),
                "tags": "none" if not gate else "truth" if tags is None else "file",
                "options": options.model_dump(mode="json"),
            },
            on_image=finished,
            on_judged=_onlooker(breakdown, sheet),
        )
    if breakdown is not None:
        from toco.model.evaluation.breakdown import broken_down

        report = broken_down(report, breakdown)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    typer.echo(markdown_table({f"{preset}, {judged}": report}))
    if breakdown is not None:
        from toco.model.evaluation.breakdown import markdown_breakdown

        typer.echo(markdown_breakdown(breakdown.report()))
    if sheet is not None and worst is not None:
        sheet.write_sheet(worst)
        typer.echo(f"The worst photos: {worst}")
    _tell(report, options, gate=gate, crf=crf, open_pixels=open_pixels)


def _tell(
    report: "EvaluationReport",
    options: "LabelOptions",
    *,
    gate: bool,
    crf: bool,
    open_pixels: Literal["decide", "background", "left_out"],
) -> None:
    """Say what was judged and what was not.

    Raises:
        typer.Exit: some photos failed.
    """
    left_open = f"; {100 * report.settings['open_share']:.1f} % of the pixels open" if open_pixels != "decide" else ""
    typer.echo(
        f"{report.images} images in {report.seconds:.1f} s; tags {'gated' if gate else 'not gated'}; "
        f"{'with' if crf else 'without'} CRF; {len(options.cam.scales)} scales{left_open}."
    )
    if report.settings["tags_left_out"]:
        listed = ", ".join(f"{name} ({count})" for name, count in report.settings["tags_left_out"].items())
        typer.echo(f"Tags left out: {listed}")
    for name, error in report.settings["failed"].items():
        typer.echo(f"failed: {name}: {error}", err=True)
    if report.settings["failed"]:
        raise typer.Exit(SOME_FAILED)


def _breakdown(
    known: "Vocabulary", classes: list[str] | None, open_pixels: Literal["decide", "background", "left_out"]
) -> "Breakdown":
    from toco.model.evaluation.breakdown import Breakdown

    judged = known if classes is None else known.subset(classes)
    return Breakdown(judged.names, open_pixels="left_out" if open_pixels == "left_out" else "background")


def _onlooker(breakdown: "Breakdown | None", sheet: "WorstPhotos | None") -> "Callable[[Sample, Rows, Rows], None]":
    def look(sample: "Sample", truth: "Rows", mask: "Rows") -> None:
        if breakdown is not None:
            breakdown.update(truth, mask, _tag_count(sample, truth))
        if sheet is not None:
            sheet.update(sample, truth, mask)

    return look


def _worst_photos(known: "Vocabulary", classes: list[str] | None) -> "WorstPhotos":
    from toco.model.evaluation.worst import WorstPhotos

    return WorstPhotos(WORST, known if classes is None else known.subset(classes))


def _tag_count(sample: "Sample", truth: "Rows") -> int:
    """Return how many tags a photo has, known or not; without a list of them, how many judged classes it shows."""
    if sample.tags is not None:
        return len(sample.tags)
    from toco.model.evaluation.breakdown import classes_shown

    return classes_shown(truth)


def _open(
    images: Path | None, masks: Path | None, dataset: tuple[str, Path] | None, split: str, mask_classes: str
) -> "BenchmarkDataset":
    from toco.model.evaluation.datasets import catalogue
    from toco.model.evaluation.datasets.dataset import folder_dataset

    if dataset is not None and images is None and masks is None:
        return catalogue.open_benchmark(dataset[0], dataset[1], split)
    if dataset is None and images is not None and masks is not None:
        return folder_dataset(images, masks, catalogue.mask_classes(mask_classes))
    raise InvalidOption("Nothing to judge is named.", fix="Use --images DIR --masks DIR, or --dataset NAME ROOT.")


def _tagged(samples: "tuple[Sample, ...]", reading: "TableReading") -> "tuple[Sample, ...]":
    """Give each sample its tags from a table.

    Raises:
        EmptyTags: a photo is not listed.
    """
    from toco.model.photos.assignment import PlacedTable, assign

    found = assign([str(sample.image) for sample in samples], [PlacedTable("", reading)])
    for line in found.lines():
        typer.echo(line, err=True)
    return tuple(replace(sample, tags=found.tags_of(str(sample.image), "refuse")) for sample in samples)
