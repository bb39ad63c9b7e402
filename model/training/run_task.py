"""`python -m toco.model.training.run_task`: one training, in the folder (see `task_files`) that it is started in.

Progress comes as JSON lines on standard output (`RunProgress`); a typed error as a last line
`{"error": {"code", "kind", "detail", "fix"}}` and exit code 1. Told to stop, it leaves a checkpoint and exits with 128
and the number of the signal.
"""

import json
import sys
from pathlib import Path

import torch

from toco.model.errors import TocoError
from toco.model.training.data import TrainingPhoto, vocabulary_of
from toco.model.training.judge import KeptPhoto, judge_models
from toco.model.training.progress import RunProgress
from toco.model.training.rounds import run_rounds
from toco.model.training.stopping import StopOnSignal, TrainingStopped
from toco.model.training.task_files import (
    FIGURES_FILE,
    MASKS_FOLDER,
    PHOTOS_FOLDER,
    PICTURES_FOLDER,
    RUN_FOLDER,
    START_FOLDER,
    TASK_FILE,
    TaskPhoto,
    TrainingTask,
    model_folder,
)
from toco.model.whole_file import write_whole

JUDGING = "judging"


def run_task(task: TrainingTask, stop: StopOnSignal) -> None:
    """Train, judge the model beside the one before, and leave both in the folder `run`.

    Args:
        task: what is asked for.
        stop: says when to stop.

    Raises:
        TrainingStopped: it said so before the end.
        LossNotFinite, CannotResume, CannotLearn, DeviceUnavailable
    """
    run, photos = Path(RUN_FOLDER), Path(PHOTOS_FOLDER)
    vocabulary = vocabulary_of(task.config)

    def report(progress: RunProgress) -> None:
        if stop.asked() and not progress.losses:  # while it trains, `stop` itself is asked, and a checkpoint made
            raise TrainingStopped(f"Stopped at {progress.stage}, {progress.step} of {progress.of}.")
        _say(progress.line())

    def known(tags: tuple[str, ...], *, complete: bool) -> tuple[torch.Tensor, torch.Tensor]:
        present = torch.zeros(len(vocabulary))
        present[list(vocabulary.channels(tags))] = 1.0
        return present, torch.ones(len(vocabulary)) if complete else present.clone()

    def mask_of(photo: TaskPhoto) -> Path | None:
        return Path(MASKS_FOLDER) / photo.mask if photo.mask else None

    training = tuple(
        TrainingPhoto(photos / photo.file, *known(photo.tags, complete=photo.complete), mask_of(photo))
        for photo in task.photos
    )
    # A photo without any tag whose list may be incomplete says nothing.
    training = tuple(photo for photo in training if photo.known.any())
    run_rounds(task.config, training, run, judge=lambda _: {}, device=task.device, report=report, stop=stop.asked)
    if (run / FIGURES_FILE).exists():
        return
    figures = judge_models(
        Path(START_FOLDER),
        run / model_folder(task.config),
        [KeptPhoto(photos / photo.file, photo.name, photo.tags, photo.complete, mask_of(photo)) for photo in task.kept],
        vocabulary,
        run / PICTURES_FOLDER,
        device=task.device,
        on_photo=lambda done, of: report(RunProgress(JUDGING, done, of)),
    )
    write_whole(run / FIGURES_FILE, figures.model_dump_json(indent=1).encode())


def main() -> int:
    """Run the training of the present folder; return the exit code."""
    task = TrainingTask.model_validate_json(Path(TASK_FILE).read_bytes())
    if task.threads:
        torch.set_num_threads(task.threads)
    with StopOnSignal() as stop:
        try:
            run_task(task, stop)
        except TrainingStopped as stopped:
            sys.stderr.write(f"{stopped}\n")
            return stop.exit_code
        except TocoError as error:
            said = {"code": error.code, "kind": error.kind, "detail": error.detail, "fix": error.fix}
            _say(json.dumps({"error": said}))
            return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
