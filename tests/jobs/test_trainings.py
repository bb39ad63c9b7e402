"""Records of trainings: who works on one, who may not, and what is left when somebody dies."""

import time

import pytest

from tests.trainings import new_training
from toco.jobs.idempotency import IdempotencyConflict, Promise
from toco.jobs.keys import TRAININGS, TRAININGS_ACTIVE, TRAININGS_TRASH, training_losses, training_record
from toco.jobs.store import StorageUnavailable
from toco.jobs.trainings import TrainingConflict, TrainingLease, TrainingNotFound, Trainings
from toco.model.errors import InvalidOption
from toco.model.training.figures import ModelFigures, TrainingFigures

LEASE = 60.0
ATTEMPTS = 3
FIGURES = TrainingFigures(
    photos=2,
    before=ModelFigures(model="tiny@0", recognised=0.5, open_share=0.2),
    after=ModelFigures(model="kitchen@1", recognised=None, open_share=0.1),
    classes=(),
).model_dump_json()


@pytest.fixture
def trainings(records):
    return Trainings(records, lease_seconds=LEASE)


@pytest.fixture
def made(trainings):
    return trainings.create(trainings.begin(), new_training()).id


def take(trainings, training, owner="w1") -> TrainingLease:
    lease = trainings.lease(training, owner=owner, max_attempts=ATTEMPTS)
    assert isinstance(lease, TrainingLease), lease
    return lease


def lapse(records, training) -> None:
    """Let the lease of a training run out."""
    records.redis.hset(training_record(training), "lease_until", time.time() - 1)
    records.redis.zadd(TRAININGS_ACTIVE, {training: time.time() - 1})


def test_a_training_is_what_was_asked_for(trainings, made):
    record = trainings.get(made)
    assert record.asked == new_training()
    assert (record.state, record.attempts, record.revision, record.is_final) == ("queued", 0, 0, False)
    with pytest.raises(TrainingNotFound, match="'nobody'"):
        trainings.get("nobody")


def test_from_queued_to_succeeded(trainings, made):
    lease = take(trainings, made)
    assert trainings.get(made).state == "running"
    assert trainings.renew(lease, {"stage": "judging", "step": 3, "of": 4, "seconds_left": 1.5}) == "ok"
    record = trainings.get(made)
    assert (record.stage, record.step, record.of, record.seconds_left) == ("judging", 3, 4, 1.5)
    assert trainings.succeed(lease, version=7, figures=FIGURES) == "succeeded"
    record = trainings.get(made)
    assert (record.state, record.version, record.is_final) == ("succeeded", 7, True)
    assert record.figures.model_dump_json() == FIGURES
    assert record.finished_at >= record.started_at >= record.created_at
    assert trainings.renew(lease) == trainings.succeed(lease, version=8, figures=FIGURES) == "lost"
    assert trainings.lease(made, owner="w2", max_attempts=ATTEMPTS) == "succeeded"
    assert trainings.due() == []


def test_one_at_a_time_holds_it(trainings, records, made):
    first = take(trainings, made)
    assert trainings.lease(made, owner="w2", max_attempts=ATTEMPTS) == "busy"
    lapse(records, made)
    second = take(trainings, made, "w2")
    for late in (trainings.renew(first, {"stage": "late"}), trainings.fail(first, InvalidOption("late"))):
        assert late == "lost"
    assert trainings.get(made).stage == ""
    assert trainings.renew(second) == "ok"
    assert trainings.lease("gone", owner="w1", max_attempts=ATTEMPTS) == "gone"


def test_a_lease_that_ran_out_is_found(trainings, records, made):
    take(trainings, made)
    assert trainings.due() == []
    lapse(records, made)
    assert trainings.due() == [made]
    assert trainings.look(made) == "queued"
    assert trainings.get(made).state == "queued"
    assert trainings.due() == [], "looked after for now"


def test_a_message_that_was_lost_is_found(trainings, records, made):
    assert trainings.due() == []
    records.redis.zadd(TRAININGS_ACTIVE, {made: time.time() - 1})
    assert (trainings.due(), trainings.look(made)) == ([made], "queued")


def test_one_that_dies_every_time_fails_unless_it_gets_on(trainings, records, made):
    for attempt in range(ATTEMPTS):
        lease = take(trainings, made, f"w{attempt}")
        lapse(records, made)
    assert trainings.lease(made, owner="w9", max_attempts=ATTEMPTS) == "failed"
    record = trainings.get(made)
    assert (record.state, record.error.code) == ("failed", "training_died")
    assert trainings.resume(made).state == "queued"
    for attempt in range(2 * ATTEMPTS):
        lease = take(trainings, made, f"x{attempt}")
        assert trainings.renew(lease, {"attempts": 0}) == "ok"  # a checkpoint was stored
        lapse(records, made)
    assert trainings.get(made).state == "running"


def test_the_error_of_the_last_attempt_is_the_one_that_stays(trainings, made):
    for attempt in range(ATTEMPTS):
        lease = take(trainings, made, f"w{attempt}")
        assert trainings.hand_back(lease, StorageUnavailable("away"), seconds=5) == "queued"
        assert trainings.get(made).error.code == "storage_unavailable"
    assert trainings.lease(made, owner="w9", max_attempts=ATTEMPTS) == "failed"
    assert trainings.get(made).error.code == "storage_unavailable"


