"""Job and item records in Redis.

All changes of state are scripts in `transitions`.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from toco.jobs.idempotency import KEPT_SECONDS, Promise
from toco.jobs.ids import new_id
from toco.jobs.job import (
    DEFAULT_WORKSPACE,
    POISON,
    Decision,
    ItemError,
    ItemRecord,
    ItemState,
    JobOptions,
    JobRecord,
    JobState,
    NewItem,
    Priority,
    Summary,
    classes_text,
)
from toco.jobs.job_index import newest_jobs
from toco.jobs.keys import (
    ITEMS,
    JOBS_ACTIVE,
    JOBS_CREATING,
    JOBS_FINISHED,
    JOBS_TRASH,
    LEASES,
    TRASH_ATTEMPTS,
    item_key,
    item_set,
    job_key,
)
from toco.jobs.learning import NewLearning
from toco.jobs.migrations import SCHEMA, schema_of
from toco.jobs.new_job import first_fields, write_items
from toco.jobs.revision import Revising
from toco.jobs.settings import Settings
from toco.jobs.transitions import DONE, FAILED, QUEUED, Transitions
from toco.model.errors import TocoError
from toco.model.photos.classes import Vocabulary
from toco.model.photos.tag_check import TagCheck

logger = logging.getLogger(__name__)

Measure = Literal["index", "doubt", "ignore_ratio", "area_ratio", "score", "open_tags", "empty_tags"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
_DELETION_WAIT_SECONDS = 10.0
_LONGEST_DELETION_WAIT_SECONDS = 3600.0
_DISK_MILLISECONDS = 2000  # servers write to disk once a second


class JobNotFound(TocoError):
    """No job has this id."""

    code = "job_not_found"
    kind = "not_found"


class ItemNotFound(TocoError):
    """The job has no item of this id."""

    code = "item_not_found"
    kind = "not_found"


class RecordsUnavailable(TocoError):
    """Redis does not answer."""

    code = "records_unavailable"
    kind = "unavailable"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on an item for a time.

    Attributes:
        job, item: which.
        token: proves the right when the work is handed in.
        attempt: 1 the first time.
    """

    job: str
    item: str
    token: str
    attempt: int


def connect(settings: Settings, *, patience_seconds: float = 2.0, answer_seconds: float = 10.0) -> "redis.Redis":
    """Return a client that reconnects by itself; values are text.

    Args:
        settings: name the server.
        patience_seconds: how long a command is tried while the server is away, about; 0 tries it once.
        answer_seconds: how long a server that hangs is waited for, each time.
    """
    return redis.Redis.from_url(
        settings.broker_url,
        decode_responses=True,
        health_check_interval=15,
        socket_connect_timeout=2,
        socket_timeout=answer_seconds,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), int(2 * patience_seconds)),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError],
    )


