"""Finding work that was lost: one worker at a time looks every few seconds."""

import logging
import threading
import time

from toco.jobs.broker import BATCH, INTERACTIVE
from toco.jobs.builds import REPORT, Builds
from toco.jobs.expired_uploads import any_expired_uploads
from toco.jobs.exports import Exports
from toco.jobs.keys import SWEEP, job_key
from toco.jobs.learning_records import LearningRecords
from toco.jobs.queue import WorkQueue
from toco.jobs.records import JobNotFound, Records
from toco.jobs.relearning import Relearnings
from toco.jobs.reports import kind_of
from toco.jobs.revising import finished_revising
from toco.jobs.settings import Settings
from toco.jobs.trainings import Trainings
from toco.model.errors import TocoError
from toco.workers.webhooks import Webhooks

logger = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0
_ABANDONED_SECONDS = 3600.0  # no submission takes longer


class Sweep:
    """What one look does; every part may run twice, or at once in two places, with no harm.

    It reads and writes records alone: what may take long, or hang, is an errand.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records,
        *,
        queue: WorkQueue,
        exports: Exports,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self._records = records
        self._queue = queue
        self._exports = exports
        self._webhooks = webhooks
        self._learning = LearningRecords(records)
        self._trainings = Trainings(records, lease_seconds=settings.lease_seconds)
        self._relearnings = Relearnings(records)
        self._reports = Builds(records, REPORT)

    def run(self) -> None:
        """Look once, unless another worker did so just now."""
        claim = SWEEP
        if not self._records.redis.set(claim, 1, nx=True, px=int(self._settings.sweep_seconds * 900)):
            return
        for job, items in self._records.reclaim_expired().items():
            logger.warning("leases ran out", extra={"job": job, "items": items})
            self._requeue(job, items)
        for job, items in self._queue.take_due().items():
            self._requeue(job, items)
        self._find_stalled()
        if self._webhooks.any_due():
            self._queue.deliver_webhooks()
        self._queue_unfinished()
        self._queue.pulse()
        self._delete_old()

    def _queue_unfinished(self) -> None:
        """Queue again what is no item's: exports, reports, trainings, learning again."""
        for export in self._exports.stalled(self._settings.lease_seconds):
            self._queue.build_export(export)
        for report in self._reports.stalled(self._settings.lease_seconds):
            if kind := kind_of(self._reports.fields(report)):
                self._queue.report(report, kind)
        for training in self._trainings.due():
            if self._trainings.look(training) == "queued":
                self._queue.train(training)
        for job, relearning in self._relearnings.stalled(self._settings.lease_seconds):
            self._queue.learn_again(job, relearning)

    def _find_stalled(self) -> None:
        """Queue items again whose message was lost: with a worker that died, or an API that died before sending it.

        A message that is merely slow leads to a second one, which will find nothing to do.
        """
        depths = self._queue.depths()
        if depths[INTERACTIVE] or depths[BATCH]:
            return
        for job in self._records.active_jobs():
            try:
                record = self._records.job(job)
            except JobNotFound:
                continue
            idle = self._records.progress_age(job)
            if record.counts["queued"] and not record.counts["running"] and idle > self._settings.lease_seconds:
                items = [] if record.learns else self._records.item_ids(job, "queued")
                unread = self._learning.unread(job) if record.learns else []
                logger.warning("job stalled, queued again", extra={"job": job, "items": len(items or unread)})
                self._records.touch(job)
                self._queue.go_on(record, items, unread)

    def _requeue(self, job: str, items: list[str]) -> None:
        try:
            self._queue.label(self._records.job(job), items)
        except JobNotFound:
            return

    def _delete_old(self) -> None:
        if any_expired_uploads(self._records):
            self._queue.delete_uploads()
        for training in self._trainings.trash():
            self._trainings.put_off_deletion(training)
            self._queue.delete_training(training)
        if self._settings.retention_days:
            for job in self._records.finished_before(time.time() - self._settings.retention_days * _DAY_SECONDS):
                logger.info("job is past its retention", extra={"job": job})
                self._records.delete_job(job)
                self._queue.delete_objects(job)
        for job in finished_revising(self._records):
            self._records.delete_job(job)
            self._queue.delete_objects(job)
        for job in self._records.abandoned(_ABANDONED_SECONDS):
            if not self._records.redis.exists(job_key(job)):
                self._records.delete_job(job)
                self._records.put_off_deletion(job)
                self._queue.delete_objects(job)


class SweepThread(threading.Thread):
    """Looks for lost work for as long as the worker's child lives.

    Not in Celery's parent: the store's runtime has threads, and a fork copies what they hold locked for ever.
    """

    def __init__(self, sweep: Sweep, seconds: float) -> None:
        super().__init__(name="sweep", daemon=True)
        self._sweep = sweep
        self._seconds = seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look, wait, look again; a broker that is away now may be back next time."""
        while not self._stopped.wait(self._seconds):
            try:
                self._sweep.run()
            except (OSError, TocoError):
                logger.warning("sweep failed, trying again", exc_info=True)
            except Exception:
                logger.exception("sweep failed")

    def stop(self) -> None:
        """End after the present look."""
        self._stopped.set()
