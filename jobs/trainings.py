"""Records of trainings in Redis. All changes of state are scripts in `training_transitions`."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from toco.jobs.idempotency import KEPT_SECONDS, Promise
from toco.jobs.ids import new_id
from toco.jobs.job import ItemError
from toco.jobs.keys import (
    TRAININGS,
    TRAININGS_ACTIVE,
    TRAININGS_TRASH,
    training_losses,
    training_record,
    trainings_in_workspace,
)
from toco.jobs.migrations import SCHEMA
from toco.jobs.records import Records
from toco.jobs.training import NewTraining, TrainingDecision, TrainingRecord
from toco.jobs.training_transitions import TrainingTransitions
from toco.model.errors import TocoError

MOST_LOSSES: Final = 500  # of a training that are kept
_UNFINISHED_SECONDS: Final = 3600.0  # no request takes longer to become a training

DIED: Final = ItemError(
    code="training_died",
    kind="internal",
    detail="The process ended at every attempt, without any progress.",
    fix="Look at the log of the training worker: it may lack memory. Then resume the training.",
)


class TrainingNotFound(TocoError):
    """No training has this id."""

    code = "training_not_found"
    kind = "not_found"


class TrainingConflict(TocoError):
    """The training is in a state in which this cannot be done."""

    code = "training_conflict"
    kind = "conflict"


@dataclass(frozen=True, slots=True)
class TrainingLease:
    """The right to work on a training for a time.

    Attributes:
        training: which.
        token: proves the right.
    """

    training: str
    token: str


class Trainings:
    """Trainings of all workspaces. Safe to use from several threads.

    Args:
        records: whose server holds them.
        lease_seconds: how long one stays with a silent worker, and a message may be on its way.
    """

    def __init__(self, records: Records, *, lease_seconds: float) -> None:
        self._redis: Any = records.redis
        self._scripts = TrainingTransitions(records.redis)
        self._lease_seconds = lease_seconds

    def begin(self) -> str:
        """Return the id of a training about to be made; if that never ends, the sweep removes what was stored."""
        training = new_id()
        self._redis.zadd(TRAININGS_TRASH, {training: time.time() + _UNFINISHED_SECONDS})
        return training

    def create(self, training: str, new: NewTraining, promise: Promise | None = None) -> TrainingRecord:
        """Write a training's record, after its photos are stored.

        Returns:
            It, or the one that was made before under the same promise; what is stored for this one can go then.

        Raises:
            IdempotencyConflict: another request was promised something under the same key.
        """
        kept = [promise.record, promise.of(training), KEPT_SECONDS] if promise else ["", "", ""]
        fields = {"schema": SCHEMA} | new.to_hash()
        flat = [part for pair in fields.items() for part in pair]
        earlier = self._scripts.open(args=[training, new.workspace, self._lease_seconds, *kept, *flat])
        return self.get(promise.kept_by(earlier) if earlier and promise else training)

    def promised(self, promise: Promise) -> str:
        """Return the training made under a promise, or an empty text if none is there. Raises IdempotencyConflict."""
        found = self._redis.get(promise.record)
        training = promise.kept_by(found) if found else ""
        return training if training and self._redis.exists(training_record(training)) else ""

    def get(self, training: str) -> TrainingRecord:
        """Read a training. Raises TrainingNotFound."""
        found = self._redis.hgetall(training_record(training))
        if "state" not in found:
            raise _not_found(training)
        return TrainingRecord.from_hash(training, found)

    def require_seen(self, training: str, workspace: str) -> None:
        """Raise TrainingNotFound for a training of another workspace, as for one that is not there."""
        if self._redis.hget(training_record(training), "workspace") != workspace:
            raise _not_found(training)

    def newest(self, *, workspace: str | None, before: str | None = None, limit: int = 50) -> list[TrainingRecord]:
        """Return the newest trainings of a workspace first; None finds those of all."""
        index = TRAININGS if workspace is None else trainings_in_workspace(workspace)
        names = self._redis.zrevrangebylex(index, f"({before}" if before else "+", "-", start=0, num=limit)
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(training_record(name))
        found = zip(names, pipeline.execute(), strict=True)
        return [TrainingRecord.from_hash(name, values) for name, values in found if "state" in values]

    def losses(self, training: str) -> list[dict[str, float]]:
        """Return the losses that were kept, each with its `step` over all rounds, in order."""
        return [json.loads(row) for row in self._redis.zrange(training_losses(training), 0, -1)]

    def lease(self, training: str, *, owner: str, max_attempts: int) -> TrainingLease | str:
        """Take a training to work on it.

        Args:
            training: which.
            owner: who asks: the queue message, so that its redelivery may take over at once.
            max_attempts: one that was taken this often without any progress fails instead.

        Returns:
            The lease, or why there is none: `gone`, `busy`, `failed` (as of now), or the state it is in.
        """
        args = [training, owner, self._lease_seconds, max_attempts, DIED.model_dump_json()]
        answer = self._scripts.lease(args=args)
        return TrainingLease(training, answer[1]) if answer[0] == "leased" else str(answer[0])

    def renew(
        self,
        lease: TrainingLease,
        fields: Mapping[str, str | int | float] | None = None,
        *,
        losses: Mapping[str, float] | None = None,
    ) -> str:
        """Keep a lease, and note how far the work is.

        Args:
            lease: held.
            fields: of the record that changed.
            losses: to keep, with their `step` over all rounds; those of later steps, from a run that was lost, go.

        Returns:
            `ok`, `cancel` (someone wants it cancelled) or `lost`.
        """
        step = "" if losses is None else losses["step"]
        flat = [part for pair in (fields or {}).items() for part in pair]
        args = [lease.training, lease.token, self._lease_seconds, step, json.dumps(losses), MOST_LOSSES, *flat]
        return str(self._scripts.renew(args=args))

    def succeed(self, lease: TrainingLease, *, version: int, figures: str) -> str:
        """Note that the model is trained, judged and published. Returns the state reached, or `lost`."""
        fields = ["stage", "", "version", version, "figures", figures, "attempts", 0]
        return str(self._scripts.finish(args=[lease.training, lease.token, "succeeded", 0, *fields]))

    def fail(self, lease: TrainingLease, error: TocoError) -> str:
        """Note that a training cannot go on. Returns the state reached, or `lost`."""
        fields = ["error", ItemError.of(error).model_dump_json()]
        return str(self._scripts.finish(args=[lease.training, lease.token, "failed", 0, *fields]))

    def hand_back(self, lease: TrainingLease, error: TocoError | None = None, *, seconds: float = 0.0) -> str:
        """Give a training back to be gone on with from its last checkpoint.

        Args:
            lease: held.
            error: of this attempt, which then counts as one; None where the worker only has to go.
            seconds: until it is queued again.

        Returns:
            `queued`, `cancelled` (someone wanted that) or `lost`.
        """
        fields = ["attempts", 0] if error is None else ["error", ItemError.of(error).model_dump_json()]
        return str(self._scripts.finish(args=[lease.training, lease.token, "queued", seconds, *fields]))

    def cancelled(self, lease: TrainingLease) -> str:
        """Note that the work on a training was stopped, as wanted. Returns the state reached, or `lost`."""
        return str(self._scripts.finish(args=[lease.training, lease.token, "cancelled", 0]))

    def due(self) -> list[str]:
        """Return trainings to look after now: their lease ran out, or their message may be lost."""
        return list(self._redis.zrangebyscore(TRAININGS_ACTIVE, "-inf", time.time(), start=0, num=100))

    def look(self, training: str) -> str:
        """Look after a training, and bring it back if its lease ran out. Returns its state, empty if it is gone."""
        return str(self._scripts.look(args=[training, self._lease_seconds]))

    def cancel(self, training: str) -> TrainingRecord:
        """Cancel a training that waits, and ask whoever works on one to stop. Raises TrainingNotFound."""
        self._scripts.cancel(args=[training])
        return self.get(training)

    def resume(self, training: str) -> TrainingRecord:
        """Let a training that failed or was cancelled go on from its last checkpoint.

        Raises:
            TrainingNotFound
            TrainingConflict: it is in another state.
        """
        state = self._scripts.resume(args=[training, self._lease_seconds])
        record = self.get(training)
        if state not in ("failed", "cancelled"):
            raise TrainingConflict(f"Training {training} is {state}.", fix="Only a failed or cancelled one is resumed.")
        return record

    def decide(self, training: str, decision: TrainingDecision) -> TrainingRecord:
        """Note what was decided on a model that was trained.

        Raises:
            TrainingNotFound
            TrainingConflict: it is not trained, or was thrown away.
        """
        require_trained(self.get(training))
        self._scripts.decide(args=[training, decision])
        return self.get(training)

    def delete(self, training: str) -> None:
        """Delete a training that is over; its objects go soon after, a published model stays.

        Raises:
            TrainingNotFound
            TrainingConflict: it is not over.
        """
        state = self._scripts.delete(args=[training])
        if not state:
            raise _not_found(training)
        if state in ("queued", "running"):
            raise TrainingConflict(f"Training {training} is {state}.", fix="Cancel it first.")

    def discard_begun(self, training: str) -> None:
        """Let what was stored for a training that did not come to be go at once."""
        self._redis.zadd(TRAININGS_TRASH, {training: time.time()})

    def trash(self) -> list[str]:
        """Return the trainings whose objects are to be deleted now."""
        return list(self._redis.zrangebyscore(TRAININGS_TRASH, "-inf", time.time(), start=0, num=100))

    def put_off_deletion(self, training: str) -> None:
        """Note that the objects of a training are being deleted; should that fail, it is due again later."""
        self._redis.zadd(TRAININGS_TRASH, {training: time.time() + 60.0}, xx=True)

    def forget(self, training: str) -> None:
        """Note that nothing of a deleted training is left."""
        self._redis.zrem(TRAININGS_TRASH, training)


def require_trained(record: TrainingRecord) -> int:
    """Return the version that a training led to. Raises TrainingConflict if there is none, or it was thrown away."""
    if record.state != "succeeded" or record.version is None:
        raise TrainingConflict(f"Training {record.id} is {record.state}.", fix="Wait until it has succeeded.")
    if record.decision == "discarded":
        raise TrainingConflict(f"The model of training {record.id} was thrown away.", fix="Train again.")
    return record.version


def _not_found(training: str) -> TrainingNotFound:
    return TrainingNotFound(f"No training {training!r}.", fix="List them with GET /v1/trainings.")
