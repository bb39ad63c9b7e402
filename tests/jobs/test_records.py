"""Jobs and items change state once, whoever asks how often."""

import threading
import time
from collections import Counter

import pytest

from toco.jobs.item_index import InvalidCursor, ItemIndex, ItemQuery
from toco.jobs.job import ItemError, NewItem, Summary
from toco.jobs.records import ItemNotFound, JobNotFound, Lease
from toco.jobs.store import StorageFull
from toco.model.photos.images import UnreadableImage
from toco.model.photos.tag_check import TagCheck

WHO = {"owner": "message-1", "seconds": 30, "max_attempts": 3}


def summary(doubt: float = 0.5, tags: tuple[str, ...] = ("cat",), ignore: float = 0.1) -> Summary:
    return Summary(
        tags=tags, tag_source="user", ignore_ratio=ignore, area_ratio=0.2, score=0.9, doubt=doubt, width=8, height=6
    )


def calls(records, command: str) -> int:
    return records.redis.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_a_batch_job_is_on_disk_before_it_is_promised(records, make_job):
    before = calls(records, "waitaof")
    make_job(1)
    assert calls(records, "waitaof") == before + 1
    make_job(1, priority="interactive")  # its client waits for the label, and would see the loss
    assert calls(records, "waitaof") == before + 1


def test_every_change_raises_the_revision(records, make_job):
    job = make_job(3)
    seen = [job.revision]

    def changed() -> bool:
        seen.append(records.job(job.id).revision)
        return seen[-1] == seen[-2] + 1

    lease = records.lease(job.id, "000000", **WHO)
    assert changed()
    records.decide(job.id, "000000", "accept")
    assert changed()
    records.hand_back(lease)
    assert changed()
    records.complete(records.lease(job.id, "000000", **WHO), summary())
    seen.append(records.job(job.id).revision - 1)
    records.fail(records.lease(job.id, "000001", **WHO), UnreadableImage("no"))
    seen.append(records.job(job.id).revision)
    records.cancel(job.id)
    assert changed()
    records.retry(job.id)
    assert changed()


def test_a_job_runs_from_queued_to_succeeded(records, make_job):
    job = make_job(2)
    assert (job.state, job.counts["queued"], job.total) == ("queued", 2, 2)
    first = records.lease(job.id, "000000", **WHO)
    assert records.job(job.id).state == "running"
    assert records.complete(first, summary()) == "done"
    records.complete(records.lease(job.id, "000001", **WHO), summary())
    ended = records.job(job.id)
    assert (ended.state, ended.counts["done"], ended.is_final) == ("succeeded", 2, True)
    assert ended.finished_at >= ended.started_at
    assert records.active_jobs() == []
    assert records.item(job.id, "000000").summary.tags == ("cat",)
    assert records.item_counts() == {"queued": 0, "running": 0, "done": 2, "failed": 0}


def test_work_handed_in_twice_counts_once(records, make_job):
    job = make_job(1)
    lease = records.lease(job.id, "000000", **WHO)
    assert records.complete(lease, summary()) == "done"
    assert records.complete(lease, summary()) == "stale"
    assert records.fail(lease, UnreadableImage("no")) == "stale"
    assert records.job(job.id).counts["done"] == 1


