"""`toco train --rounds`: rounds of self-training from a model that was trained before."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from toco.service.cli.progress_lines import ProgressLines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toco.model.evaluation.evaluate import Sample
    from toco.model.photos.classes import Vocabulary
    from toco.model.training.config import TrainConfig
    from toco.model.training.data import TrainingPhoto
    from toco.model.training.progress import RunProgress
    from toco.model.training.stopping import StopOnSignal


def train_in_rounds(
    config: "TrainConfig",
    photos: "tuple[TrainingPhoto, ...]",
    out: Path,
    *,
    device: str,
    stop: "StopOnSignal",
    events: bool = False,
    samples: "Sequence[Sample]" = (),
    truth_classes: "Vocabulary | None" = None,
) -> None:
    """Run all rounds that are not finished, and print what each gave.

    Args:
        config: of the rounds.
        photos: what they train on.
        out: folder of the rounds.
        device: name of the device.
        stop: says when to stop.
        events: print progress as JSON lines on standard output, all else on standard error.
        samples: photos with masks to judge each round's model by; none judges nothing.
        truth_classes: vocabulary of their masks.

    Raises:
        TrainingStopped: it was asked to stop before the end.
    """
    from toco.model.training.rounds import final_model, rounds_table, run_rounds
    from toco.model.training.stopping import TrainingStopped

    stages: dict[str, ProgressLines] = {}

    def report(progress: "RunProgress") -> None:
        stage = progress.stage
        if stop.asked() and not progress.losses:  # while it trains, `stop` itself is asked, and a checkpoint made
            raise TrainingStopped(
                f"Stopped at {stage}, {progress.step} of {progress.of}.",
                fix="Start it again with the same settings to go on.",
            )
        if events:
            typer.echo(progress.line())
            return
        if stage not in stages:
            stages[stage] = ProgressLines(stage, progress.of)
            typer.echo(f"{stage}: {progress.of} to do", err=True)
        losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        stages[stage].show(progress.step, losses, seconds_left=progress.seconds_left)

    rows = run_rounds(
        config,
        photos,
        out,
        judge=lambda folder: _figures(folder, samples, truth_classes, device),
        device=device,
        report=report,
        stop=stop.asked,
    )
    typer.echo(rounds_table(rows), err=events)
    typer.echo(f"Model: {final_model(config, out)}", err=events)


def _figures(
    folder: Path, samples: "Sequence[Sample]", truth_classes: "Vocabulary | None", device: str
) -> dict[str, Any]:
    """Return the mIoU of a model by number of tags: one scale, tags gated, no CRF, every pixel decided."""
    if not samples:
        return {}
    from toco.model.evaluation.breakdown import Breakdown, classes_shown
    from toco.model.evaluation.evaluate import evaluate
    from toco.model.evaluation.judged_labels import judged_options, predictor
    from toco.model.labelling.labeler import Labeler
    from toco.model.options import preset_options

    labeler = Labeler.from_folder(folder, device=device)
    breakdown = Breakdown(labeler.vocabulary.names)
    evaluate(
        samples,
        predictor(labeler, judged_options(preset_options("fast"), "pseudo_mask", crf=False)),
        truth_classes=truth_classes or labeler.vocabulary,
        model_classes=labeler.vocabulary,
        on_judged=lambda _sample, truth, mask: breakdown.update(truth, mask, classes_shown(truth)),
    )
    return {name: group.miou for name, group in breakdown.report().by_tags.items()}
