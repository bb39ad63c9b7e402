"""Labels made again for items of a job: a job of their own, in no list, whose labels become revisions there."""

import time
from collections.abc import Sequence
from typing import Final

from toco.jobs.ids import item_id
from toco.jobs.job import ItemRecord, JobOptions, JobRecord, NewItem, Priority
from toco.jobs.keys import JOBS_REVISING
from toco.jobs.learning import NewLearning
from toco.jobs.queue import WorkQueue
from toco.jobs.records import JobNotFound, Records
from toco.jobs.revision import RevisedItem, Revising
from toco.model.errors import TocoError
from toco.model.photos.classes import Vocabulary

_KEPT_SECONDS: Final = 86_400.0  # so that whoever asked may still look at how it ended


class ImageGone(TocoError):
    """The item was refused when it was sent, so its image was not kept."""

    code = "image_gone"
    kind = "conflict"


def begin_revising(
    records: Records,
    queue: WorkQueue,
    items: Sequence[tuple[ItemRecord, tuple[str, ...] | None]],
    options: JobOptions,
    revising: Revising,
    *,
    of: JobRecord,
    priority: Priority,
    request_id: str = "",
    job: str = "",
) -> JobRecord:
    """Label items again; the photos stay where they are.

    Args:
        records: of both jobs.
        queue: takes the work.
        items: each with its tags as written; their current revisions are what the new ones build on.
        options: to label with.
        revising: what for.
        of: the job that they are of.
        priority: which queue.
        request_id: of the request that asked.
        job: id that was begun for it; empty begins one.

    Raises:
        ImageGone
        QueueUnavailable: the work is on record all the same; the sweep queues it when the queue is back.
    """
    job = job or records.begin_job()
    records.redis.zadd(JOBS_REVISING, {job: time.time()})
    new = [_new_item(item, tags) for item, tags in items]
    record = records.create_job(
        job,
        new,
        options,
        name=of.name,
        priority=priority,
        key=of.key,
        workspace=of.workspace,
        request_id=request_id,
        revising=revising,
        vocabulary=Vocabulary(of.classes) if of.classes else None,
        learning=NewLearning(learnt=of.learnt),
    )
    queue.label(record, [item_id(position) for position in range(len(new))])
    return record


def finished_revising(records: Records) -> list[str]:
    """Return some of the jobs that made revisions and ended so long ago that nobody asks for them any more."""
    found = []
    for job in records.redis.zrangebyscore(JOBS_REVISING, "-inf", time.time() - _KEPT_SECONDS, start=0, num=100):
        try:
            is_over = records.job(job).is_final
        except JobNotFound:
            records.redis.zrem(JOBS_REVISING, job)
            continue
        if is_over:
            found.append(job)
    return found


def _new_item(item: ItemRecord, tags: tuple[str, ...] | None) -> NewItem:
    if not item.image_key:
        raise ImageGone(f"The image of item {item.id} was refused and is not kept.", fix="Send it again.")
    return NewItem(
        name=item.name,
        image_key=item.image_key,
        digest=item.digest,
        size=item.size,
        format=item.format,
        width=item.width,
        height=item.height,
        tags=tags,
        masks_key=item.masks_key,
        revises=RevisedItem(item=item.id, based_on=item.revision.number),
    )