def test_only_one_of_many_workers_gets_an_item(records, make_job):
    job = make_job(20)
    got: Counter[str] = Counter()

    def grab(owner: str) -> None:
        for number in range(20):
            if isinstance(records.lease(job.id, f"{number:06d}", owner=owner, seconds=30, max_attempts=3), Lease):
                got[f"{number:06d}"] += 1

    threads = [threading.Thread(target=grab, args=(f"m{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    assert set(got.values()) == {1}


def test_the_redelivered_message_takes_over_and_the_old_work_is_refused(records, make_job):
    job = make_job(1)
    dead = records.lease(job.id, "000000", **WHO)
    again = records.lease(job.id, "000000", **WHO)
    assert (again.attempt, records.complete(dead, summary())) == (2, "stale")
    assert records.complete(again, summary()) == "done"
    assert records.job(job.id).counts == {"queued": 0, "running": 0, "done": 1, "failed": 0, "cancelled": 0}


def test_an_item_that_killed_its_process_three_times_fails(records, make_job):
    job = make_job(1)
    for _ in range(3):
        records.lease(job.id, "000000", **WHO)
    assert records.lease(job.id, "000000", **WHO) == "failed"
    item = records.item(job.id, "000000")
    assert (item.state, item.error.code, records.job(job.id).state) == ("failed", "poison_image", "failed")


def test_an_error_that_may_pass_is_kept_when_attempts_run_out(records, make_job):
    job = make_job(1)
    for _ in range(3):
        lease = records.lease(job.id, "000000", **WHO)
        assert records.release(lease, StorageFull("No room."), seconds=5) == "queued"
    assert records.lease(job.id, "000000", **WHO) == "failed"
    assert records.item(job.id, "000000").error.code == "storage_full"


def test_a_silent_worker_loses_its_lease(records, make_job):
    job = make_job(2)
    lost = records.lease(job.id, "000000", owner="dead", seconds=0.05, max_attempts=3)
    kept = records.lease(job.id, "000001", owner="alive", seconds=0.05, max_attempts=3)
    assert records.renew(kept, seconds=30)
    time.sleep(0.1)
    assert records.reclaim_expired() == {job.id: ["000000"]}
    assert records.reclaim_expired() == {}
    assert not records.renew(lost, seconds=30)
    assert records.complete(lost, summary()) == "stale"
    assert records.job(job.id).counts["queued"] == 1


def test_a_lease_renewed_while_the_sweep_looks_is_kept(records, make_job):
    job = make_job(1)
    lease = records.lease(job.id, "000000", **WHO)
    records.redis.zadd("toco:leases", {f"{job.id}:000000": 0})  # what the sweep read before the renewal
    assert records.reclaim_expired() == {}
    assert records.complete(lease, summary()) == "done"


def test_a_lease_that_ran_out_is_open_to_another_message(records, make_job):
    job = make_job(1)
    records.lease(job.id, "000000", owner="dead", seconds=0.01, max_attempts=3)
    time.sleep(0.02)
    lease = records.lease(job.id, "000000", **WHO)
    assert (lease.attempt, records.job(job.id).counts["running"]) == (2, 1)


def test_an_item_put_off_is_due_after_its_time(records, make_job):
    job = make_job(1)
    lease = records.lease(job.id, "000000", **WHO)
    before = time.time()
    records.release(lease, StorageFull("No room."), seconds=40)
    ((member, due),) = records.redis.zrange("toco:delayed", 0, -1, withscores=True)
    assert (member, before + 39 < due < time.time() + 41) == (f"{job.id}:000000", True)


def test_a_live_lease_keeps_other_messages_out(records, make_job):
    job = make_job(1)
    records.lease(job.id, "000000", **WHO)
    assert records.lease(job.id, "000000", owner="other", seconds=30, max_attempts=3) == "busy"


def test_cancelled_items_never_run_and_running_ones_end(records, make_job):
    job = make_job(3)
    lease = records.lease(job.id, "000000", **WHO)
    assert records.cancel(job.id) == 2
    assert records.lease(job.id, "000001", **WHO) == "cancelled"
    assert records.job(job.id).state == "running"
    records.complete(lease, summary())
    ended = records.job(job.id)
    assert (ended.state, ended.counts["done"], ended.counts["cancelled"]) == ("cancelled", 1, 2)


def test_retry_brings_failed_items_back_but_not_refused_ones(records, make_job):
    refused = NewItem("x.txt", "", error=ItemError(code="unsupported_image_format", kind="unsupported", detail="no"))
    job = make_job(items=[NewItem("a.jpg", "k", tags=("cat",)), refused])
    records.fail(records.lease(job.id, "000000", **WHO), UnreadableImage("broken"))
    assert records.job(job.id).state == "failed"
    assert records.retry(job.id) == ["000000"]
    assert records.job(job.id).state == "queued"
    records.complete(records.lease(job.id, "000000", **WHO), summary())
    assert records.job(job.id).state == "partly_failed"


def test_a_job_of_refused_images_only_has_ended_at_once(records, make_job):
    refused = NewItem("x.txt", "", error=ItemError(code="unsupported_image_format", kind="unsupported", detail="no"))
    assert make_job(items=[refused]).state == "failed"


def test_an_ended_job_with_a_webhook_becomes_due_once_a_round(records, make_job):
    job = make_job(1, webhook="https://example.org/hook")
    records.fail(records.lease(job.id, "000000", **WHO), UnreadableImage("broken"))
    assert records.redis.zrange("toco:webhooks", 0, -1) == [f"{job.id}:1"]
    records.retry(job.id)
    records.complete(records.lease(job.id, "000000", **WHO), summary())
    assert records.redis.zrange("toco:webhooks", 0, -1) == [f"{job.id}:1", f"{job.id}:2"]


def test_deleting_a_job_leaves_nothing(records, make_job):
    job = make_job(3)
    lease = records.lease(job.id, "000000", **WHO)
    records.complete(lease, summary())
    running = records.lease(job.id, "000001", **WHO)
    records.decide(job.id, "000000", "accept")
    records.delete_job(job.id)
    assert records.complete(running, summary()) == "gone"
    assert records.lease(job.id, "000002", **WHO) == "gone"
    records.reclaim_expired()
    records.forget(job.id)
    with pytest.raises(JobNotFound):
        records.job(job.id)
    assert records.redis.zcard("toco:leases") == 0
    assert records.redis.keys(f"*{job.id}*") == []
    assert set(records.item_counts().values()) == {0}


def test_unknown_ids_are_typed_errors(records, make_job):
    with pytest.raises(JobNotFound):
        records.cancel("nope")
    with pytest.raises(ItemNotFound):
        records.item(make_job(1).id, "000009")


def test_jobs_in_a_state_are_found_without_reading_the_others(records, make_job):
    for _ in range(4):
        make_job(1)
    failed = make_job(1)
    records.fail(records.lease(failed.id, "000000", **WHO), UnreadableImage("no"))
    before = calls(records, "hgetall")
    assert [job.id for job in records.jobs(state="failed", limit=1)] == [failed.id]
    assert calls(records, "hgetall") == before + 1
    assert len(records.jobs(state="queued")) == 4
    records.retry(failed.id)
    assert records.jobs(state="failed") == []


def test_a_job_deleted_while_a_page_is_read_shortens_no_page(records, make_job):
    made = [make_job(1).id for _ in range(4)]
    records.redis.delete(f"toco:job:{max(made)}")
    assert [job.id for job in records.jobs(limit=3)] == sorted(made)[2::-1]


def test_jobs_are_listed_newest_first_by_cursor(records, make_job):
    made = []
    for _ in range(5):
        made.append(make_job(1).id)
        time.sleep(0.002)
    page = records.jobs(limit=2)
    assert [job.id for job in page] == made[:2:-1]
    assert [job.id for job in records.jobs(before=page[-1].id, limit=10)] == made[2::-1]


@pytest.fixture
def judged(records, make_job):
    """Ten items with doubts 0.0, 0.1, ... 0.9; even ones show a dog as well; 0 to 3 accepted, 4 rejected."""
    job = make_job(10)
    for number in range(10):
        tags = ("cat", "dog") if number % 2 == 0 else ("cat",)
        lease = records.lease(job.id, f"{number:06d}", **WHO)
        records.complete(lease, summary(doubt=number / 10, tags=tags, ignore=number / 20))
    for number in range(5):
        records.decide(job.id, f"{number:06d}", "accept" if number < 4 else "reject")
    return job


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ItemQuery(), range(10)),
        (ItemQuery(order="doubt", descending=True), range(9, -1, -1)),
        (ItemQuery(tag="dog"), [0, 2, 4, 6, 8]),
        (ItemQuery(decision="reject"), [4]),
        (ItemQuery(undecided=True, order="doubt", descending=True), [9, 8, 7, 6, 5]),
        (ItemQuery(ranges={"ignore_ratio": (0.2, 0.3)}), [4, 5, 6]),
        (ItemQuery(tag="dog", decision="accept", ranges={"doubt": (0.1, 1.0)}), [2]),
        (ItemQuery(state="failed"), []),
    ],
)
def test_items_are_filtered_and_sorted(records, judged, query, expected):
    index = ItemIndex(records)
    found = index.find(judged.id, query)
    assert [int(item.id) for item in found.items] == list(expected)
    assert found.total == len(list(expected))
    assert [item.id for item in index.each(judged.id, query)] == [item.id for item in found.items]


