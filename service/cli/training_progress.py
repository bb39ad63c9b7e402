"""Progress of a training run on the terminal: step, losses, learning rate, time left."""

from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from toco.service.cli.progress_lines import ProgressLines

if TYPE_CHECKING:
    from toco.model.training.progress import RunProgress

SMOOTHING = 0.98  # of the losses shown


class TrainingProgress:
    """A progress bar on a terminal, or else a line now and then; called after each step.

    Args:
        steps: of the whole schedule.
    """

    def __init__(self, steps: int) -> None:
        console = Console(stderr=True)
        self._lines = None if console.is_terminal else ProgressLines("training", steps)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left  {task.fields[losses]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, left="?", losses="")
        self._smooth: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def cued(self, photos: int) -> None:
        """Show for how many photos the saliency cue is ready."""
        self._bar.update(self._task, losses=f"saliency of {photos} photos")

    def __call__(self, progress: "RunProgress") -> None:
        """Show a step: its number, losses by name, learning rate, and the time left."""
        for name, value in progress.losses.items():
            self._smooth[name] = SMOOTHING * self._smooth.get(name, value) + (1 - SMOOTHING) * value
        shown = "  ".join(f"{name} {value:.3f}" for name, value in self._smooth.items()) + f"  lr {progress.rate:.1e}"
        left = progress.seconds_left or 0.0
        if self._lines is not None:
            self._lines.show(progress.step, shown, seconds_left=left)
        self._bar.update(self._task, completed=progress.step, left=str(timedelta(seconds=int(left))), losses=shown)
