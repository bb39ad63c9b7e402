"""Leases are kept while somebody works, and let go however the work ended."""

import time

from toco.jobs.keys import LEASES
from toco.jobs.records import Lease
from toco.model.errors import TocoError
from toco.workers.leases import LeaseKeeper


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
