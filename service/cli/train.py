"""`toco train`: train a model from tags alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toco.model.spec import checked_model_name
from toco.service.cli.labelling import Device, parse_settings

if TYPE_CHECKING:
    from toco.model.training.config import TrainConfig
    from toco.model.training.data import TrainingPhoto
    from toco.model.training.progress import RunProgress
    from toco.model.training.stopping import StopOnSignal


def train(
    *,
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, losses and the finished model; resumed if there.")],
    images: Annotated[Path | None, typer.Option(help="Folder of photos.")] = None,
    tags: Annotated[
        Path | None,
        typer.Option(help="CSV, JSON Lines, COCO instances JSON or folder of VOC XML. Default: names of folders."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; see docs/training.md.")] = None,
    preset: Annotated[str, typer.Option(help="voc, coco (the paper's values) or small-cpu.")] = "voc",
    backbone: Annotated[str | None, typer.Option(help="Name of a plain timm ViT.")] = None,
    initial: Annotated[
        str | None,
        typer.Option(help="First weights: timm, random, a .safetensors, .pth or .onnx file, or a model folder."),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="voc, coco, or names between commas.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the schedule.")] = None,
    stop_at: Annotated[int | None, typer.Option(min=1, help="Stop after this step of the schedule.")] = None,
    eval_images: Annotated[Path | None, typer.Option(help="Photos to judge the model on while it trains.")] = None,
    eval_masks: Annotated[Path | None, typer.Option(help="Their index masks.")] = None,
    mask_classes: Annotated[str, typer.Option(help="Classes of these masks, as in `toco evaluate`.")] = "voc",
    name: Annotated[
        str | None,
        typer.Option(help="Under which the model is listed. Default: that of the configuration, else of the folder."),
    ] = None,
    rounds: Annotated[
        bool, typer.Option(help="Rounds of self-training, from the model folder that --initial names.")
    ] = False,
    events: Annotated[
        bool, typer.Option(help="Print progress as JSON lines on standard output, all else on standard error.")
    ] = False,
    check_only: Annotated[bool, typer.Option(help="Print the report on the photos and stop.")] = False,
    device: Device = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, e.g. --set loss.ctc=0 (JSON values).")
    ] = None,
) -> None:
    """Train from image-level tags; no mask is read but to judge the model by.

    Told to stop (SIGTERM, Ctrl-C) it writes a checkpoint first, as it does every `checkpoint_minutes`. Start it again
    with the same settings and it resumes exactly. `torchrun -m toco train ...` trains on many GPUs.
    """
    changes = _changes(images=images, tags=tags, backbone=backbone, initial=initial, classes=classes, steps=steps)
    from toco.model.training.config import load_config, merge
    from toco.model.training.data import training_photos, vocabulary_of
    from toco.model.training.health import check_health
    from toco.model.training.stopping import StopOnSignal, TrainingStopped

    run = load_config(preset, file=config, changes=merge(changes, parse_settings(settings)))
    run = run.model_copy(update={"name": checked_model_name(name or run.name or out.resolve().name)})
    vocabulary = vocabulary_of(run)
    photos, health = check_health(training_photos(run, vocabulary), run, vocabulary)
    typer.echo("\n".join(health.lines()), err=events)
    if check_only:
        return

    samples, truth_classes = _judged_on(eval_images, eval_masks, mask_classes)
    judged: dict[str, Any] = {"samples": samples, "truth_classes": truth_classes}
    stop = StopOnSignal()
    try:
        if rounds:
            from toco.service.cli.training_rounds import train_in_rounds

            with stop:
                train_in_rounds(run, photos, out, device=device, stop=stop, events=events, **judged)
        else:
            _train_once(run, photos, out, device=device, until=stop_at, stop=stop, events=events, **judged)
    except TrainingStopped as stopped:
        typer.echo(f"toco: {stopped}", err=True)
        raise typer.Exit(stop.exit_code) from None


def _train_once(
    run: "TrainConfig",
    photos: "tuple[TrainingPhoto, ...]",
    out: Path,
    *,
    device: str,
    until: int | None,
    stop: "StopOnSignal",
    events: bool,
    samples: Any,
    truth_classes: Any,
) -> None:
    """Run the schedule to its end, to step `until`, or until a signal asks to stop, which raises TrainingStopped."""
    from toco.model.training.monitor import Monitor
    from toco.model.training.stopping import TrainingStopped
    from toco.model.training.trainer import Trainer, initial_spec
    from toco.service.cli.training_progress import TrainingProgress

    monitor = Monitor(out, initial_spec(run), samples=samples, truth_classes=truth_classes)
    with TrainingProgress(run.schedule.steps) as show:

        def report(progress: "RunProgress") -> None:
            if events:
                typer.echo(progress.line())
            else:
                show(progress)
            monitor.scalars(progress.step, progress.losses, progress.rate)

        trainer = Trainer(run, photos, out, device=device, report=report, on_saliency=show.cued)
        with stop:
            trainer.run(until=until, stop=stop.asked, evaluate=monitor.evaluate)
    monitor.close()
    if stop.asked() and not trainer.finished:
        raise TrainingStopped(
            f"Stopped at step {trainer.step} of {run.schedule.steps}; the checkpoint is in {str(out)!r}.",
            fix="Start it again with the same settings to go on.",
        )
    for step, figures in monitor.reports:
        typer.echo(f"step {step}: mIoU {figures.miou:.3f} (gated CAM, one scale, no CRF)", err=events)
    typer.echo(f"Model: {trainer.model_folder}", err=events)


def _changes(
    *,
    images: Path | None,
    tags: Path | None,
    backbone: str | None,
    initial: str | None,
    classes: str | None,
    steps: int | None,
) -> dict[str, Any]:
    """Return the settings that have options of their own."""
    changes: dict[str, Any] = {}
    if images is not None:
        changes["sources"] = ({"images": images, "tags": tags},)
    encoder = {"name": backbone, "initial": initial}
    if any(encoder.values()):
        changes["backbone"] = {name: value for name, value in encoder.items() if value is not None}
    if classes is not None:
        names = tuple(name.strip() for name in classes.split(","))
        changes["classes"] = names[0] if names in (("voc",), ("coco",)) else names
    if steps is not None:
        changes["schedule"] = {"steps": steps}
    return changes


def _judged_on(images: Path | None, masks: Path | None, mask_classes: str) -> tuple[Any, Any]:
    if images is None or masks is None:
        return (), None
    from toco.model.evaluation.datasets import catalogue
    from toco.model.evaluation.datasets.dataset import folder_dataset

    data = folder_dataset(images, masks, catalogue.mask_classes(mask_classes))
    return data.samples, data.classes
