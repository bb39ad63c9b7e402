"""Labels that become revisions of another job's items: stored under that job, then written by compare-and-set."""

import logging
import time

import numpy as np
import numpy.typing as npt

from toco.jobs.job import ItemRecord, JobRecord, Summary
from toco.jobs.records import ItemNotFound, JobNotFound, Records
from toco.jobs.relearning import Relearnings
from toco.jobs.revision import RevisedItem, Revising, Revision
from toco.jobs.revisions import ItemNotLabelled, NewRevision, Revisions
from toco.jobs.store import Store
from toco.model.errors import TocoError
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.formats.correction import mean_iou
from toco.model.photos.images import read_mask

logger = logging.getLogger(__name__)

_ATTEMPTS = 20  # numbers that others may take first


class RevisedLabels:
    """Hands labels of a revising job over to the job that they are for.

    Args:
        records: of both.
        store: of both.
        revisions: of the other.
        job: the revising one.
        revising: what it is for.
    """

    def __init__(
        self, records: Records, store: Store, revisions: Revisions, job: JobRecord, revising: Revising
    ) -> None:
        self._records = records
        self._revisions = revisions
        self._job = job
        self._revising = revising
        self._relearnings = Relearnings(records)
        self._store = store

    @property
    def job(self) -> str:
        """The job that the labels are for."""
        return self._revising.job

    def hand_over(
        self, revised: RevisedItem, words: tuple[str, ...] | None, summary: Summary, mask: npt.NDArray[np.uint8]
    ) -> str:
        """Write a label, whose artifacts are stored in the folder named for the revising job, as a revision.

        It becomes current if the one is that it builds on. Where a person was faster, what was asked for by hand is
        kept as a revision that can be chosen; what is learnt for many is dropped.

        Returns:
            `done`, `kept` (another is current), `late` (a person decided meanwhile) or `gone`.
        """
        revision = Revision(
            how=self._revising.how,
            who=self._revising.who,
            based_on=revised.based_on,
            folder=self._job.id,
            source=self._revising.source,
        )
        many = bool(revision.source)
        for _ in range(_ATTEMPTS):
            try:
                record = self._revisions.labelled(self._revising.job, revised.item)
            except (JobNotFound, ItemNotFound, ItemNotLabelled):
                return "gone"
            if self._revisions.has_folder(record, revision.folder):
                if many and record.revision.folder == revision.folder:
                    self._note(record, record.revision)
                return "done"  # the message came twice
            is_based = record.revision.number == revised.based_on
            if many and (not is_based or record.is_decided or self._relearnings.is_undone(record.job, revision.source)):
                return "late"
            new = NewRevision(
                revision.model_copy(
                    update={"number": record.latest + 1, "at": time.time(), "iou": self._iou(record, mask)}
                ),
                summary,
                words,
            )
            outcome = self._revisions.write(record, new, becomes_current=is_based)
            if outcome == "done":
                if many:
                    self._note(record, new.revision)
                return "done" if is_based else "kept"
            if outcome in ("gone", "unlabelled"):
                return "gone"
        logger.warning("an item is changed all the time", extra={"job": record.job, "item": record.id})
        return "late"

    def _note(self, record: ItemRecord, revision: Revision) -> None:
        self._relearnings.note_change(record.job, revision.source, record.id, revision.number, revision.iou or 0.0)

    def _iou(self, record: ItemRecord, mask: npt.NDArray[np.uint8]) -> float | None:
        """Return the mean IoU of a new mask with the current one; None where that is gone, or of another size."""
        try:
            before = read_mask(self._store.get(record.key_of(PSEUDO_MASK)))
        except TocoError:
            return None
        return mean_iou(before, mask) if before.shape == mask.shape else None
