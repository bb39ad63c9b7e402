"""Learning again from a job's corrected labels: what was asked for, how far it is, what it changed, and taking it back.

A worker fits an adjustment of the model to the corrected masks (`queued`, `fitting`), then a job in no list labels all
items again that no person has decided (`labelling`). Its labels are revisions, so all of it can be taken back as one.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from toco.jobs.ids import new_id
from toco.jobs.job import ItemError, ItemRecord
from toco.jobs.keys import (
    RELEARNINGS_ACTIVE,
    job_key,
    lock_of,
    relearning_changes,
    relearning_record,
    relearnings_key,
)
from toco.jobs.records import JobNotFound, Records
from toco.jobs.revisions import RevisionOutdated, Revisions
from toco.model.errors import TocoError

State = Literal["queued", "fitting", "labelling", "done", "failed", "undone"]
_PAGE: Final = 500


class RelearningNotFound(TocoError):
    """The job did not learn again under this id."""

    code = "relearning_not_found"
    kind = "not_found"


class NothingCorrected(TocoError):
    """No label of the job was corrected or accepted by a person."""

    code = "nothing_corrected"
    kind = "conflict"


@dataclass(frozen=True, slots=True)
class Relearning:
    """What was learnt again once. Times are seconds since 1970.

    Attributes:
        id: time-ordered.
        job: whose.
        state: `labelling` until the job that labels has ended.
        who: asked for it.
        created_at: when.
        corrected: masks that a person made and that were learnt from.
        accepted: further labels that a person accepted and that were learnt from.
        labelling: the job that labels again, or empty.
        changed: items that have a new revision.
        error: why it failed.
    """

    id: str
    job: str
    state: State
    who: str
    created_at: float
    corrected: int
    accepted: int
    labelling: str
    changed: int
    error: ItemError | None


@dataclass(frozen=True, slots=True)
class Change:
    """An item that was labelled again.

    Attributes:
        item: id.
        revision: number of the new one.
        iou: with the mask before.
    """

    item: str
    revision: int
    iou: float


class Relearnings:
    """Records of learning again. Safe to use from several threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._redis = records.redis

    def begin(self, job: str, who: str) -> Relearning:
        """Record that a job shall learn again. Raises JobNotFound."""
        self._records.job(job)
        relearning = new_id()
        fields = {"state": "queued", "who": who, "created_at": f"{time.time():.6f}", "labelling": "", "error": ""}
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(relearning_record(job, relearning), mapping=fields | {"corrected": 0, "accepted": 0})
        pipeline.zadd(relearnings_key(job), {relearning: time.time()})
        pipeline.zadd(RELEARNINGS_ACTIVE, {f"{job}:{relearning}": time.time()})
        pipeline.execute()
        return self.get(job, relearning)

    def get(self, job: str, relearning: str) -> Relearning:
        """Return one. Raises JobNotFound, RelearningNotFound."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hgetall(relearning_record(job, relearning))
        pipeline.zcard(relearning_changes(job, relearning))
        found, changed = pipeline.execute()
        if "state" not in found:
            self._records.job(job)
            raise RelearningNotFound(
                f"Job {job} did not learn again as {relearning!r}.", fix="List it with GET /v1/jobs/{job}/relearn."
            )
        state = found["state"]
        if state == "labelling" and self._is_over(found["labelling"]):
            state = "done"
        return Relearning(
            id=relearning,
            job=job,
            state=state,
            who=found["who"],
            created_at=float(found["created_at"]),
            corrected=int(found["corrected"]),
            accepted=int(found["accepted"]),
            labelling=found["labelling"],
            changed=int(changed),
            error=ItemError.model_validate_json(found["error"]) if found["error"] else None,
        )

    def of_job(self, job: str) -> list[Relearning]:
        """Return all of a job, the newest first. Raises JobNotFound."""
        self._records.job(job)
        return [self.get(job, found) for found in self._redis.zrevrange(relearnings_key(job), 0, -1)]

    def changes(self, job: str, relearning: str, *, start: int = 0, limit: int = 100) -> list[Change]:
        """Return what changed, what changed most first."""
        found = self._redis.zrange(relearning_changes(job, relearning), start, start + limit - 1, withscores=True)
        return [Change(*_place(member), iou) for member, iou in found]

    def note_change(self, job: str, relearning: str, item: str, revision: int, iou: float) -> None:
        """Note that an item has a new revision; twice changes nothing."""
        if self._redis.exists(relearning_record(job, relearning)):
            self._redis.zadd(relearning_changes(job, relearning), {f"{item}:{revision}": iou})

    def note(self, job: str, relearning: str, **fields: str | int) -> bool:
        """Change fields of a record, unless its job was deleted meanwhile."""
        return self._records.change(relearning_record(job, relearning), fields)

    def is_undone(self, job: str, relearning: str) -> bool:
        """Say whether it was taken back, or is gone."""
        return self._redis.hget(relearning_record(job, relearning), "state") in (None, "undone")

    def fitted(self, job: str, relearning: str) -> None:
        """Note that nothing is left to fit, however it ended."""
        self._redis.zrem(RELEARNINGS_ACTIVE, f"{job}:{relearning}")

    def stalled(self, seconds: float) -> list[tuple[str, str]]:
        """Return job and id of what nothing was heard of for a time, and note that it was looked at."""
        found = self._redis.zrangebyscore(RELEARNINGS_ACTIVE, "-inf", time.time() - seconds)
        for member in found:
            self._redis.zadd(RELEARNINGS_ACTIVE, {member: time.time()}, xx=True)
        return [tuple(member.split(":")) for member in found]

    @contextmanager
    def locked(self, job: str, relearning: str, owner: str, *, seconds: float) -> Iterator[bool]:
        """Hold the right to fit; yields whether it is ours."""
        lock = lock_of(relearning_record(job, relearning))
        is_ours = bool(self._redis.set(lock, owner, nx=True, ex=math.ceil(seconds)))
        try:
            yield is_ours
        finally:
            if is_ours:
                self._records.scripts.unlock(args=[lock, owner])

    def keep_lock(self, job: str, relearning: str, *, seconds: float) -> None:
        """Say that the fit goes on."""
        self._redis.expire(lock_of(relearning_record(job, relearning)), math.ceil(seconds))
        self._redis.zadd(RELEARNINGS_ACTIVE, {f"{job}:{relearning}": time.time()}, xx=True)

    def undo(self, job: str, relearning: str, revisions: Revisions) -> int:
        """Take back what was learnt again: each item whose current revision came of it goes back to the one before.

        What a person changed since stays. Doing it twice changes nothing.

        Returns:
            How many items went back now.

        Raises:
            JobNotFound, RelearningNotFound
        """
        found = self.get(job, relearning)
        self.note(job, relearning, state="undone")
        self.fitted(job, relearning)
        if found.labelling and self._redis.exists(job_key(found.labelling)):
            self._records.cancel(found.labelling)
        count = start = 0
        while page := self.changes(job, relearning, start=start, limit=_PAGE):
            for change in page:
                count += self._took_back(job, change, revisions)
            start += len(page)
        return count

    def _took_back(self, job: str, change: Change, revisions: Revisions) -> bool:
        known = revisions.find(job, change.item, change.revision)
        if not known.is_current or known.decision is not None or known.revision.based_on is None:
            return False
        try:
            revisions.choose(job, change.item, known.revision.based_on, expected=change.revision)
        except RevisionOutdated:
            return False
        return True

    def _is_over(self, labelling: str) -> bool:
        try:
            return self._records.job(labelling).is_final
        except JobNotFound:
            return True


def is_undecided(item: ItemRecord) -> bool:
    """Say whether an item is labelled again: it has a label that no person judged or made."""
    return item.state == "done" and item.summary is not None and not item.is_decided


def _place(member: str) -> tuple[str, int]:
    item, _, revision = member.partition(":")
    return item, int(revision)
