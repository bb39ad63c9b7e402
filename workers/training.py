"""One training on this machine: photos fetched, a process that trains, its checkpoints stored, its model published.

The training itself is a process of its own (`toco.model.training.run_task`): it can be told to stop with a checkpoint,
its memory goes with it, and what it says are lines. This side holds the lease, and stores whatever another machine
needs to go on from.
"""

import json
import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis

from toco.jobs.ids import new_id
from toco.jobs.keys import training_record
from toco.jobs.parent_death import die_with_parent
from toco.jobs.queue import QueueUnavailable
from toco.jobs.retries import seconds_until_retry
from toco.jobs.store import training_prefix, training_run_prefix
from toco.jobs.training import TrainingRecord
from toco.jobs.trainings import TrainingLease
from toco.model.errors import Kind, TocoError
from toco.model.training.figures import TrainingFigures
from toco.model.training.progress import TRAINING
from toco.model.training.task_files import (
    FIGURES_FILE,
    PICTURES_FOLDER,
    RUN_FOLDER,
    TASK_FILE,
    TrainingTask,
    model_folder,
)
from toco.workers.folder_sync import FolderSync
from toco.workers.process import WorkerProcess
from toco.workers.training_folder import prepare, work_folder

logger = logging.getLogger(__name__)

_FETCHING: Final = "fetching"
_FETCHERS: Final = 8  # threads
_LOOK_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 120.0  # for the step in hand and its checkpoint
_KEPT_LOSSES: Final = 200  # of a training, about
_LOG_FILE: Final = "losses.jsonl"  # the record has them


class TrainingFault(TocoError):
    """The process that trains ended in a way that nobody foresaw."""

    code = "training_fault"
    kind = "internal"


class TrainingTooLong(TocoError):
    """A training took longer than any may."""

    code = "training_too_long"
    kind = "conflict"