def test_a_worker_that_has_to_go_costs_no_attempt(trainings, made):
    for attempt in range(2 * ATTEMPTS):
        assert trainings.hand_back(take(trainings, made, f"w{attempt}")) == "queued"


def test_cancelling(trainings, records, made):
    assert trainings.cancel(made).state == "cancelled"
    assert trainings.resume(made).state == "queued"
    lease = take(trainings, made)
    assert trainings.cancel(made).cancel_requested
    assert trainings.renew(lease) == "cancel"
    assert trainings.cancelled(lease) == "cancelled"
    assert not trainings.get(made).cancel_requested
    assert trainings.get(made).started_at is not None
    assert trainings.resume(made).started_at is None, "the time that it may take begins anew"
    lease = take(trainings, made)
    trainings.cancel(made)
    assert trainings.hand_back(lease) == "cancelled", "not queued for somebody who does not want it"
    trainings.resume(made)
    take(trainings, made)
    trainings.cancel(made)
    lapse(records, made)
    assert trainings.look(made) == "cancelled", "whoever had it died"
    assert trainings.cancel(made).state == "cancelled"


def test_only_what_ended_without_a_model_is_resumed(trainings, made):
    with pytest.raises(TrainingConflict, match="is queued"):
        trainings.resume(made)
    with pytest.raises(TrainingNotFound):
        trainings.resume("0" * 26)


def test_losses_are_kept_by_step_and_those_of_a_lost_run_go(trainings, made):
    lease = take(trainings, made)
    for step in (1, 2, 3, 4):
        trainings.renew(lease, losses={"step": step, "cls": step / 10})
    for step in (3, 4):  # gone on from a checkpoint at step 2
        trainings.renew(lease, losses={"step": step, "cls": 0.9})
    assert trainings.losses(made) == [
        {"step": 1, "cls": 0.1},
        {"step": 2, "cls": 0.2},
        {"step": 3, "cls": 0.9},
        {"step": 4, "cls": 0.9},
    ]


def test_what_is_decided(trainings, made):
    with pytest.raises(TrainingConflict, match="is queued"):
        trainings.decide(made, "promoted")
    trainings.succeed(take(trainings, made), version=1, figures=FIGURES)
    assert trainings.decide(made, "promoted").decision == "promoted"
    assert trainings.decide(made, "discarded").decision == "discarded"
    with pytest.raises(TrainingConflict, match="thrown away"):
        trainings.decide(made, "promoted")


def test_a_deleted_training_leaves_nothing_but_a_note_for_its_objects(trainings, records, made):
    lease = take(trainings, made)
    trainings.renew(lease, losses={"step": 1, "cls": 1.0})
    with pytest.raises(TrainingConflict, match="is running"):
        trainings.delete(made)
    trainings.fail(lease, InvalidOption("no"))
    trainings.delete(made)
    assert records.redis.keys(f"*{made}*") == []
    assert records.redis.zrange(TRAININGS, 0, -1) == []
    assert not records.redis.exists(training_losses(made))
    assert trainings.trash() == [made]
    trainings.put_off_deletion(made)
    assert trainings.trash() == []
    trainings.forget(made)
    assert not records.redis.zcard(TRAININGS_TRASH)
    with pytest.raises(TrainingNotFound):
        trainings.delete(made)


def test_what_never_became_a_training_is_thrown_away_after_an_hour(trainings, records):
    training = trainings.begin()
    assert 3500 < records.redis.zscore(TRAININGS_TRASH, training) - time.time() < 3700
    trainings.create(training, new_training())
    assert not records.redis.zcard(TRAININGS_TRASH)


def test_the_same_request_makes_one_training(trainings):
    promise = Promise("ann", "k1", "said")
    first = trainings.create(trainings.begin(), new_training(), promise)
    assert trainings.promised(promise) == first.id
    second = trainings.create(trainings.begin(), new_training(), promise)
    assert second.id == first.id
    assert [record.id for record in trainings.newest(workspace=None)] == [first.id]
    with pytest.raises(IdempotencyConflict):
        trainings.promised(Promise("ann", "k1", "said otherwise"))
    trainings.cancel(first.id)
    trainings.delete(first.id)
    assert trainings.promised(promise) == ""
    assert trainings.create(trainings.begin(), new_training(), promise).id != first.id


def test_workspaces_see_their_own(trainings):
    ids = [trainings.create(trainings.begin(), new_training(workspace=name)).id for name in ("farm", "zoo", "farm")]
    newest = sorted(ids, reverse=True)  # by id: of two that were made in one millisecond, either is the newer one
    assert [record.id for record in trainings.newest(workspace="farm")] == [one for one in newest if one != ids[1]]
    assert [record.id for record in trainings.newest(workspace=None, before=newest[0])] == newest[1:]
    assert [record.id for record in trainings.newest(workspace=None, limit=1)] == newest[:1]
    trainings.require_seen(ids[0], "farm")
    for training, workspace in ((ids[0], "zoo"), ("0" * 26, "farm")):
        with pytest.raises(TrainingNotFound):
            trainings.require_seen(training, workspace)