def test_pages_neither_repeat_nor_lose_items(records, judged):
    index = ItemIndex(records)
    query = ItemQuery(order="doubt", descending=True, undecided=True)
    page = index.find(judged.id, query, limit=2)
    assert [int(item.id) for item in page.items] == [9, 8]
    records.decide(judged.id, "000008", "accept")  # the item of the cursor leaves the selection
    rest = index.find(judged.id, query, cursor=page.cursor, limit=10)
    assert [int(item.id) for item in rest.items] == [7, 6, 5]
    assert rest.cursor is None


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ["index", "doubt", "area_ratio"])  # all areas are the same
def test_pages_of_any_order_show_each_item_once(records, judged, order, descending):
    index, query = ItemIndex(records), ItemQuery(order=order, descending=descending)
    seen, cursor = [], None
    while True:
        page = index.find(judged.id, query, cursor=cursor, limit=3)
        seen += [int(item.id) for item in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == sorted(range(10), reverse=descending)


def test_an_item_tells_when_its_work_began(records, make_job):
    job, before = make_job(1), time.time()
    assert records.item(job.id, "000000").started_at is None
    records.lease(job.id, "000000", **WHO)
    assert before - 1 <= records.item(job.id, "000000").started_at <= time.time() + 1


def test_a_job_tells_what_its_tags_mean_and_who_may_see_it(records, make_job):
    tags = TagCheck(photos=3, open_photos=1)
    job = make_job(1, tags=tags, workspace="farm", key="me")
    found = records.job(job.id)
    assert (found.tags, found.workspace, found.key) == (tags, "farm", "me")
    records.require_seen(job.id, "farm")
    with pytest.raises(JobNotFound) as refusal:
        records.require_seen(job.id, "other")
    assert (refusal.value.code, refusal.value.kind) == ("job_not_found", "not_found")


def test_a_decision_on_an_item_that_is_not_there_names_it(records, make_job):
    with pytest.raises(ItemNotFound, match="000007"):
        records.decide(make_job(1).id, "000007", "accept")


def test_a_class_without_a_pixel_is_counted_by_the_job(records, make_job):
    job = make_job(1)
    found = summary().model_copy(update={"empty_tags": ("cat",)})
    records.complete(records.lease(job.id, "000000", **WHO), found)
    assert records.job(job.id).empty_tags == {"cat": 1}


def test_what_is_noted_on_a_record_is_told_to_be_there(records, make_job):
    job = make_job(1).id
    assert records.note(job, webhook_error="refused")
    assert not records.note("gone", webhook_error="refused")
    assert not records.redis.exists("toco:job:gone")


@pytest.mark.parametrize("cursor", ["?", "bm9wZQ", "MTox0", "bmFuOjAwMDAwMQ", "aW5mOjAwMDAwMQ"])
def test_a_forged_cursor_is_refused(records, judged, cursor):
    with pytest.raises(InvalidCursor):
        ItemIndex(records).find(judged.id, ItemQuery(), cursor=cursor)


def test_a_decision_can_be_taken_back(records, judged):
    records.decide(judged.id, "000004", None)
    assert records.item(judged.id, "000004").decision is None
    assert ItemIndex(records).find(judged.id, ItemQuery(decision="reject")).total == 0


def test_a_token_bucket_refills(records):
    assert records.take_tokens("b", most=2, per_second=0.01) == (1, 0)
    records.take_tokens("b", most=2, per_second=0.01)
    _, wait = records.take_tokens("b", most=2, per_second=0.01)
    assert 50 < wait <= 100
    records.redis.hincrbyfloat("b", "at", -100)  # time flies
    assert records.take_tokens("b", most=2, per_second=0.01)[1] == 0
