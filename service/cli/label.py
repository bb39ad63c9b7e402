"""`toco label`: label a folder of photos, offline."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from toco.model.errors import InvalidOption
from toco.service.cli.buckets import Outgoing, Photos, incoming
from toco.service.cli.error_report import SOME_FAILED
from toco.service.cli.exporting import FORMAT_NAMES, ExportSettings, Seed, SplitAsked, make_export_options
from toco.service.cli.labelling import (
    Crf,
    Device,
    Masks,
    Model,
    PagesOption,
    Preset,
    Runtime,
    Settings,
    chosen_model,
    find_foreign_masks,
    find_tags,
    format_names,
    load_labeler,
    make_options,
    photos_under,
    progress,
)
from toco.service.cli.progress_lines import ProgressLines
from toco.service.cli.words import OpenPhotos, UnknownWords, WordMap, check_lines, read_word_map

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from toco.model.labelling.folder_run import RunSummary
    from toco.model.labelling.labeler import Labeler
    from toco.model.labelling.plan import Plan, PlannedPhoto
    from toco.model.photos.understanding import Mapped, UnderstoodTag

_SHOWN_FAILURES = 10
_SHOWN_WORDS = 20


def label(
    context: typer.Context,
    photos_at: Photos,
    *,
    results_at: Annotated[
        str,
        typer.Option(
            "--out",
            help="Folder of the results; a second run goes on where the first stopped. Or s3://bucket/prefix, gs:// "
            "or az://.",
        ),
    ],
    tags: Annotated[
        Path | None,
        typer.Option(
            help="CSV, .xlsx, JSON Lines or COCO file (tags in a list, or a column a class), or folder of VOC XML. "
            "Default: the tables that lie among the photos. `toco tags show` says what is understood of it."
        ),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of every photo; may be repeated.")] = None,
    tags_from_folders: Annotated[bool, typer.Option(help="Each photo's folder is named for its tags.")] = False,
    masks: Masks = None,
    pages: PagesOption = "first",
    preset: Preset = "balanced",
    formats: Annotated[
        str,
        typer.Option("--format", help=f"Export formats with commas between: {FORMAT_NAMES}."),
    ] = "voc",
    model: Model = None,
    device: Device = "auto",
    runtime: Runtime = None,
    settings: Settings = None,
    crf: Crf = True,
    segmentation: Annotated[
        bool | None, typer.Option("--segmentation/--no-segmentation", help="Make segmentation maps as well.")
    ] = None,
    outputs: Annotated[
        str, typer.Option(help="Artifacts of each photo: cam, heat, pseudo_mask, segmentation, overlay, tokens.")
    ] = "cam,pseudo_mask,segmentation",
    mask: Annotated[
        Literal["pseudo_mask", "segmentation"], typer.Option(help="Which mask the exports hold.")
    ] = "pseudo_mask",
    subset: Annotated[str, typer.Option(help="The part of photos that have no other.")] = "train",
    split: SplitAsked = "table",
    seed: Seed = 0,
    export_settings: ExportSettings = None,
    copy_images: Annotated[
        bool, typer.Option("--copy-images/--no-copy-images", help="Copy the photos into the exports.")
    ] = True,
    open_photos: OpenPhotos = False,
    unknown_tags: UnknownWords = "learn",
    word_map: WordMap = None,
    untagged: Annotated[
        Literal["refuse", "model", "skip", "background"], typer.Option(help="Photos that nothing lists.")
    ] = "refuse",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is understood of photos, tags and words, and label nothing.")
    ] = False,
) -> None:
    """Label photos from their tags, and export the masks.

    Exit code 0: all photos are labelled; 1: some failed (listed in OUT/failures.jsonl); 2: wrong usage.
    """
    options = make_options(preset, settings, model=model, **_changes(crf=crf, segmentation=segmentation))
    export = make_export_options(
        export_settings, mask=mask, images=copy_images, subset=subset, split=split, seed=seed, open_photos=open_photos
    )
    # What is wrong with the command shows before the model loads.
    from toco.model.formats.artifacts import require_outputs
    from toco.model.photos.tag_check import check_tags, settle_unknown
    from toco.model.photos.tags import split_tags
    from toco.model.photos.understanding import understand_all

    wanted_formats = format_names(formats)
    wanted = set(require_outputs(split_tags(outputs)))
    if "npz" in wanted_formats:
        wanted.add("cam")
    results = Outgoing(context, results_at)
    source, out = incoming(context, photos_at), results.folder
    collection = photos_under(source, but=(out, masks))
    assignment = find_tags(collection, table=tags, tags=tag, from_folders=tags_from_folders)
    if not assignment.given and untagged == "refuse":
        raise InvalidOption(
            "No tags are given.",
            fix="Use --tags FILE, --tag NAME, --tags-from-folders, a table beside the photos, or --untagged model.",
        )
    found_masks = find_foreign_masks(masks, collection)
    for line in (*assignment.lines(), *collection.notes(), *(found_masks.notes() if found_masks else ())):
        typer.echo(line, err=True)

    from toco.model.labelling.folder_run import FolderRun, RunSummary
    from toco.model.labelling.plan import plan_photos
    from toco.model.learning.planning import ONLY_BESIDE_WHOLE

    plan = plan_photos(source, collection, assignment, untagged=untagged, masks=found_masks, pages=pages)
    photos = plan.photos
    summary = RunSummary(skipped=plan.skipped, failures=dict(plan.failures))
    mapping = read_word_map(word_map)
    known, _ = chosen_model(model)
    check = check_tags((photo.tags for photo in photos if photo.tags), known.spec.vocabulary, mapping)
    # What can be learnt is learnt once the model is there; this says what becomes of the rest.
    wanted_words = unknown_tags == "learn" and bool(check.open_words)
    learning = wanted_words and not known.encoder
    why_not = (ONLY_BESIDE_WHOLE,) if wanted_words and not learning else ()
    for line in (*check_lines(check), *settle_unknown("open" if wanted_words else unknown_tags, check), *why_not):
        typer.echo(line, err=True)
    if dry_run:
        _print_plan(plan, lambda words: understand_all(words, known.spec.vocabulary, mapping))
        return
    labeler = load_labeler(model, device, runtime)
    if learning:
        labeler = _with_learnt_words(labeler, photos, out, mapping)
    run = FolderRun(labeler, options, out, outputs=frozenset(wanted), mapping=mapping)
    with progress("Labelling", len(photos)) as finished:
        run.label(photos, summary, on_event=results.keeping(finished))
    try:
        run.export(photos, wanted_formats, summary, export)
    finally:
        run.write_failures(summary)
        (out / "summary.json").write_text(json.dumps(summary.as_json(), indent=1) + "\n", encoding="utf-8")
        results.deliver()
    _print_summary(summary, results.place, options.long_side)
    if summary.failures:
        raise typer.Exit(SOME_FAILED)


def _with_learnt_words(labeler: "Labeler", photos: "Sequence[PlannedPhoto]", out: Path, mapping: "Mapped") -> "Labeler":
    """Learn the words that no class means from the photos themselves, and say how that went."""
    from toco.model.learning.job import LEARNT_FOLDER, JobLabeler, learn_job
    from toco.model.learning.learnt_spec import report_lines
    from toco.model.learning.planning import job_words, learnable

    words = learnable(job_words((photo.tags for photo in photos), labeler.vocabulary, mapping), labeler.vocabulary)
    if not words:
        typer.echo("No word is shown by enough photos to be learnt.", err=True)
        return labeler
    typer.echo(f"Learning {len(words)} words from the photos: {', '.join(words[:_SHOWN_WORDS])}", err=True)
    lines: list[ProgressLines] = []

    def show(done: int, total: int) -> None:
        if not lines:
            lines.append(ProgressLines("Reading", total))
        lines[0].show(done)

    learnt = learn_job(labeler, photos, out / LEARNT_FOLDER, mapping=mapping, on_photo=show)
    for line in report_lines(learnt.spec.words, labeler.vocabulary):
        typer.echo(f"  {line}", err=True)
    return JobLabeler(labeler, learnt)


def _print_plan(plan: "Plan", understand: "Callable[[Sequence[str]], Sequence[UnderstoodTag]]") -> None:
    """Print what the tags of each photo are understood as, and the photos that would not be labelled."""
    for photo in plan.photos:
        words = None if photo.tags is None else [_as_understood(word) for word in understand(photo.tags)]
        tags = "(chosen by the model)" if words is None else ", ".join(words) or "(none of the classes)"
        more = [photo.part] if photo.part else []
        more += [f"{len(photo.masks)} files of masks"] if photo.masks else []
        told = f" [{', '.join(more)}]" if more else ""
        typer.echo(f"{photo.name}: {tags}{told}")
    for name, error in plan.failures.items():
        typer.echo(f"{name}: would fail: {error}")
    skipped = f", {plan.skipped} would be skipped" if plan.skipped else ""
    typer.echo(f"{len(plan.photos)} photos would be labelled, {len(plan.failures)} would fail{skipped}.")


def _as_understood(word: "UnderstoodTag") -> str:
    """Return `cat`, `cat (kitten)`, `velocipede (not understood)` or `blurred (ignored)`."""
    if word.understood is not None:
        return word.understood if word.why == "exact" else f"{word.understood} ({word.written})"
    return f"{word.written} ({'not understood' if word.is_open else 'ignored'})"


def _changes(*, crf: bool, segmentation: bool | None) -> dict[str, object]:
    changes: dict[str, object] = {}
    if not crf:
        changes["refine"] = "none"
    if segmentation is not None:
        changes["segmentation"] = {} if segmentation else None
    return changes


def _listed(counts: "Counter[str]") -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())


def _print_summary(summary: "RunSummary", out: str, long_side: int) -> None:
    rate = f" ({summary.done / summary.seconds:.2f} photos/s)" if summary.done else ""
    typer.echo(
        f"{summary.done} labelled, {summary.resumed} finished before, {summary.skipped} skipped, "
        f"{len(summary.failures)} failed in {summary.seconds:.1f} s{rate}. Results: {out}"
    )
    if summary.pixels:
        typer.echo(f"Ignored pixels: {100 * summary.ignore_ratio:.1f} %")
        typer.echo(f"{'class':20} {'photos':>7} {'area %':>7}")
        for name, photos in summary.photos_with_class.most_common():
            typer.echo(f"{name:20} {photos:7} {100 * summary.pixels_of_class[name] / summary.pixels:7.2f}")
    if summary.with_masks:
        typer.echo(f"Merged with masks from elsewhere: {summary.with_masks} photos")
    if summary.capped:
        typer.echo(f"Refined at {long_side} pixels and mapped back to their own size: {summary.capped} photos")
    if summary.of_several:
        typer.echo(f"Files of several pictures (frames, pages), the first labelled: {summary.of_several} photos")
    if summary.tagged_by_model:
        typer.echo(f"Tagged by the model: {summary.tagged_by_model} photos")
    if summary.open_tags:
        typer.echo(f"Left open, not understood: {_listed(summary.open_tags)}; on {summary.open_photos} photos")
    if summary.empty_tags:
        typer.echo(f"Tagged, but no pixel found: {_listed(summary.empty_tags)}")
    if summary.wholly_open:
        typer.echo(f"Wholly open, exported with --open-photos alone: {summary.wholly_open} photos")
    _print_failures(summary, out)


def _print_failures(summary: "RunSummary", out: str) -> None:
    for position, (name, error) in enumerate(summary.failures.items()):
        if position == _SHOWN_FAILURES:
            typer.echo(f"... all {len(summary.failures)} failures are in {out}/failures.jsonl", err=True)
            break
        typer.echo(f"failed: {name}: {error}", err=True)