class Records:
    """Jobs and items. Safe to use from several threads."""

    def __init__(self, client: "redis.Redis") -> None:
        self.redis: Any = client  # typed as its own values: the client's annotations mix sync and async
        self.scripts = Transitions(client)

    def begin_job(self) -> str:
        """Return the id of a job about to be made; if that never ends, the sweep removes what was stored for it."""
        job = new_id()
        self.redis.zadd(JOBS_CREATING, {job: time.time()})
        return job

    def create_job(
        self,
        job: str,
        items: Sequence[NewItem],
        options: JobOptions,
        *,
        name: str = "",
        priority: Priority = "batch",
        key: str = "",
        workspace: str = DEFAULT_WORKSPACE,
        request_id: str = "",
        webhook: str = "",
        webhook_secret: str = "",
        promise: Promise | None = None,
        tags: TagCheck | None = None,
        revising: Revising | None = None,
        vocabulary: Vocabulary | None = None,
        learning: NewLearning | None = None,
    ) -> JobRecord:
        """Write a job and its items; readers see it whole or not at all.

        Returns:
            The job, or the one that was made before under the same promise; what is here of this one can go then.

        Raises:
            IdempotencyConflict: another request was promised something under the same key.
        """
        learning = learning or NewLearning()
        write_items(self.redis, job, items, learning)
        refused = sum(new.error is not None for new in items)
        fields = first_fields(len(items)) | {
            "name": name,
            "priority": priority,
            "options": options.model_dump_json(),
            "tags": (tags or TagCheck()).model_dump_json(),
            "key": key,
            "workspace": workspace,
            "request_id": request_id,
            "webhook": webhook,
            "webhook_secret": webhook_secret,
            "revising": revising.model_dump_json() if revising else "",
        }
        fields |= learning.to_hash() | ({"classes": classes_text(vocabulary)} if vocabulary else {})
        kept = [promise.record, promise.of(job), KEPT_SECONDS] if promise else ["", "", ""]
        flat = [part for pair in fields.items() for part in pair]
        earlier = self.scripts.open(args=[job, len(items) - refused, refused, *kept, *flat])
        if earlier and promise:
            return self.job(promise.kept_by(earlier))
        if priority == "batch":
            self._until_on_disk()
        return self.job(job)

    def promised(self, promise: Promise) -> str:
        """Return the job that was made under a promise and is still there, or an empty text.

        Raises:
            IdempotencyConflict
        """
        found = self.redis.get(promise.record)
        job = promise.kept_by(found) if found else ""
        return job if job and self.redis.exists(job_key(job)) else ""

    def _until_on_disk(self) -> None:
        """Wait until what was written is on disk, so that a promise made to a client outlives a power cut.

        An interactive client waits for its label anyway and would see the loss; it is spared the wait.
        """
        with contextlib.suppress(redis.ResponseError):  # a server without an append-only file, or of before 7.2
            written, _ = self.redis.execute_command("WAITAOF", 1, 0, _DISK_MILLISECONDS)
            if not written:
                logger.warning("the records are not on disk yet", extra={"waited_ms": _DISK_MILLISECONDS})

    def job(self, job: str) -> JobRecord:
        """Read a job. Raises JobNotFound."""
        found = self.redis.hgetall(job_key(job))
        if "state" not in found:
            raise _not_found(job)
        return JobRecord.from_hash(job, found)

    def jobs(
        self, *, workspace: str | None = None, state: JobState | None = None, before: str | None = None, limit: int = 50
    ) -> list[JobRecord]:
        """Return the newest jobs first; see `newest_jobs`."""
        return newest_jobs(self.redis, workspace=workspace, state=state, before=before, limit=limit)

    def require_seen(self, job: str, workspace: str) -> None:
        """Raise JobNotFound for a job of another workspace, as for one that is not there."""
        if (self.redis.hget(job_key(job), "workspace") or DEFAULT_WORKSPACE) != workspace:
            raise _not_found(job)

    def item(self, job: str, item: str) -> ItemRecord:
        """Read an item. Raises JobNotFound or ItemNotFound."""
        found = self.redis.hgetall(item_key(job, item))
        if "state" not in found:
            record = self.job(job)
            raise ItemNotFound(
                f"Job {job} has no item {item!r}.", fix=f"Its items are 0 to {record.total - 1}, six digits."
            )
        return ItemRecord.from_hash(job, item, found)

    def items(self, job: str, names: Sequence[str]) -> list[ItemRecord]:
        """Read several items of a job in the order of their ids; those that are gone are left out."""
        pipeline = self.redis.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(item_key(job, name))
        found = zip(names, pipeline.execute(), strict=True)
        return [ItemRecord.from_hash(job, name, values) for name, values in found if "state" in values]

    def item_ids(self, job: str, state: ItemState) -> list[str]:
        """Return the sorted ids of the items in a state."""
        return sorted(self.redis.smembers(item_set(job, "state", state)))

    def item_counts(self) -> dict[str, int]:
        """Return items by state over all jobs."""
        return {state: int(count) for state, count in self.redis.hgetall(ITEMS).items()}

    def lease(self, job: str, item: str, *, owner: str, seconds: float, max_attempts: int) -> Lease | str:
        """Take an item to work on it.

        Args:
            job: its job.
            item: which.
            owner: who asks: the queue message, so that its redelivery may take over at once.
            seconds: how long the item is ours unless we renew.
            max_attempts: an item that was taken this often already fails instead.

        Returns:
            The lease, or why there is none: `gone`, `busy`, `failed` (as of now), or the state it is in.
        """
        answer = self.scripts.lease(args=[job, item, owner, seconds, max_attempts, POISON.model_dump_json()])
        if answer[0] != "leased":
            return str(answer[0])
        return Lease(job, item, answer[1], int(answer[2]))

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """Keep a lease; False if it was lost."""
        return bool(self.scripts.renew(args=[lease.job, lease.item, lease.token, seconds]))

    def complete(self, lease: Lease, summary: Summary) -> str:
        """Mark an item done, after its artifacts are stored.

        Returns:
            `done`, `stale` (someone else has the item by now) or `gone` (the job was deleted).
        """
        return str(
            self.scripts.finish(
                args=[
                    lease.job,
                    lease.item,
                    lease.token,
                    DONE,
                    "summary",
                    summary.model_dump_json(),
                    *summary.indexed(),
                ]
            )
        )

    def fail(self, lease: Lease, error: TocoError) -> str:
        """Mark an item failed for good. Returns as `complete` does."""
        return str(
            self.scripts.finish(
                args=[lease.job, lease.item, lease.token, FAILED, "error", ItemError.of(error).model_dump_json()]
            )
        )

    def release(self, lease: Lease, error: TocoError, *, seconds: float) -> str:
        """Give an item back with the error of this attempt; it is queued again after a time.

        Returns:
            `queued`, `cancelled` (its job was), `stale` or `gone`.
        """
        text = ItemError.of(error).model_dump_json()
        args = [lease.job, lease.item, lease.token, QUEUED, "error", text, "after", seconds]
        return str(self.scripts.finish(args=args))

    def hand_back(self, lease: Lease) -> str:
        """Give an item back that was not begun; it has lost no attempt. Returns as `release` does."""
        attempts = lease.attempt - 1
        return str(self.scripts.finish(args=[lease.job, lease.item, lease.token, QUEUED, "attempts", attempts]))

    def reclaim_expired(self) -> dict[str, list[str]]:
        """Bring items whose lease ran out back to queued; return them by job. Those of cancelled jobs are cancelled."""
        reclaimed: dict[str, list[str]] = {}
        for member in self.redis.zrangebyscore(LEASES, "-inf", time.time(), start=0, num=1000):
            job, _, item = member.partition(":")
            if self.scripts.reclaim(args=[job, item]) == QUEUED:
                reclaimed.setdefault(job, []).append(item)
        return reclaimed

    def active_jobs(self) -> list[str]:
        """Return the jobs that are not over."""
        return list(self.redis.zrange(JOBS_ACTIVE, 0, -1))

    def progress_age(self, job: str) -> float:
        """Return the seconds since anything changed in a job."""
        return time.time() - float(self.redis.hget(job_key(job), "progress_at") or 0)

    def touch(self, job: str) -> None:
        """Note that a job was put back on the queue."""
        self.note(job, progress_at=f"{time.time():.6f}")

    def cancel(self, job: str) -> int:
        """Cancel the items that have not begun, and those that come back from a worker undone; return how many now.

        Raises:
            JobNotFound
        """
        count = int(self.scripts.cancel(args=[job]))
        if count < 0:
            self.job(job)
        return count

    def retry(self, job: str, states: Sequence[ItemState] = ("failed",)) -> list[str]:
        """Queue items again that are in one of the states and were not refused at submission; return their ids.

        Raises:
            JobNotFound
        """
        moved = self.scripts.retry(args=[job, *states])
        if moved is None:
            self.job(job)
        return sorted(moved or ())

    def decide(self, job: str, item: str, decision: Decision | None) -> None:
        """Store a person's verdict on an item, or remove it. Raises JobNotFound or ItemNotFound."""
        if not self.scripts.decide(args=[job, item, decision or ""]):
            self.item(job, item)

    def finished_before(self, moment: float) -> list[str]:
        """Return jobs that ended before a time (seconds since 1970)."""
        return list(self.redis.zrangebyscore(JOBS_FINISHED, "-inf", moment, start=0, num=100))

    def abandoned(self, seconds: float) -> list[str]:
        """Return jobs whose submission began that long ago and never ended, and those to be deleted further now."""
        now = time.time()
        creating = self.redis.zrangebyscore(JOBS_CREATING, "-inf", now - seconds)
        return [*creating, *self.redis.zrangebyscore(JOBS_TRASH, "-inf", now)]

    def put_off_deletion(self, job: str) -> None:
        """Note an attempt to delete a job's objects; the next is due after a wait that doubles each time."""
        attempts = int(self.redis.hincrby(TRASH_ATTEMPTS, job, 1))
        wait = min(_LONGEST_DELETION_WAIT_SECONDS, _DELETION_WAIT_SECONDS * 2 ** (attempts - 1))
        self.redis.zadd(JOBS_TRASH, {job: time.time() + wait}, xx=True)

    def delete_job(self, job: str) -> None:
        """Delete a job's records. Its objects are still there: `forget` it once they are gone too."""
        self.scripts.delete(args=[job, *MEASURES])

    def forget(self, job: str) -> None:
        """Note that nothing of a deleted job is left."""
        self.redis.zrem(JOBS_TRASH, job)
        self.redis.zrem(JOBS_CREATING, job)
        self.redis.hdel(TRASH_ATTEMPTS, job)

    def note(self, job: str, **fields: str) -> bool:
        """Write fields of a job, unless it was deleted: a late word must not bring a part of it back."""
        return self.change(job_key(job), fields)

    def change(self, key: str, fields: Mapping[str, str | int]) -> bool:
        """Change fields of a hash that is there; False, and nothing is written, if it is not."""
        return bool(self.scripts.note(args=[key, *(part for pair in fields.items() for part in pair)]))

    def take_tokens(self, bucket: str, *, most: float, per_second: float, cost: float = 1) -> tuple[float, float]:
        """Take tokens from a bucket that refills steadily.

        Returns:
            How many are left, and the seconds to wait: 0 if the tokens were taken.
        """
        left, wait = self.scripts.take(args=[bucket, most, per_second, cost])
        return float(left), float(wait)

    def check(self) -> None:
        """Raise RecordsUnavailable if Redis does not answer, or its records are not those of this version."""
        with self.answering():
            schema = schema_of(self.redis)
        if schema != SCHEMA:
            raise RecordsUnavailable(
                f"The records have schema {schema}, not {SCHEMA}.", fix="Wait until they are brought up to date."
            )

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Raise RecordsUnavailable if Redis does not answer within the block."""
        try:
            yield
        except redis.RedisError as error:
            raise RecordsUnavailable(f"Redis does not answer: {error}", fix="Try again later.") from None


def _not_found(job: str) -> JobNotFound:
    return JobNotFound(f"No job {job!r}.", fix="List the jobs with GET /v1/jobs; it may have been deleted.")
