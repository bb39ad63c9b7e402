"""Leases are kept while somebody works, and let go however the work ended."""

import time

from tests.service.live import until
from toco.jobs.keys import DELAYED, LEASES
from toco.jobs.records import Lease
from toco.jobs.store import ObjectNotFound
from toco.model.errors import TocoError
from toco.model.photos.images import UnreadableImage
from toco.workers.leases import LeaseKeeper, give_back
from toco.workers.process import WorkerProcess


def leased(records, make_job) -> Lease:
    job = make_job(1)
    lease = records.lease(job.id, "000000", owner="m", seconds=0.2, max_attempts=3)
    assert isinstance(lease, Lease)
    return lease


def test_a_kept_lease_outlives_its_time_and_one_that_was_let_go_does_not(records, make_job):
    keeper = LeaseKeeper(records, seconds=60)
    kept, dropped = leased(records, make_job), leased(records, make_job)
    keeper.keep(kept)
    keeper.keep(dropped)
    keeper.drop(dropped)
    keeper.renew_all()
    time.sleep(0.25)
    assert records.reclaim_expired() == {dropped.job: [dropped.item]}


def test_after_a_task_no_lease_is_kept(records, make_job):
    keeper = LeaseKeeper(records, seconds=60)
    lease = leased(records, make_job)
    keeper.keep(lease)
    keeper.drop_all()
    keeper.renew_all()
    time.sleep(0.25)
    assert records.reclaim_expired() == {lease.job: [lease.item]}
    assert records.redis.zcard(LEASES) == 0


def test_a_lease_that_was_lost_is_asked_for_once(records, make_job, monkeypatch):
    keeper = LeaseKeeper(records, seconds=60)
    lease = leased(records, make_job)
    keeper.keep(lease)
    records.fail(lease, TocoError("lost"))
    asked = []
    renew = records.renew
    monkeypatch.setattr(records, "renew", lambda *args, **more: asked.append(args) or renew(*args, **more))
    keeper.renew_all()
    keeper.renew_all()
    assert len(asked) == 1


def test_work_on_items_shows_as_a_sign_of_life(records, make_job):
    keeper = LeaseKeeper(records, seconds=60)
    assert keeper.changed_at == 0
    keeper.keep(leased(records, make_job))
    assert time.time() - keeper.changed_at < 5


def test_the_heartbeat_of_a_process_keeps_its_leases(settings, records, make_job):
    chosen = settings.model_copy(update={"heartbeat_seconds": 0.1, "lease_seconds": 60, "store_url": "memory://"})
    process = WorkerProcess(chosen, ("errands",))
    process.start()
    lease = leased(records, make_job)

    def ends() -> float:
        return records.redis.zscore(LEASES, f"{lease.job}:{lease.item}")

    first = ends()
    process.leases.keep(lease)
    renewed = until(lambda: ends() > first and ends())
    until(lambda: ends() > renewed)
    assert records.reclaim_expired() == {}
    process.leases.drop(lease)

    def stays() -> bool:
        before = ends()
        time.sleep(0.5)
        return ends() == before

    until(stays)
    assert records.renew(lease, seconds=0)  # time flies
    assert records.reclaim_expired() == {lease.job: [lease.item]}
    process.stop()


def test_what_may_pass_is_put_off_and_what_cannot_fails(settings, records, make_job):
    lease = leased(records, make_job)
    assert give_back(records, settings, lease, ObjectNotFound("away")) == "queued"
    assert records.redis.zcard(DELAYED) == 1
    again = records.lease(lease.job, lease.item, owner="m2", seconds=30, max_attempts=3)
    assert give_back(records, settings, again, UnreadableImage("broken")) == "failed"
    assert records.item(lease.job, lease.item).error.code == "unreadable_image"
