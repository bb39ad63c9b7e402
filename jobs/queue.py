"""Putting work on the queues."""

import time
from collections.abc import Sequence

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from toco.jobs.broker import (
    ANSWER,
    BATCH,
    BUILD_EXPORT,
    COUNT_LABELS,
    DELETE_OBJECTS,
    DELETE_TRAINING,
    DELETE_UPLOADS,
    DELIVER_WEBHOOKS,
    ERRANDS,
    EXAMINE_TAGS,
    FIT_WORDS,
    INTERACTIVE,
    LABEL_SHARD,
    LEARN,
    LEARN_AGAIN,
    PULSE,
    QUEUES,
    READ_TOKENS,
    RUN_TRAINING,
    SYNC_MODELS,
    TRAIN,
    make_app,
)
from toco.jobs.job import JobRecord
from toco.jobs.keys import DELAYED, SPEED, waiting_key
from toco.jobs.records import Records
from toco.jobs.reports import ReportKind
from toco.jobs.settings import Settings
from toco.model.errors import TocoError

DEFAULT_SHARD_IMAGES = 8  # until a worker has measured how fast a model is
_DAY_SECONDS = 86_400  # a note that nobody takes back goes by itself
_SPEED_MEMORY = 0.3  # weight of the newest measurement


class QueueUnavailable(TocoError):
    """The broker does not take messages."""

    code = "queue_unavailable"
    kind = "unavailable"


