"""The life of jobs as a state machine: any order of steps, and death between any two commands, keeps the laws.

A real server, the real records, queue decisions, exports' records and sweep; messages are lists, workers are the calls
that a shard makes. `make stories` tells more than CI does.
"""

import json
import os
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.workers.mortal import MortalConnection, check_laws, mortal_client, snapshot, states_of
from toco.jobs.broker import LABEL_SHARD, READ_TOKENS
from toco.jobs.exports import ExportRequest, Exports
from toco.jobs.idempotency import IdempotencyConflict, Promise
from toco.jobs.job import ItemError, JobOptions, NewItem, Summary
from toco.jobs.keys import DELAYED, JOBS, JOBS_ACTIVE, JOBS_CREATING, JOBS_TRASH, LEASES, SWEEP, item_key, job_key
from toco.jobs.learning import LearningPlan, LearntWords, NewLearning
from toco.jobs.learning_records import LearningRecords
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.outbound import Outbound
from toco.jobs.published_models import PublishedVersion
from toco.jobs.queue import WorkQueue
from toco.jobs.records import ItemNotFound, JobNotFound, Lease, Records
from toco.jobs.revision import Revision
from toco.jobs.revisions import ItemNotLabelled, NewRevision, Revisions
from toco.jobs.settings import load_settings
from toco.jobs.store import StorageFull, Store
from toco.model.options import preset_options
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import UnreadableImage
from toco.model.spec import BackboneSpec, ModelSpec
from toco.workers.leases import give_back
from toco.workers.sweep import Sweep
from toco.workers.webhooks import Webhooks

STORIES = int(os.environ.get("TOCO_STORIES", "80"))
STEPS = 50
OPTIONS = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
SPEC = ModelSpec(name="things", backbone=BackboneSpec(name="words"), classes=Vocabulary.of_names(("mug",)).classes)
REFUSED = NewItem("x.txt", "", error=ItemError(code="unsupported_image_format", kind="unsupported", detail="no"))
SUMMARY = Summary(
    tags=("cat",), tag_source="user", ignore_ratio=0.1, area_ratio=0.2, score=0.9, doubt=0.5, width=8, height=6
)
CORRECTED = SUMMARY.model_copy(update={"tags": ("cat", "dog"), "empty_tags": ("cat",), "doubt": 0.0})
ANY = st.integers(0, 99)
FUSE = st.sampled_from([None, None, None, None, 0, 1, 2, 3, 4, 5, 7, 9])


class PlainQueue(WorkQueue):
    """The real decisions; a message is a line of a list, and sending it one command that may be the last."""

    def _send(self, task: str, arguments: list[object], queue: str) -> None:
        self._records.redis.rpush(queue, json.dumps([task, *arguments]))


