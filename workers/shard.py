"""Labelling one shard: lease, read, label, store, record; one item at a time in all that matters.

Each item is leased as the labeler asks for it, and handed back if the labeler stops before it is begun, so that an
item that nobody began has lost no attempt. Items whose
process died once already are labelled alone afterwards: if the process dies again, it is clear whose fault it was,
and the others of the shard are not blamed.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from toco.jobs.job import ItemRecord, JobRecord, Summary
from toco.jobs.logs import log_context
from toco.jobs.queue import WorkQueue
from toco.jobs.records import Lease, Records
from toco.jobs.revisions import Revisions
from toco.jobs.settings import Settings
from toco.jobs.stats import Stats
from toco.jobs.store import Store, artifact_key, revision_key
from toco.jobs.summary import summarise
from toco.model.errors import TocoError
from toco.model.formats.artifacts import ALL_OUTPUTS, RESULT, encode_artifacts, encode_result
from toco.model.formats.mask_files import read_masks, unpack_masks
from toco.model.formats.result import result_of
from toco.model.method.mask_merge import ForeignMask
from toco.model.options import LabelOptions
from toco.model.photos.images import DecodedImage, read_image
from toco.workers.leases import LeaseKeeper, give_back
from toco.workers.revised_labels import RevisedLabels
from toco.workers.warm_model import halved, is_out_of_memory

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler, LabelRequest
    from toco.model.method.label import Label

logger = logging.getLogger(__name__)

_ENCODERS = 2  # threads that encode and store while the next batch is on the device
_WAITING_LABELS = 8  # labels held for them at most


class LabellingFault(TocoError):
    """Something that we did not foresee went wrong with an image."""

    code = "labelling_fault"
    kind = "internal"


class Shard:
    """One delivery of one shard.

    Args:
        settings, records, store, queue, stats, leases: the worker's own.
        labeler: the job's model, warm.
        job: as it stood when the message came.
        owner: the queue message; its redelivery may take its leases over.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        records: Records,
        store: Store,
        queue: WorkQueue,
        stats: Stats,
        leases: LeaseKeeper,
        labeler: "Labeler",
        job: JobRecord,
        owner: str,
    ) -> None:
        self._settings = settings
        self._records = records
        self._store = store
        self._queue = queue
        self._stats = stats
        self._leases = leases
        self._labeler = labeler
        self._job = job
        self._owner = owner
        revisions = Revisions(records, store, max_pixels=settings.max_image_pixels)
        self._revised = RevisedLabels(records, store, revisions, job, job.revising) if job.revising else None
        self._started = time.monotonic()
        self._begun = 0
        self._left: list[str] = []
        self._asked: set[str] = set()  # items that the labeler came to
        self._room = BoundedSemaphore(_WAITING_LABELS)

    def run(self, items: Sequence[str]) -> int:
        """Label the items of the shard that are still to do; return how many this delivery began.

        What does not fit in the time of a shard, or has to make way for someone who waits, goes back on the queue.
        """
        records = self._records.items(self._job.id, items)
        fresh = [record for record in records if record.attempts == 0]
        suspects = [record for record in records if record.attempts > 0]
        with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode") as encoders:
            if fresh:
                self._label(fresh, encoders)
            for record in suspects:
                self._label([record], encoders)
        if self._left:
            self._queue.label(self._job, self._left)
        if self._begun:
            seconds = time.monotonic() - self._started
            self._queue.note_speed(self._job, seconds / self._begun)
            self._stats.add({"shards": 1, "shard_images": self._begun, "shard_seconds": seconds})
        return self._begun

    def _label(self, items: list[ItemRecord], encoders: ThreadPoolExecutor) -> None:
        """Label items together; after a device out of memory those not answered yet go on in batches half as large."""
        options: LabelOptions | None = self._job.options.label
        open_items = list(items)
        leases: dict[str, Lease] = {}
        while options is not None and open_items:
            handed: list[Future[None]] = []
            used = self._labeler.batch_size(options)
            try:
                requests = self._requests(open_items, leases)
                for request, outcome in self._labeler.label(requests, options, stop=self._must_stop):
                    lease = leases.pop(request.name)
                    open_items = [record for record in open_items if record.id != request.name]
                    self._room.acquire()
                    future = encoders.submit(self._settle, lease, outcome)
                    future.add_done_callback(lambda _: self._room.release())
                    handed.append(future)
                for lease in leases.values():
                    self._hand_back(lease)
                self._leave(open_items)
                open_items = []
            except Exception as error:
                if is_out_of_memory(error) and (options := halved(options, used)) is not None:
                    logger.warning("device out of memory, halving the batch", extra={"batch_images": used})
                    self._stats.add({"out_of_memory": 1})
                    continue
                # Whose fault it was is not known: each is tried again alone.
                logger.exception("labelling a batch failed", extra={"items": sorted(leases)})
                fault = LabellingFault(f"{type(error).__name__}: {error}", fix="See the worker's log.")
                for lease in leases.values():
                    self._give_back(lease, fault)
                self._leave(open_items)
                options = None
            finally:
                for future in handed:
                    future.result()

    def _requests(self, items: Sequence[ItemRecord], leases: dict[str, Lease]) -> Iterator["LabelRequest"]:
        from toco.model.labelling.labeler import LabelRequest  # noqa: PLC0415 - slow to import: in the worker's child only

        for record in items:
            if record.id not in leases:
                if record.id in self._asked:
                    continue  # passed over, or given back
                if self._must_stop():
                    return
                self._asked.add(record.id)
                lease = self._records.lease(
                    record.job,
                    record.id,
                    owner=self._owner,
                    seconds=self._settings.lease_seconds,
                    max_attempts=self._settings.max_attempts,
                )
                if isinstance(lease, str):
                    logger.info("item passed over", extra={"item": record.id, "reason": lease})
                    continue
                leases[record.id] = lease
                self._leases.keep(lease)
                self._begun += 1
            source = partial(self._opened, record.image_key)
            asked = self._job.options
            yield LabelRequest(
                source,
                record.tags,
                name=record.id,
                unknown_tags=asked.unknown_tags,
                mapping=asked.mapping,
                masks=partial(self._masks, record.masks_key) if record.masks_key else None,
            )

    def _masks(self, key: str, size: tuple[int, int]) -> list[ForeignMask]:
        """Fetch and read the masks that came with a photo; the threads of the labeler that decode call this."""
        return read_masks(unpack_masks(self._store.get(key)), size)

    def _opened(self, key: str, long_side: int) -> DecodedImage:
        """Fetch and decode a photo; the threads of the labeler that decode call this."""
        limits = self._settings
        return read_image(
            self._store.get(key),
            max_pixels=limits.max_image_pixels,
            max_bytes=limits.max_image_bytes,
            long_side=long_side,
        )

    def _must_stop(self) -> bool:
        """Say whether the rest has to wait for another message. The first item is always labelled."""
        if not self._begun:
            return False
        if time.monotonic() - self._started > self._settings.shard_seconds:
            return True
        return self._job.priority == "batch" and self._queue.interactive_waits()

    def _settle(self, lease: Lease, outcome: "Label | TocoError") -> None:
        """Store and record one outcome. Runs on an encoder thread; never raises for what an item can cause."""
        with log_context(job=lease.job, item=lease.item, request_id=self._job.request_id):
            if isinstance(outcome, TocoError):
                self._give_back(lease, outcome)
                return
            try:
                self._finish(lease, outcome)
            except TocoError as error:
                self._give_back(lease, error)
            except Exception as error:
                logger.exception("labelling failed")
                self._give_back(lease, LabellingFault(f"{type(error).__name__}: {error}", fix="See the worker's log."))

    def _finish(self, lease: Lease, label: "Label") -> None:
        options = self._job.options
        clock = _Clock(label.timings)
        artifacts = encode_artifacts(label, outputs=options.outputs or ALL_OUTPUTS)
        clock.lap("encode")
        if not self._records.renew(lease, seconds=self._settings.lease_seconds):
            # Whoever has the item now, or had it since, stores its own: what is there must stay what its record says.
            self._leases.drop(lease)
            logger.warning("labelled too late", extra={"attempt": lease.attempt})
            return
        key_of = self._place_of(lease)
        for name, content in artifacts.items():
            self._store.put(key_of(name), content)
        clock.lap("store")
        result = result_of(label, self._labeler.spec, options.label, timings=clock.seconds)
        artifacts[RESULT] = encode_result(result)
        self._store.put(key_of(RESULT), artifacts[RESULT])
        sizes = {name: len(content) for name, content in artifacts.items()}
        summary = summarise(result, sizes, clock.seconds)
        handed_over = self._hand_over(lease, summary, label)
        outcome = self._records.complete(lease, summary)
        self._leases.drop(lease)
        if outcome == "gone" or handed_over not in ("", "done", "kept"):
            self._store.delete([key_of(name) for name in artifacts])
        self._stats.add(
            {f"stage_seconds:{stage}": spent for stage, spent in clock.seconds.items()}
            | {f"stage_count:{stage}": 1 for stage in clock.seconds}
        )
        logger.info("item labelled", extra={"outcome": outcome, "attempt": lease.attempt, "timings": clock.seconds})

    def _place_of(self, lease: Lease) -> Callable[[str], str]:
        """Return what says where the artifacts of an item are stored."""
        revised = self._records.item(lease.job, lease.item).revises if self._revised else None
        if self._revised is None or revised is None:
            return partial(artifact_key, lease.job, lease.item)
        return partial(revision_key, self._revised.job, revised.item, lease.job)

    def _hand_over(self, lease: Lease, summary: Summary, label: "Label") -> str:
        """Make a label a revision of the item that it is for; an empty text where it is for none."""
        if self._revised is None:
            return ""
        record = self._records.item(lease.job, lease.item)
        if record.revises is None:
            return ""
        outcome = self._revised.hand_over(record.revises, record.tags, summary, label.pseudo_mask)
        logger.info("label handed over", extra={"to": self._revised.job, "as": record.revises.item, "outcome": outcome})
        return outcome

    def _leave(self, items: Sequence[ItemRecord]) -> None:
        """Put items that the labeler never came to back on the queue."""
        self._left += [record.id for record in items if record.id not in self._asked]

    def _hand_back(self, lease: Lease) -> None:
        """Put an item that was read ahead but not begun back on the queue, as if it had not been taken."""
        self._leases.drop(lease)
        self._begun -= 1
        if self._records.hand_back(lease) == "queued":
            self._left.append(lease.item)

    def _give_back(self, lease: Lease, error: TocoError) -> None:
        """Fail an item, or put it back if its error may pass and it has attempts left."""
        with log_context(job=lease.job, item=lease.item, request_id=self._job.request_id):
            self._leases.drop(lease)
            outcome = give_back(self._records, self._settings, lease, error)
            logger.warning("item not labelled", extra={"outcome": outcome, "code": error.code, "detail": str(error)})


class _Clock:
    """Seconds by stage, going on from those that the model measured."""

    def __init__(self, seconds: dict[str, float], now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = dict(seconds)
        self._now = now
        self._last = now()

    def lap(self, stage: str) -> None:
        """Book the time since the last call."""
        now = self._now()
        self.seconds[stage] = now - self._last
        self._last = now