class WorkQueue:
    """Sends messages to the workers. Safe to use from several threads."""

    def __init__(self, settings: Settings, records: Records, app: Celery | None = None) -> None:
        self._settings = settings
        self._records = records
        self._app = app or make_app(settings)

    def label(self, job: JobRecord, items: Sequence[str]) -> int:
        """Queue items of a job in shards that take about `shard_seconds` each; return how many messages that made.

        Raises:
            QueueUnavailable
        """
        return self._send_shards(LABEL_SHARD, job, items, _speed_field(job))

    def read_tokens(self, job: JobRecord, items: Sequence[str]) -> int:
        """Queue the reading of photos that a job learns from, likewise. Raises QueueUnavailable."""
        return self._send_shards(READ_TOKENS, job, items, _reading_field(job))

    def fit_words(self, job: str) -> None:
        """Queue the fit of a job's words. Raises QueueUnavailable."""
        self._send_once(FIT_WORDS, [job], LEARN)

    def go_on(self, job: JobRecord, items: Sequence[str], unread: Sequence[str]) -> None:
        """Queue what a job needs next.

        Args:
            job: as it stands.
            items: that are to be labelled.
            unread: items whose tokens are still to be read, if it learns.

        Raises:
            QueueUnavailable
        """
        if not job.learns:
            self.label(job, items)
        elif unread:
            self.read_tokens(job, unread)
        else:
            self.fit_words(job.id)

    def take_due(self) -> dict[str, list[str]]:
        """Return, by job, the items that were put off (`Records.release`) and whose time has come."""
        due: dict[str, list[str]] = {}
        for member in self._records.redis.zrangebyscore(DELAYED, "-inf", time.time(), start=0, num=1000):
            # Two sweeps may see the same item: whoever removes it queues it. If that one dies in between, the item
            # is still `queued` in its record and is found as stalled.
            if self._records.redis.zrem(DELAYED, member):
                job, _, item = member.partition(":")
                due.setdefault(job, []).append(item)
        return due

    def build_export(self, export: str) -> None:
        """Queue the building of an export. Raises QueueUnavailable."""
        self._send_once(BUILD_EXPORT, [export], ERRANDS)

    def report(self, report: str, kind: ReportKind) -> None:
        """Queue the making of a report, or of the next piece of it. Raises QueueUnavailable."""
        task, queue = (EXAMINE_TAGS, BATCH) if kind == "doctor" else (COUNT_LABELS, ERRANDS)
        self._send_once(task, [report], queue)

    def deliver_webhooks(self) -> None:
        """Ask for due webhooks to be sent. Raises QueueUnavailable."""
        self._send_once(DELIVER_WEBHOOKS, [], ERRANDS)

    def delete_objects(self, job: str) -> None:
        """Queue the deletion of what is stored for a deleted job. Raises QueueUnavailable."""
        self._send_once(DELETE_OBJECTS, [job], ERRANDS)
        self.begun(FIT_WORDS, [job])  # a message that was lost with its worker is waited for no longer

    def delete_uploads(self) -> None:
        """Ask for uploads whose time is over to be deleted. Raises QueueUnavailable."""
        self._send_once(DELETE_UPLOADS, [], ERRANDS)

    def delete_training(self, training: str) -> None:
        """Queue the deletion of what is stored for a deleted training. Raises QueueUnavailable."""
        self._send_once(DELETE_TRAINING, [training], ERRANDS)

    def train(self, training: str) -> None:
        """Queue a training. Raises QueueUnavailable."""
        self._send_once(RUN_TRAINING, [training], TRAIN)

    def learn_again(self, job: str, relearning: str) -> None:
        """Have a labelling worker learn from a job's corrected labels. Raises QueueUnavailable."""
        self._send_once(LEARN_AGAIN, [job, relearning], INTERACTIVE)

    def sync_models(self) -> None:
        """Ask a worker to load and unload models as wanted. Raises QueueUnavailable."""
        self._send_once(SYNC_MODELS, [], INTERACTIVE)

    def pulse(self) -> None:
        """Have a labelling worker answer, unless the last such message still waits. Raises QueueUnavailable."""
        if not self._records.redis.llen(PULSE):
            self._send(ANSWER, [], PULSE)

    def shard_images(self, job: JobRecord) -> int:
        """Return how many images of a job make about `shard_seconds` of work."""
        return self._shard_images(_speed_field(job))

    def _shard_images(self, field: str) -> int:
        seconds = self._seconds_per_image(field)
        if seconds is None:
            return min(DEFAULT_SHARD_IMAGES, self._settings.max_shard_images)
        return max(1, min(self._settings.max_shard_images, int(self._settings.shard_seconds / max(seconds, 1e-6))))

    def seconds_per_image(self, job: JobRecord) -> float | None:
        """Return the measured seconds per image with a job's model and options, or None before any."""
        return self._seconds_per_image(_speed_field(job))

    def _seconds_per_image(self, field: str) -> float | None:
        found = self._records.redis.hget(SPEED, field)
        return float(found) if found else None

    def note_speed(self, job: JobRecord, seconds_per_image: float, *, reading: bool = False) -> None:
        """Remember how fast a shard was: one of labels, or one of tokens that were read."""
        field = _reading_field(job) if reading else _speed_field(job)
        before = self._seconds_per_image(field)
        mixed = seconds_per_image if before is None else before + _SPEED_MEMORY * (seconds_per_image - before)
        self._records.redis.hset(SPEED, field, f"{mixed:.6f}")

    def depths(self) -> dict[str, int]:
        """Return the waiting messages by queue, and those in hand under `unacked`."""
        pipeline = self._records.redis.pipeline(transaction=False)
        for queue in QUEUES:
            pipeline.llen(queue)
        pipeline.hlen("unacked")
        return dict(zip((*QUEUES, "unacked"), map(int, pipeline.execute()), strict=True))

    def interactive_waits(self) -> bool:
        """Say whether someone waits for an interactive answer."""
        return bool(self._records.redis.llen(INTERACTIVE))

    def begun(self, task: str, arguments: Sequence[object]) -> None:
        """Note that the message for an errand waits no longer: the next wish makes a new one."""
        self._records.redis.delete(waiting_key(task, arguments))

    def _send_once(self, task: str, arguments: list[object], queue: str) -> None:
        """Send a message unless one for the same errand waits.

        A note whose message was lost, with a server that crashed, is known by an empty queue.
        """
        client, waiting = self._records.redis, waiting_key(task, arguments)
        try:
            if not client.set(waiting, 1, nx=True, ex=_DAY_SECONDS) and client.llen(queue):
                return
        except redis.RedisError as error:
            raise QueueUnavailable(f"The queue takes no messages: {error}", fix="Try again later.") from None
        self._send(task, arguments, queue)

    def _send_shards(self, task: str, job: JobRecord, items: Sequence[str], field: str) -> int:
        size = self._shard_images(field)
        shards = [list(items[start : start + size]) for start in range(0, len(items), size)]
        for shard in shards:
            self._send(task, [job.id, shard, job.request_id], job.priority)
        return len(shards)

    def _send(self, task: str, arguments: list[object], queue: str) -> None:
        try:
            self._app.send_task(task, arguments, queue=queue)
        except (OperationalError, redis.RedisError, OSError) as error:
            raise QueueUnavailable(f"The queue takes no messages: {error}", fix="Try again later.") from None


def _reading_field(job: JobRecord) -> str:
    return f"{job.options.model_version}:tokens"


def _speed_field(job: JobRecord) -> str:
    return f"{job.options.model_version}:{job.options.label.digest()}"