class LifeOfJobs(RuleBasedStateMachine):
    """Clients, workers and the sweep, each of which may die."""

    url = ""
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.settings = load_settings(
            redis_url=self.url,
            store_url="memory://",
            max_shard_images=2,
            max_attempts=6,
            lease_seconds=10,
            _env_file=None,
        )
        self.mortal = mortal_client(self.url)
        self.mortal.flushdb()
        self.records = Records(self.mortal)
        self.sound = self.mortal  # the same client, while no fuse burns
        self.queue = PlainQueue(self.settings, self.records)
        self.revisions_of_items = Revisions(self.records, Store.open(self.settings), max_pixels=1)
        self.exports = Exports(self.records, Store.open(self.settings), ModelCatalogue(self.settings, self.records))
        self.outbound = Outbound(self.settings)
        webhooks = Webhooks(self.settings, self.records, self.outbound)
        self.sweep = Sweep(self.settings, self.records, queue=self.queue, exports=self.exports, webhooks=webhooks)
        self.learning = LearningRecords(self.records)
        self.leases: list[Lease] = []
        self.taken: list[tuple[str, str, list[str], str]] = []
        self.reads: list[tuple[str, str]] = []
        self.fits: list[tuple[str, str]] = []
        self.messages = 0
        self.done: set[tuple[str, str]] = set()
        self.cancelled: set[tuple[str, str]] = set()
        self.revisions: dict[str, tuple[int, dict[str, str]]] = {}

    @initialize(good=st.integers(2, 4))
    def begin(self, good: int) -> None:
        """Every story begins with two jobs, one of them in work."""
        self.submit(good, 0, "", 0, None)
        self.take_message(2, None)
        self.submit(2, 1, "k1", 2, None)

    # -- clients ---------------------------------------------------------------------------------------------------

    @rule(
        good=st.sampled_from([2, 1, 3, 4, 0]),
        refused=st.sampled_from([0, 0, 1]),
        key=st.sampled_from(["", "", "k1", "k2"]),
        learns=st.sampled_from([0, 0, 1, 2]),
        fuse=FUSE,
    )
    def submit(self, good: int, refused: int, key: str, learns: int, fuse: int | None) -> None:
        items = [NewItem(f"{n}.jpg", f"k{n}", tags=("cat",)) for n in range(good)] + [REFUSED] * refused
        promise = Promise("ann", key, f"{good} {refused} {learns}") if key else None
        unread = tuple(f"{n:06d}" for n in range(min(good, learns)))
        plan = LearningPlan(name="things", words=("mug",), photos=len(unread), tokens=9) if unread else None
        with MortalConnection.dying(fuse):
            job = self.records.begin_job()
            try:
                record = self.records.create_job(
                    job,
                    items,
                    OPTIONS,
                    name=key,
                    promise=promise,
                    webhook="https://a.b/c",
                    learning=NewLearning(plan, unread),
                )
            except IdempotencyConflict:
                self.records.delete_job(job)
                return
            if record.id == job:
                self.queue.go_on(record, [f"{n:06d}" for n in range(good)], unread)
            else:
                self.records.delete_job(job)

    @precondition(lambda self: self._some_job(0))
    @rule(which=ANY, fuse=FUSE)
    def cancel(self, which: int, fuse: int | None) -> None:
        if job := self._some_job(which):
            with MortalConnection.dying(fuse):
                self.records.cancel(job)
                assert not self.records.item_ids(job, "queued")

    @precondition(lambda self: self._some_job(0))
    @rule(which=ANY, states=st.sampled_from([("failed",), ("cancelled",), ("failed", "cancelled")]), fuse=FUSE)
    def retry(self, which: int, states: tuple[str, ...], fuse: int | None) -> None:
        if job := self._some_job(which):
            self.cancelled = {item for item in self.cancelled if item[0] != job}
            with MortalConnection.dying(fuse):
                items = self.records.retry(job, states)
                record = self.records.job(job)
                if items:
                    self.queue.go_on(record, items, self.learning.unread(job) if record.learns else ())

    @precondition(lambda self: self._some_job(0))
    @rule(which=ANY, fuse=FUSE)
    def delete(self, which: int, fuse: int | None) -> None:
        if which < 20 and (job := self._some_job(which)):  # rarely: a deleted job has no more story
            with MortalConnection.dying(fuse):
                self.records.delete_job(job)
                self.queue.delete_objects(job)

    @precondition(lambda self: self._some_job(0))
    @rule(which=ANY, item=st.integers(0, 4), decision=st.sampled_from(["accept", "reject", None]), fuse=FUSE)
    def decide(self, which: int, item: int, decision: str | None, fuse: int | None) -> None:
        if job := self._some_job(which):
            with MortalConnection.dying(fuse):
                try:
                    self.records.decide(job, f"{item:06d}", decision)
                except (JobNotFound, ItemNotFound):
                    return

    @precondition(lambda self: self.done)
    @rule(which=ANY, number=st.integers(0, 3), fuse=FUSE)
    def correct(self, which: int, number: int, fuse: int | None) -> None:
        """A person puts a mask, or goes back to an older one."""
        job, item = sorted(self.done)[which % len(self.done)]
        with MortalConnection.dying(fuse):
            try:
                record = self.records.item(job, item)
                if number < 2 and record.latest >= number:
                    self.revisions_of_items.choose(job, item, number)
                else:
                    revision = Revision(number=record.latest + 1, how="brush", based_on=record.revision.number)
                    new = NewRevision(revision, CORRECTED, ("dog",), "accept" if number == 3 else None)
                    self.revisions_of_items.write(record, new)
            except (JobNotFound, ItemNotFound, ItemNotLabelled):
                return

    @precondition(lambda self: self._some_job(0))
    @rule(which=ANY, fuse=FUSE)
    def export(self, which: int, fuse: int | None) -> None:
        if job := self._some_job(which):
            with MortalConnection.dying(fuse):
                export, new = self.exports.request(job, ExportRequest(format="coco"))
                if new:
                    self.queue.build_export(export.id)

    # -- workers ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sound.llen("batch"))
    @rule(count=st.integers(1, 2), fuse=FUSE)
    def take_message(self, count: int, fuse: int | None) -> None:
        """A worker takes a message, and leases or reads some of its items."""
        with MortalConnection.dying(fuse):
            text = self.records.redis.lpop("batch")
            if text:
                task, job, items, _ = json.loads(text)
                self.messages += 1
                self.taken.append((task, job, items, f"m{self.messages}"))
                self._work(task, job, items[:count], f"m{self.messages}")

    @precondition(lambda self: self.reads)
    @rule(which=ANY, how=st.sampled_from(["read", "read", "broken", "back"]), fuse=FUSE)
    def end_read(self, which: int, how: str, fuse: int | None) -> None:
        """A worker comes to an end with a photo to learn from, perhaps for the second time."""
        job, item = self.reads[which % len(self.reads)]
        with MortalConnection.dying(fuse):
            if how == "back":
                self.learning.put_back(job, item)
            elif self.learning.end_read(job, item, left_out=how == "broken") == "last":
                self.queue.fit_words(job)

    @precondition(lambda self: self.sound.llen("learn"))
    @rule(fuse=FUSE)
    def take_fit(self, fuse: int | None) -> None:
        with MortalConnection.dying(fuse):
            text = self.records.redis.lpop("learn")
            if text:
                task, job = json.loads(text)
                self.queue.begun(task, [job])
                self.messages += 1
                self._begin_fit(job, f"m{self.messages}")

    @precondition(lambda self: self.fits)
    @rule(which=ANY, how=st.sampled_from(["learnt", "learnt", "nothing", "renew", "leave", "again"]), fuse=FUSE)
    def end_fit(self, which: int, how: str, fuse: int | None) -> None:
        """A worker comes to an end with a fit, perhaps much too late, perhaps for the second time."""
        job, owner = self.fits[which % len(self.fits)]
        with MortalConnection.dying(fuse):
            if how == "renew":
                self.learning.renew_fit(job, owner=owner, seconds=10)
            elif how == "leave":
                self.learning.leave_fit(job, owner=owner)
            elif how == "again":
                self._begin_fit(job, owner)
            else:
                self._end_fit(job, owner, learnt=how == "learnt")

    @precondition(lambda self: self.taken)
    @rule(which=ANY, fuse=FUSE)
    def deliver_again(self, which: int, fuse: int | None) -> None:
        """The broker gives a message to another worker, whatever became of the first."""
        task, job, items, owner = self.taken[which % len(self.taken)]
        with MortalConnection.dying(fuse):
            self._work(task, job, items, owner)

    @precondition(lambda self: self.leases)
    @rule(which=ANY, how=st.sampled_from(["done", "done", "broken", "full", "back", "renew"]), fuse=FUSE)
    def hand_in(self, which: int, how: str, fuse: int | None) -> None:
        """A worker comes to an end with an item, perhaps much too late, perhaps for the second time."""
        lease = self.leases[which % len(self.leases)]
        with MortalConnection.dying(fuse):
            if how == "done" and self.records.complete(lease, SUMMARY) == "done":
                self.done.add((lease.job, lease.item))
            elif how == "broken":
                give_back(self.records, self.settings, lease, UnreadableImage("no"))
            elif how == "full":
                give_back(self.records, self.settings, lease, StorageFull("no"))
            elif how == "renew":
                self.records.renew(lease, seconds=10)
            elif how == "back" and self.records.hand_back(lease) == "queued":
                self.queue.label(self.records.job(lease.job), [lease.item])

    # -- time and the sweep ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.sound.zcard(LEASES))
    @rule(which=ANY)
    def a_lease_runs_out(self, which: int) -> None:
        if members := self.sound.zrange(LEASES, 0, -1):
            self._expire(members[which % len(members)])

    @rule()
    def time_passes(self) -> None:
        for member in self.sound.zrange(DELAYED, 0, -1):
            self.sound.zadd(DELAYED, {member: 0})
        for job in self.sound.zrange(JOBS_ACTIVE, 0, -1):
            self.sound.hset(job_key(job), "progress_at", 0)
            if self.sound.hexists(job_key(job), "fit_until"):
                self.sound.hset(job_key(job), "fit_until", 0)

    @rule(fuse=FUSE)
    def look_for_lost_work(self, fuse: int | None) -> None:
        self.sound.delete(SWEEP)
        with MortalConnection.dying(fuse):
            self.sweep.run()

    # -- laws ------------------------------------------------------------------------------------------------------

    @invariant()
    def laws(self) -> None:
        type(self).steps += 1
        records = snapshot(self.sound)
        check_laws(records)
        found = states_of(records)
        self.done = {item for item in self.done if item[0] in found}
        self.cancelled = {item for item in self.cancelled if item[0] in found}
        assert all(found[job][item] == "done" for job, item in self.done), "what is done stays done"
        assert all(found[job][item] == "cancelled" for job, item in self.cancelled), "a cancelled item stays cancelled"
        self.cancelled |= {(job, item) for job in found for item, state in found[job].items() if state == "cancelled"}
        names = [records[job_key(job)]["name"] for job in found]
        assert all(names.count(key) <= 1 for key in ("k1", "k2")), "a key makes one job"
        for job, states in found.items():
            revision = int(records[job_key(job)]["revision"])
            before, states_before = self.revisions.get(job, (0, states))
            assert revision > before or (revision, states) == (before, states_before), "a change raises the revision"
            self.revisions[job] = (revision, states)

    def teardown(self) -> None:
        """Everything ends, once one worker lives and time passes; and what is deleted leaves nothing."""
        for _ in range(20):
            if not self.sound.zcard(JOBS_ACTIVE):
                break
            for member in self.sound.zrange(LEASES, 0, -1):
                self._expire(member)
            self.time_passes()
            self.look_for_lost_work(None)
            while text := self.sound.lpop("learn") or self.sound.lpop("batch"):
                task, job, *rest = json.loads(text)
                self.messages += 1
                if task != LABEL_SHARD:
                    self.queue.begun(task, [job])
                    self._work(task, job, rest[0] if rest else [], f"m{self.messages}")
                    for read in self.reads:
                        if self.learning.end_read(*read) == "last":
                            self.queue.fit_words(read[0])
                    self._end_fit(job, f"m{self.messages}", learnt=True)
                    continue
                for item in rest[0]:
                    lease = self.records.lease(job, item, owner=f"m{self.messages}", seconds=10, max_attempts=6)
                    if isinstance(lease, Lease):
                        assert self.records.complete(lease, SUMMARY) == "done"
        assert not self.sound.zcard(JOBS_ACTIVE), "everything ends"
        check_laws(snapshot(self.sound))
        for job in (job for index in (JOBS, JOBS_CREATING, JOBS_TRASH) for job in self.sound.zrange(index, 0, -1)):
            self.records.delete_job(job)
            self.records.forget(job)
        parts = ("job", "jobs", "export", "exports", "leases")
        assert [key for key in snapshot(self.sound) if key.split(":")[1] in parts] == []
        self.outbound.close()
        self.mortal.close()

    def _some_job(self, which: int) -> str:
        jobs = self.sound.zrange(JOBS, 0, -1)
        return jobs[which % len(jobs)] if jobs else ""

    def _work(self, task: str, job: str, items: list[str], owner: str) -> None:
        if task == LABEL_SHARD:
            self._lease(job, items, owner)
        elif task == READ_TOKENS:
            self._read(job, items)
        else:
            self._begin_fit(job, owner)

    def _read(self, job: str, items: list[str]) -> None:
        for item in items:
            outcome = self.learning.begin_read(job, item, max_attempts=6)
            if outcome == "read":
                self.reads.append((job, item))
            elif outcome == "last":
                self.queue.fit_words(job)

    def _begin_fit(self, job: str, owner: str) -> None:
        outcome = self.learning.begin_fit(job, owner=owner, seconds=10, max_attempts=6)
        if outcome == "fit":
            self.fits.append((job, owner))
        elif outcome == "exhausted":
            self._end_fit(job, owner, learnt=False)

    def _end_fit(self, job: str, owner: str, *, learnt: bool) -> None:
        if learnt:
            version = PublishedVersion(
                kind="learnt", digest=f"{job}-{owner}", size=1, spec=SPEC, job=job, created_at=time.time()
            )
            found = {"learnt": LearntWords(name="things", version=SPEC.version), "version": version}
        else:
            found = {"error": "no"}
        if self.learning.end_fit(job, owner=owner, workspace="default", **found):
            self.queue.label(self.records.job(job), self.records.item_ids(job, "queued"))

    def _lease(self, job: str, items: list[str], owner: str) -> None:
        for item in items:
            lease = self.records.lease(job, item, owner=owner, seconds=10, max_attempts=6)
            if isinstance(lease, Lease):
                assert (job, item) not in self.cancelled | self.done
                self.leases.append(lease)

    def _expire(self, member: str) -> None:
        job, _, item = member.partition(":")
        self.sound.hset(item_key(job, item), "lease_until", 0)
        self.sound.zadd(LEASES, {member: 0})


@pytest.mark.slow
def test_any_order_of_steps_and_any_death_keeps_the_laws(valkey, record_property):
    LifeOfJobs.url, LifeOfJobs.steps = valkey.url, 0
    told = settings(
        max_examples=STORIES,
        stateful_step_count=STEPS,
        derandomize="TOCO_STORIES" not in os.environ,  # the same stories in CI, others by hand
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(LifeOfJobs, settings=told)
    record_property("steps", LifeOfJobs.steps)
    assert LifeOfJobs.steps > STORIES * 10
