"""Cancelled is cancelled, deleted is deleted, whatever was under way."""

import threading

import pytest

from toco.jobs.exports import ExportNotFound, ExportRequest, Exports
from toco.jobs.item_index import ItemIndex
from toco.jobs.job import Summary
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.records import JobNotFound, connect
from toco.jobs.store import StorageFull, Store

WHO = {"owner": "message-1", "seconds": 30, "max_attempts": 3}
SUMMARY = Summary(
    tags=("cat",), tag_source="user", ignore_ratio=0.1, area_ratio=0.2, score=0.9, doubt=0.5, width=8, height=6
)


@pytest.fixture
def exports(settings, records) -> Exports:
    return Exports(records, Store.open(settings), ModelCatalogue(settings, records))


def lost(records, lease) -> str:
    records.redis.hset(f"toco:job:{lease.job}:item:{lease.item}", "lease_until", 0)
    records.redis.zadd("toco:leases", {f"{lease.job}:{lease.item}": 0})
    assert records.reclaim_expired() == {}
    return "cancelled"


@pytest.mark.parametrize(
    "come_back",
    [
        lambda records, lease: records.hand_back(lease),
        lambda records, lease: records.release(lease, StorageFull("No room."), seconds=5),
        lost,
    ],
    ids=["handed back", "released", "reclaimed"],
)
def test_an_item_that_comes_back_undone_to_a_cancelled_job_is_cancelled(records, make_job, come_back):
    job = make_job(2)
    lease = records.lease(job.id, "000000", **WHO)
    assert records.cancel(job.id) == 1
    assert come_back(records, lease) == "cancelled"
    ended = records.job(job.id)
    assert (ended.state, ended.counts["cancelled"], ended.cancel_requested) == ("cancelled", 2, True)
    assert records.item(job.id, "000000").finished_at
    assert records.redis.zcard("toco:delayed") == 0
    assert records.lease(job.id, "000000", **WHO) == "cancelled"


def test_cancelling_is_seen_although_everything_is_in_hand(records, make_job):
    job = make_job(1)
    records.lease(job.id, "000000", **WHO)
    before = records.job(job.id).revision
    assert records.cancel(job.id) == 0
    after = records.job(job.id)
    assert (after.state, after.cancel_requested, after.revision) == ("running", True, before + 1)


def test_a_job_that_ended_is_not_cancelled(records, make_job):
    job = make_job(1)
    records.complete(records.lease(job.id, "000000", **WHO), SUMMARY)
    before = records.job(job.id)
    assert records.cancel(job.id) == 0
    assert records.job(job.id) == before


def test_retrying_lifts_the_cancellation(records, make_job):
    job = make_job(2)
    lease = records.lease(job.id, "000000", **WHO)
    records.cancel(job.id)
    assert records.retry(job.id, ("cancelled",)) == ["000001"]
    assert records.hand_back(lease) == "queued"
    assert records.job(job.id).counts["queued"] == 2


def test_retrying_some_leaves_a_running_job_running(records, make_job):
    job = make_job(3)
    records.lease(job.id, "000000", **WHO)
    records.fail(records.lease(job.id, "000001", **WHO), StorageFull("No room."))
    before = records.job(job.id)
    assert records.retry(job.id) == ["000001"]
    after = records.job(job.id)
    assert (after.state, after.started_at, after.rate > 0) == ("running", before.started_at, True)


def test_many_deletes_at_once_count_once(records, settings, make_job):
    other = make_job(3)
    job = make_job(50)
    start = threading.Barrier(4)
    clients = [type(records)(connect(settings)) for _ in range(4)]

    def delete(mine) -> None:
        start.wait()
        mine.delete_job(job.id)

    threads = [threading.Thread(target=delete, args=[mine]) for mine in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in clients:
        mine.redis.close()
    assert records.item_counts()["queued"] == other.total


def test_nothing_writes_to_a_deleted_job(records, make_job, exports):
    job = make_job(2)
    lease = records.lease(job.id, "000000", **WHO)
    export, *_ = [exports.request(job.id, ExportRequest(format=name))[0] for name in ("coco", "npz", "cvat")]
    records.delete_job(job.id)
    records.forget(job.id)
    assert not records.renew(lease, seconds=30)
    assert records.complete(lease, SUMMARY) == "gone"
    records.touch(job.id)
    for ask in (
        lambda: records.decide(job.id, "000000", "accept"),
        lambda: exports.request(job.id, ExportRequest(format="voc")),
    ):
        with pytest.raises(JobNotFound):
            ask()
    with pytest.raises(ExportNotFound):
        exports.get(job.id, export.id)
    assert records.redis.keys(f"*{job.id}*") == records.redis.keys("toco:export:*") == []
    assert records.redis.zcard("toco:leases") == records.redis.zcard("toco:exports:active") == 0


def test_an_export_whose_job_is_deleted_meanwhile_leaves_nothing(records, make_job, exports, monkeypatch):
    job = make_job(1)
    records.cancel(job.id)
    export, _ = exports.request(job.id, ExportRequest(format="coco"))

    def deleted_meanwhile(*asked):
        records.delete_job(job.id)
        exports._store.delete_prefix(f"jobs/{job.id}/")
        return iter(())

    monkeypatch.setattr(exports._catalogue, "spec", lambda *_: exports._catalogue.find("").spec)
    monkeypatch.setattr(ItemIndex, "each", deleted_meanwhile)
    exports.build(export.id, lease_seconds=1, max_attempts=3)
    assert list(exports._store.under(f"jobs/{job.id}/")) == []
    assert [key for key in records.redis.keys("toco:export:*") if "lock" not in key] == []


def test_an_export_that_was_recorded_by_half_is_made_whole(records, make_job, exports):
    job = make_job(1)
    export, _ = exports.request(job.id, ExportRequest(format="coco"))
    key = f"toco:export:{export.id}"
    records.redis.delete(key)
    records.redis.hset(key, "job", job.id)  # as 13b6cff left it when it was killed between two commands
    assert exports.request(job.id, ExportRequest(format="coco"))[1] is True
    assert exports.get(job.id, export.id).state == "queued"
    assert exports.request(job.id, ExportRequest(format="coco"))[1] is False


def test_a_failed_export_is_built_again_when_it_is_asked_for_again(records, make_job, exports):
    job = make_job(1)
    export, _ = exports.request(job.id, ExportRequest(format="coco"))
    records.redis.hset(f"toco:export:{export.id}", mapping={"state": "failed", "attempts": 3})
    again, queued = exports.request(job.id, ExportRequest(format="coco"))
    assert (again.id, again.state, queued) == (export.id, "queued", True)
    assert records.redis.hget(f"toco:export:{export.id}", "attempts") == "0"
