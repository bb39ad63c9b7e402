"""Jobs that only make revisions are in no list, and go by themselves."""

import time

from toco.jobs.job import JobOptions
from toco.jobs.keys import JOBS_REVISING
from toco.jobs.queue import WorkQueue
from toco.jobs.revising import begin_revising, finished_revising
from toco.jobs.revision import Revising
from toco.model.options import preset_options


class SilentQueue(WorkQueue):
    """Sends nothing: nobody works here."""

    def _send(self, task: str, arguments: list[object], queue: str) -> None:
        pass


def test_they_are_in_no_list_and_are_deleted_a_day_after_their_end(records, settings, make_job):
    job = make_job(1)
    queue = SilentQueue(settings, records)
    options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
    item = records.item(job.id, "000000")
    revising = Revising(job=job.id, how="tags", who="ann")
    made = begin_revising(records, queue, [(item, ("dog",))], options, revising, of=job, priority="interactive")
    assert records.job(made.id).revising == revising
    child = records.item(made.id, "000000")
    assert (child.image_key, child.tags, child.revises.item) == (item.image_key, ("dog",), "000000")
    assert [listed.id for listed in records.jobs()] == [job.id]
    assert finished_revising(records) == []
    records.redis.zadd(JOBS_REVISING, {made.id: time.time() - 90_000})
    assert finished_revising(records) == [], "it is not over"
    records.cancel(made.id)
    assert finished_revising(records) == [made.id]
    records.delete_job(made.id)
    assert finished_revising(records) == []
    assert not records.redis.zcard(JOBS_REVISING)
