"""Learning again on a worker: the fit to a job's corrected labels, then the job that labels the others again.

Killed anywhere, it is done again from the start, which costs seconds and changes nothing: the same adjustment under the
same key, and one labelling job, whose id is written down before it is made.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from toco.jobs.item_index import ItemIndex, ItemQuery
from toco.jobs.job import ItemError, ItemRecord, JobOptions, JobRecord
from toco.jobs.keys import job_key
from toco.jobs.records import JobNotFound
from toco.jobs.relearning import NothingCorrected, Relearning, RelearningNotFound, Relearnings, is_undecided
from toco.jobs.revising import begin_revising
from toco.jobs.revision import Revising
from toco.jobs.store import relearning_key
from toco.model.errors import TocoError
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.photos.images import read_image, read_mask
from toco.workers.process import WorkerProcess

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler
    from toco.model.learning.adjust import Corrected

logger = logging.getLogger(__name__)

MOST_CORRECTED: Final = 200
"""Masks of people that are learnt from: the newest; at a second or two a photo, they are read in minutes."""

MOST_ACCEPTED: Final = 100
"""Accepted labels of the machine that are learnt from beside them: they say what is right already."""


def learn_again(process: WorkerProcess, job: str, relearning: str, *, owner: str) -> None:
    """Fit what a job's corrected labels teach, and have the others labelled again."""
    records, relearnings = process.records, Relearnings(process.records)
    seconds = process.settings.lease_seconds
    with relearnings.locked(job, relearning, owner, seconds=seconds) as is_ours:
        if not is_ours:
            return  # whoever has it ends it, or the sweep finds that nobody does
        try:
            record, asked = records.job(job), relearnings.get(job, relearning)
        except (JobNotFound, RelearningNotFound):
            return
        if asked.state not in ("queued", "fitting") and not (
            asked.state == "labelling" and _is_missing(process, asked)
        ):
            relearnings.fitted(job, relearning)
            return
        relearnings.note(job, relearning, state="fitting")
        try:
            _fit(process, record, asked, lambda: relearnings.keep_lock(job, relearning, seconds=seconds))
            _label(process, record, asked)
        except TocoError as error:
            if error.kind == "unavailable":
                raise  # the sweep asks again
            logger.warning("learning again failed", extra={"code": error.code, "detail": str(error)})
            relearnings.note(job, relearning, state="failed", error=ItemError.of(error).model_dump_json())
        relearnings.fitted(job, relearning)


def adjusted(process: WorkerProcess, labeler: "Labeler", options: JobOptions) -> "Labeler":
    """Return a labeler with what was learnt again, if the options name it. Raises InvalidAdjustment, ObjectNotFound."""
    if not options.adjustment:
        return labeler
    from toco.model.learning.adjust import AdjustedLabeler, Adjustment  # noqa: PLC0415 - imports torch: in the child only

    found = Adjustment.from_bytes(process.store.get(options.adjustment), model_version=options.model_version)
    return AdjustedLabeler(labeler, found)


def _is_missing(process: WorkerProcess, asked: Relearning) -> bool:
    return not process.records.redis.exists(job_key(asked.labelling))


def _fit(process: WorkerProcess, job: JobRecord, asked: Relearning, still_at_it: Callable[[], None]) -> None:
    from toco.model.learning.adjust import fit_adjustment  # noqa: PLC0415 - imports torch: in the worker's child only

    made, accepted = _teachers(process, job.id)
    if not made:
        raise NothingCorrected("No label of the job was corrected by a person.", fix="Correct some, then learn again.")
    options = job.options
    labeler = process.models.of_job(job)
    started = time.perf_counter()
    photos = []
    for item in (*made, *accepted):
        still_at_it()
        found = _read(process, job, labeler, item)
        if found is not None:
            photos.append(found)
    thresholds = labeler.spec.completed(options.label).thresholds
    adjustment = fit_adjustment(
        photos, classes=len(labeler.vocabulary), level=thresholds.plain, model_version=options.model_version
    )
    process.store.put(relearning_key(job.id, asked.id), adjustment.to_bytes())
    Relearnings(process.records).note(job.id, asked.id, corrected=len(made), accepted=len(accepted))
    logger.info("learnt again", extra={"job": job.id, "photos": len(photos), "seconds": time.perf_counter() - started})


def _teachers(process: WorkerProcess, job: str) -> tuple[list[ItemRecord], list[ItemRecord]]:
    """Return the items whose masks people made, and further ones that they accepted; the newest of each."""
    made: list[ItemRecord] = []
    accepted: list[ItemRecord] = []
    for item in ItemIndex(process.records).each(job, ItemQuery(state="done")):
        if item.revision.by_person and item.decision != "reject":
            made.append(item)
        elif item.decision == "accept":
            accepted.append(item)
    by_age = partial(sorted, key=lambda item: (-item.revision.at, item.id))
    return by_age(made)[:MOST_CORRECTED], by_age(accepted)[:MOST_ACCEPTED]


def _read(process: WorkerProcess, job: JobRecord, labeler: "Labeler", item: ItemRecord) -> "Corrected | None":
    from toco.model.labelling.labeler import LabelRequest  # noqa: PLC0415 - slow to import: in the worker's child only
    from toco.model.learning.adjust import read_corrected  # noqa: PLC0415 - imports torch: in the worker's child only

    limits = process.settings
    tags = item.summary.tags if item.summary else ()
    try:
        photo = read_image(
            process.store.get(item.image_key),
            max_pixels=limits.max_image_pixels,
            max_bytes=limits.max_image_bytes,
            long_side=job.options.label.long_side,
        )
        mask = read_mask(process.store.get(item.key_of(PSEUDO_MASK)), max_pixels=limits.max_image_pixels)
        return read_corrected(labeler, LabelRequest(photo.pixels, tags), mask, job.options.label)
    except TocoError as error:
        if error.kind == "unavailable":
            raise
        logger.warning("a corrected photo teaches nothing", extra={"item": item.id, "detail": str(error)})
        return None


def _label(process: WorkerProcess, job: JobRecord, asked: Relearning) -> None:
    """Make the job that labels again, once."""
    records, relearnings = process.records, Relearnings(process.records)
    labelling = asked.labelling or records.begin_job()
    relearnings.note(job.id, asked.id, labelling=labelling)
    if records.redis.exists(job_key(labelling)):
        relearnings.note(job.id, asked.id, state="labelling")
        return
    items = [
        (item, item.tags) for item in ItemIndex(records).each(job.id, ItemQuery(state="done")) if is_undecided(item)
    ]
    if not items or relearnings.is_undone(job.id, asked.id):
        relearnings.note(job.id, asked.id, state="undone" if relearnings.is_undone(job.id, asked.id) else "done")
        return
    options = job.options.model_copy(update={"adjustment": relearning_key(job.id, asked.id)})
    revising = Revising(job=job.id, how="learnt", source=asked.id)
    begin_revising(records, process.queue, items, options, revising, of=job, priority="batch", job=labelling)
    relearnings.note(job.id, asked.id, state="labelling")
