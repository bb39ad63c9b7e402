"""What is lost is found."""

import time

import pytest

from tests.trainings import new_training
from toco.jobs.broker import make_app
from toco.jobs.expired_uploads import remove_expired_uploads
from toco.jobs.exports import ExportRequest, Exports
from toco.jobs.keys import JOBS_TRASH
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.outbound import Outbound
from toco.jobs.queue import WorkQueue
from toco.jobs.store import StorageFull, Store, image_key, upload_key
from toco.jobs.trainings import Trainings
from toco.jobs.uploads import UploadNotFound, Uploads
from toco.workers.sweep import Sweep
from toco.workers.webhooks import Webhooks, sign


@pytest.fixture
def sweep(settings, records):
    chosen = settings.model_copy(update={"sweep_seconds": 0.01, "lease_seconds": 0.05, "retention_days": 1.0})
    queue = WorkQueue(chosen, records, make_app(chosen))
    outbound = Outbound(chosen)
    store = Store.open(chosen)
    exports = Exports(records, store, ModelCatalogue(chosen, records))
    yield Sweep(chosen, records, queue=queue, exports=exports, webhooks=Webhooks(chosen, records, outbound))
    outbound.close()


def run(sweep) -> None:
    time.sleep(0.06)
    sweep.run()


def test_items_of_a_silent_worker_are_queued_again(sweep, records, make_job):
    job = make_job(2)
    records.lease(job.id, "000000", owner="dead", seconds=0.01, max_attempts=3)
    run(sweep)
    assert records.redis.llen("batch") == 1
    assert records.job(job.id).counts["queued"] == 2


def test_a_job_whose_messages_were_lost_is_queued_again_but_once_at_a_time(sweep, records, make_job):
    make_job(20)
    run(sweep)
    assert records.redis.llen("batch") == 3
    run(sweep)
    assert records.redis.llen("batch") == 3


def test_a_running_job_is_left_alone(sweep, records, make_job):
    job = make_job(2)
    records.lease(job.id, "000000", owner="alive", seconds=60, max_attempts=3)
    run(sweep)
    assert records.redis.llen("batch") == 0


def test_items_put_off_come_back_when_their_time_has_come(sweep, records, make_job):
    job = make_job(2)
    records.lease(job.id, "000001", owner="alive", seconds=60, max_attempts=3)
    lease = records.lease(job.id, "000000", owner="m", seconds=60, max_attempts=3)
    assert records.release(lease, StorageFull("No room."), seconds=60) == "queued"
    run(sweep)
    assert records.redis.llen("batch") == 0
    records.redis.zincrby("toco:delayed", -60, f"{job.id}:000000")  # time flies
    run(sweep)
    assert records.redis.llen("batch") == 1


def test_old_jobs_are_deleted(sweep, records, make_job):
    job = make_job(1)
    records.cancel(job.id)
    records.redis.zadd("toco:jobs:finished", {job.id: time.time() - 2 * 86_400})
    run(sweep)
    assert records.jobs() == []
    assert records.redis.llen("errands") >= 1


def test_what_an_unfinished_submission_left_is_deleted(sweep, records, settings):
    store = Store.open(settings)
    job = records.begin_job()
    store.put(image_key(job, "000000"), b"x")
    records.redis.zadd("toco:jobs:creating", {job: time.time() - 7200})
    waits = []
    for _ in range(3):
        run(sweep)
        due = records.redis.zscore(JOBS_TRASH, job)
        waits.append(round((due - time.time()) / 10))
        records.redis.zadd(JOBS_TRASH, {job: 0})
    # The store may be away: each attempt waits longer, and one message at most is on its way.
    assert (waits, records.redis.llen("errands")) == ([1, 2, 4], 1)
    records.forget(job)
    assert records.redis.keys("*trash*") == []


def test_an_upload_whose_time_is_over_is_deleted(sweep, records, settings):
    store = Store.open(settings)
    uploads = Uploads(settings, records, store)
    old, young = (uploads.create(length=1, name="a.zip").id for _ in range(2))
    for upload in (old, young):
        store.put(upload_key(upload, 0, "s"), b"x")
    records.redis.zadd("toco:uploads", {old: time.time() - 1})
    run(sweep)
    assert records.redis.llen("errands") == 1
    remove_expired_uploads(records, store)
    assert [found.key for found in store.under("uploads/")] == [upload_key(young, 0, "s")]
    assert uploads.get(young).length == 1
    with pytest.raises(UploadNotFound):
        uploads.get(old)


def test_an_export_that_nobody_builds_is_queued_again(sweep, records, make_job):
    job = make_job(1)
    records.cancel(job.id)
    sweep._exports.request(job.id, ExportRequest(format="voc"))
    run(sweep)
    assert records.redis.llen("errands") == 1


def test_a_webhook_to_a_private_address_is_given_up(sweep, records, make_job):
    job = make_job(1, webhook="http://127.0.0.1:9/hook")
    records.cancel(job.id)
    assert sweep._webhooks.any_due()
    assert sweep._webhooks.deliver_due() == 0
    assert not sweep._webhooks.any_due()
    assert records.redis.zcard("toco:webhooks") == 0


def test_the_signature_is_that_of_the_standard():
    """The example of the Standard Webhooks specification's reference libraries."""
    found = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )  # fmt: skip
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_training_whose_worker_died_is_queued_again_but_once_at_a_time(sweep, records):
    trainings = Trainings(records, lease_seconds=0.05)
    training = trainings.create(trainings.begin(), new_training()).id
    trainings.lease(training, owner="dead", max_attempts=3)
    for _ in range(3):
        run(sweep)
    assert records.redis.llen("train") == 1
    assert trainings.get(training).state == "queued"
    trainings.cancel(training)
    records.redis.delete("train")
    run(sweep)
    assert records.redis.llen("train") == 0


def test_what_a_deleted_training_left_is_deleted(sweep, records):
    trainings = Trainings(records, lease_seconds=60)
    trainings.discard_begun(trainings.begin())
    for _ in range(3):
        run(sweep)
    assert records.redis.llen("errands") == 1
