"""The same request sent twice makes one job, wherever the process that had it first may have died."""

import threading

import pytest

from toco.jobs.idempotency import IdempotencyConflict, Promise
from toco.jobs.records import JobNotFound

PROMISE = Promise("ann", "k1", "photos a and b")


def test_the_promise_is_made_in_the_step_that_shows_the_job(records, make_job):
    assert records.promised(PROMISE) == ""
    job = make_job(2, promise=PROMISE)
    assert records.promised(PROMISE) == job.id
    assert records.redis.ttl(PROMISE.record) > 86_000


def test_the_second_request_gets_the_first_job(records, make_job):
    first = make_job(2, promise=PROMISE)
    second = make_job(2, promise=PROMISE)
    assert second.id == first.id
    assert [job.id for job in records.jobs()] == [first.id]
    assert records.item_counts() == {"queued": 2, "failed": 0}


def test_a_request_that_died_before_its_job_was_there_bars_nobody(records, make_job):
    records.begin_job()  # and no more
    assert make_job(1, promise=PROMISE).total == 1


def test_of_two_at_once_one_makes_the_job(records, make_job):
    start, made = threading.Barrier(4), []

    def submit() -> None:
        start.wait()
        made.append(make_job(3, promise=PROMISE).id)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert [job.id for job in records.jobs()] == [made[0]]
    assert set(made) == {made[0]}
    assert records.item_counts()["queued"] == 3


def test_another_request_under_the_same_key_is_refused_and_makes_nothing(records, make_job):
    first = make_job(1, promise=PROMISE)
    other = Promise("ann", "k1", "photo c")
    for ask in (lambda: records.promised(other), lambda: make_job(1, promise=other)):
        with pytest.raises(IdempotencyConflict, match="another request"):
            ask()
    assert [job.id for job in records.jobs()] == [first.id]


def test_two_users_may_use_the_same_text(records, make_job):
    first = make_job(1, promise=PROMISE)
    assert make_job(1, promise=Promise("bob", "k1", "photos a and b")).id != first.id


def test_the_key_of_a_deleted_job_is_free_again(records, make_job):
    first = make_job(1, promise=PROMISE)
    records.delete_job(first.id)
    assert records.promised(PROMISE) == ""
    assert make_job(1, promise=PROMISE).id != first.id


def test_a_command_that_is_sent_again_after_a_lost_answer_counts_once(records, make_job):
    job = make_job(2)
    fields = ["name", "x", "webhook", "", "state", "queued", "running", 0, "done", 0, "cancelled", 0]
    assert records.scripts.open(args=[job.id, 2, 0, "", "", "", *fields]) is None
    assert records.item_counts() == {"queued": 2, "failed": 0}
    assert records.job(job.id).name == job.name


def test_a_job_that_was_never_opened_is_not_there(records):
    with pytest.raises(JobNotFound):
        records.job(records.begin_job())