class RunFailed(TocoError):
    """What the process that trains says is wrong.

    Args:
        said: code, kind, detail and fix.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(str(said["detail"]), fix=str(said["fix"]))
        self.code = str(said["code"])
        self.kind: Kind = said["kind"]


class _Beat(threading.Thread):
    """Keeps the lease, tells the record how far the work is, and hears whether it is still wanted."""

    def __init__(self, process: WorkerProcess, lease: TrainingLease) -> None:
        super().__init__(name="training-beat", daemon=True)
        self._trainings = process.trainings
        self._seconds = min(process.settings.heartbeat_seconds, _LOOK_SECONDS)
        self._lease = lease
        self._lock = threading.Lock()  # of what there is to tell
        self._turn = threading.Lock()  # of who tells it
        self._fields: dict[str, str | int | float] = {}
        self._losses: list[dict[str, float]] = []
        self._stopped = threading.Event()
        self.wish = "ok"  # as `Trainings.renew` returns it

    def note(self, fields: dict[str, str | int | float], losses: dict[str, float] | None = None) -> None:
        """Tell the record something, soon."""
        with self._lock:
            self._fields |= fields
            self._losses += [losses] if losses else []

    def run(self) -> None:
        """Renew the lease until told to stop."""
        while not self._stopped.wait(self._seconds):
            self.renew()

    def renew(self) -> None:
        """Renew the lease now, and tell what there is to tell, in the order in which it came."""
        with self._turn:
            with self._lock:
                fields, losses = self._fields, self._losses
                self._fields, self._losses = {}, []
            try:
                while losses:
                    self._trainings.renew(self._lease, losses=losses[0])
                    losses = losses[1:]
                self.wish = self._trainings.renew(self._lease, fields)
            except redis.RedisError:
                logger.warning("the training's lease was not renewed, trying again", exc_info=True)
                with self._lock:
                    self._fields, self._losses = fields | self._fields, losses + self._losses

    def stop(self) -> None:
        """Stop renewing, once all is told."""
        self._stopped.set()
        self.join()
        self.renew()


class TrainingRun:
    """One delivery of one training.

    Args:
        process: the worker's own.
        training: which.
        stopping: says whether this worker is to end.
    """

    def __init__(self, process: WorkerProcess, training: str, *, stopping: Callable[[], bool]) -> None:
        self._process = process
        self._trainings = process.trainings
        self._training = training
        self._stopping = stopping
        self._error: TocoError | None = None  # that the process told

    def run(self) -> None:
        """Take the training, and bring it as far as it goes here; one that someone else has is passed over."""
        settings = self._process.settings
        # Not the message: its second delivery, while the first is at work, must not take the training away.
        owner = f"{self._process.name}:{new_id()}"
        lease = self._trainings.lease(self._training, owner=owner, max_attempts=settings.max_attempts)
        if isinstance(lease, str):
            logger.info("training passed over", extra={"reason": lease})
            return
        record = self._trainings.get(self._training)
        logger.info("training taken up", extra={"attempts": record.attempts})
        beat = _Beat(self._process, lease)
        beat.note({"stage": _FETCHING, "step": 0, "of": record.asked.photos + record.asked.kept})
        beat.start()
        state: str | TocoError
        try:
            with work_folder(self._process.settings, self._training) as folder:
                state = self._carry_out(record, folder, beat)
                if state == "":
                    state = self._publish(record, folder, lease)
        except TocoError as error:
            logger.exception("training interrupted")
            state = error
        finally:
            beat.stop()
        self._settle(lease, record, state)

    def _settle(self, lease: TrainingLease, record: TrainingRecord, state: "str | TocoError") -> None:
        """Write down how a delivery ended."""
        settings = self._process.settings
        if isinstance(state, TocoError):
            attempt = self._trainings.get(self._training).attempts
            wait = seconds_until_retry(
                state, attempt, max_attempts=settings.max_attempts, delay_seconds=settings.retry_delay_seconds
            )
            if wait is None:
                reached = self._trainings.fail(lease, state)
            else:
                reached = self._trainings.hand_back(lease, state, seconds=wait)
        elif state == "cancel":
            reached = self._trainings.cancelled(lease)
        elif state == "stopping":
            reached = self._trainings.hand_back(lease)
            if reached == "queued":
                with suppress(QueueUnavailable):  # the sweep queues it
                    self._process.queue.train(self._training)
        else:
            reached = state
        logger.info("training left", extra={"outcome": reached, "model": record.asked.name})

    # -- while it trains -----------------------------------------------------------------------------------------

    def _carry_out(self, record: TrainingRecord, folder: Path, beat: _Beat) -> str:
        """Train until the end, or until it has to stop.

        Returns:
            Nothing at the end; else `cancel`, `lost` or `stopping`.

        Raises:
            TocoError: what went wrong.
        """
        prepare(
            self._process,
            record,
            folder,
            on_photo=lambda done: beat.note({"step": done}),
            stop=lambda: bool(self._reason_to_stop(beat)),
        )
        if reason := self._reason_to_stop(beat):
            return reason
        sync = FolderSync(
            self._process.store, training_run_prefix(record.id), folder / RUN_FOLDER, without=frozenset({_LOG_FILE})
        )
        (folder / RUN_FOLDER).mkdir()
        sync.fetch()
        began = time.time()
        with self._started(folder) as process:
            lines = self._lines(process)

            def told() -> None:
                """Note what was said before a checkpoint: the next one who takes it up says only what comes after."""
                self._take(lines, record, beat)
                beat.renew()

            while True:
                self._take(lines, record, beat)
                if sync.push(told):
                    beat.note({"attempts": 0})
                if process.poll() is not None:
                    break
                if reason := self._reason_to_stop(beat):
                    self._stop(process, hard=reason == "lost")
                    if reason != "lost":
                        sync.push(told)
                    return reason
                self._require_time(record, began)
        sync.push(told)
        self._take(lines, record, beat)
        if process.returncode:
            raise self._error or TrainingFault(
                f"The process that trains ended with {process.returncode}.", fix="See the log of the training worker."
            )
        return ""

    def _reason_to_stop(self, beat: _Beat) -> str:
        return beat.wish if beat.wish != "ok" else "stopping" if self._stopping() else ""

    def _require_time(self, record: TrainingRecord, began: float) -> None:
        hours = self._process.settings.training_limit_hours
        if time.time() - (record.started_at or began) > 3600 * hours:
            raise TrainingTooLong(
                f"The training took more than {hours:g} hours.",
                fix="Train in fewer steps, or raise TOCO_TRAINING_LIMIT_HOURS and resume it.",
            )

    @contextmanager
    def _started(self, folder: Path) -> Iterator["subprocess.Popen[str]"]:
        """Start the process that trains; it never outlives this block, nor this worker."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "toco.model.training.run_task"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),  # noqa: PLW1509 - the task runs in the main thread
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    @staticmethod
    def _lines(process: "subprocess.Popen[str]") -> "queue.SimpleQueue[str]":
        """Read what the process says as it comes."""
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()

        def read() -> None:
            if process.stdout is not None:
                with process.stdout as said:
                    for line in said:
                        lines.put(line)

        threading.Thread(target=read, name="training-lines", daemon=True).start()
        return lines

    def _take(self, lines: "queue.SimpleQueue[str]", record: TrainingRecord, beat: _Beat) -> None:
        """Take in what the process has said, waiting a little for the first line."""
        timeout = _LOOK_SECONDS
        while True:
            try:
                said = json.loads(lines.get(timeout=timeout))
            except queue.Empty:
                return
            timeout = 0.01
            if "error" in said:
                self._error = RunFailed(said["error"])
                continue
            fields = {name: said[name] for name in ("stage", "step", "of")}
            losses = said["losses"]
            fields |= {"losses": json.dumps(losses), "seconds_left": said["seconds_left"] or ""}
            beat.note(fields, _kept_losses(record, said))

    @staticmethod
    def _stop(process: "subprocess.Popen[str]", *, hard: bool) -> None:
        """Tell the process to stop with a checkpoint, or end it at once."""
        if hard:
            process.kill()
        else:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)

    # -- afterwards ----------------------------------------------------------------------------------------------

    def _publish(self, record: TrainingRecord, folder: Path, lease: TrainingLease) -> str:
        """Publish the model; return the state reached."""
        run, asked = folder / RUN_FOLDER, record.asked
        task = TrainingTask.model_validate_json((folder / TASK_FILE).read_bytes())
        figures = TrainingFigures.model_validate_json((run / FIGURES_FILE).read_bytes())
        version = self._process.published.publish(
            asked.name, run / model_folder(task.config), workspace=asked.workspace, job=record.id, promote=False
        )
        reached = self._trainings.succeed(lease, version=version.number, figures=figures.model_dump_json())
        if reached == "succeeded":
            pictures = f"{training_run_prefix(record.id)}{PICTURES_FOLDER}/"
            store = self._process.store
            with suppress(TocoError):  # what stays goes with the training
                store.delete(
                    [one.key for one in store.under(training_run_prefix(record.id)) if not one.key.startswith(pictures)]
                )
        return reached


def _kept_losses(record: TrainingRecord, said: dict[str, Any]) -> dict[str, float] | None:
    """Return the losses of a step if they are to be kept, with the step counted over all rounds."""
    if not said["losses"]:
        return None
    settings = record.asked.settings
    word, _, stage = str(said["stage"]).partition(":")
    number = int(word.removeprefix("round ")) if stage.strip() == TRAINING else 1
    stride = max(1, settings.all_steps // _KEPT_LOSSES)
    step = (number - 1) * settings.steps + int(said["step"])
    return {"step": step, **said["losses"]} if step % stride == 0 or step in (1, settings.all_steps) else None


def delete_training_objects(process: WorkerProcess, training: str) -> None:
    """Delete what is stored for a training that was deleted, or that never came to be."""
    if process.records.redis.exists(training_record(training)):
        process.trainings.forget(training)  # its request took long, but led to it
        return
    count = process.store.delete_prefix(training_prefix(training))
    process.trainings.forget(training)
    logger.info("training deleted", extra={"training": training, "objects": count})
