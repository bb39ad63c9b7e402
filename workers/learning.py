"""The learning phase of jobs on workers: photos read into tokens in shards, and the fit of a job's words.

A photo's tokens are stored under a key that follows from job and item, then it is counted: read twice, it is the same
object, and counts once. The fit may be begun again from them at any time.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toco.jobs.ids import item_id
from toco.jobs.job import ItemRecord, JobRecord
from toco.jobs.learning import LearntWords
from toco.jobs.logs import log_context
from toco.jobs.published_models import PublishedVersion
from toco.jobs.records import JobNotFound
from toco.jobs.store import ObjectNotFound, tokens_key
from toco.model.errors import TocoError
from toco.model.learning.learnt_spec import encoder_digest, job_vocabulary
from toco.model.learning.planning import CannotLearn, job_words, plan_learning
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import read_image
from toco.model.photos.tag_check import check_tags
from toco.workers.process import WorkerProcess

if TYPE_CHECKING:
    from toco.model.learning.learn import SampledTokens
    from toco.model.learning.learnt_model import LearntModel
    from toco.model.learning.tokens import ModelTokens

logger = logging.getLogger(__name__)

_READ_AT_ONCE: Final = 500  # records of items in one round trip


class FitLost(TocoError):
    """The job was cancelled or deleted, or another worker has the fit by now."""

    code = "fit_lost"
    kind = "conflict"


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """What a fit has to know of the encoder whose tokens it is given; see `learn.Encoder`."""

    vocabulary: Vocabulary
    digest: str
    side: int


class TokenShard:
    """One delivery of photos to be read for learning.

    Args:
        process: the worker's own connections and models.
        job: of the photos.
    """

    def __init__(self, process: WorkerProcess, job: str) -> None:
        self._process = process
        self._job = job
        self._started = time.monotonic()
        self._begun = 0

    def run(self, items: Sequence[str]) -> None:
        """Read the photos that are still to be read; what does not fit in the time of a shard goes back."""
        process = self._process
        try:
            record = process.records.job(self._job)
        except JobNotFound:
            return
        if not record.learns or record.learning is None or record.learning.plan is None:
            return
        process.models.sync()
        try:
            labeler = process.models.get(record.options.model, record.options.model_version, record.workspace)
        except (TocoError, OSError):
            # Its folder may be on its way; the sweep queues what is still to be read.
            logger.exception("the job's model cannot be used")
            return
        reader = process.models.reader(labeler)
        for position, item in enumerate(process.records.items(self._job, items)):
            if self._must_stop(record):
                process.queue.read_tokens(record, items[position:])
                break
            if not self._read(record, item, reader, record.learning.plan.tokens):
                break
        if self._begun:
            process.queue.note_speed(record, (time.monotonic() - self._started) / self._begun, reading=True)

    def _read(self, job: JobRecord, item: ItemRecord, reader: "ModelTokens", tokens: int) -> bool:
        """Read a photo; return whether to go on with the next."""
        learning, settings = self._process.learning, self._process.settings
        outcome = learning.begin_read(job.id, item.id, max_attempts=settings.max_attempts)
        if outcome == "read":
            self._begun += 1
            with log_context(item=item.id):
                try:
                    self._store(item, reader, tokens)
                    outcome = learning.end_read(job.id, item.id)
                except TocoError as error:
                    if error.kind == "unavailable":  # the store's fault: the sweep queues what is still to be read
                        learning.put_back(job.id, item.id)
                        logger.warning("photo not read yet", extra={"detail": str(error)})
                        return False
                    logger.warning("photo left out of learning", extra={"code": error.code, "detail": str(error)})
                    outcome = learning.end_read(job.id, item.id, left_out=True)
                except Exception:
                    logger.exception("reading a photo failed")
                    self._process.queue.read_tokens(job, [item.id])
                    return True
        if outcome == "gone":
            self._process.store.delete([tokens_key(job.id, item.id)])
            return False
        if outcome == "last":
            self._process.queue.fit_words(job.id)
        return True

    def _store(self, item: ItemRecord, reader: "ModelTokens", tokens: int) -> None:
        from toco.model.learning.learn import thinned  # noqa: PLC0415 - imports torch: in the worker's child only
        from toco.model.learning.token_file import tokens_bytes  # noqa: PLC0415 - imports torch: in the worker's child only

        settings, store = self._process.settings, self._process.store
        photo = read_image(
            store.get(item.image_key),
            max_pixels=settings.max_image_pixels,
            max_bytes=settings.max_image_bytes,
            long_side=reader.side,
        )
        found = thinned(reader.read([photo.pixels])[0], tokens, int(item.id))
        store.put(tokens_key(item.job, item.id), tokens_bytes(found))

    def _must_stop(self, job: JobRecord) -> bool:
        """Say whether the rest has to wait for another message. The first photo is always read."""
        if not self._begun:
            return False
        if time.monotonic() - self._started > self._process.settings.shard_seconds:
            return True
        return job.priority == "batch" and self._process.queue.interactive_waits()


class WordFit:
    """The fit of a job's words to the tokens that were read.

    Args:
        process: the worker's own connections.
        job: whose words.
        owner: the queue message; its redelivery may take over at once.
    """

    def __init__(self, process: WorkerProcess, job: str, *, owner: str) -> None:
        self._process = process
        self._job = job
        self._owner = owner
        self._seconds = process.settings.lease_seconds

    def run(self) -> None:
        """Fit, publish, and have the job labelled; unless that was done, or someone is at it."""
        process = self._process
        outcome = process.learning.begin_fit(
            self._job, owner=self._owner, seconds=self._seconds, max_attempts=process.settings.max_attempts
        )
        if outcome in ("busy", "over"):
            return
        try:
            record = process.records.job(self._job)
            if outcome == "exhausted":
                ended = self._give_up(record, "the worker process ended at every attempt")
            else:
                ended = self._fit(record)
        except (JobNotFound, FitLost):
            return
        if ended:
            self._process.queue.label(record, process.records.item_ids(self._job, "queued"))

    def _fit(self, record: JobRecord) -> bool:
        try:
            return self._learn(record)
        except FitLost:
            raise
        except CannotLearn as error:
            return self._give_up(record, str(error))
        except TocoError as error:
            if error.kind != "unavailable":
                logger.exception("the words cannot be fitted")
                return self._give_up(record, str(error))
            logger.warning("the words are not fitted yet", extra={"detail": str(error)})
            self._process.learning.leave_fit(self._job, owner=self._owner)
            return False

    def _learn(self, record: JobRecord) -> bool:
        from toco.model.learning.learn import fit_sample  # noqa: PLC0415 - imports torch: in the worker's child only
        from toco.model.learning.learnt_model import save_learnt_model  # noqa: PLC0415 - imports torch: in the worker's child only

        plan = record.learning.plan if record.learning else None
        if plan is None:
            raise FitLost("The job learns nothing.")
        known = self._process.catalogue.find(
            record.options.model, record.workspace, version=record.options.model_version
        ).spec
        items = list(self._items(record))
        # Items that were refused at the door are no photos that teach.
        tags = [item.tags if item.state != "failed" else None for item in items]
        words = job_words(tags, known.vocabulary, record.options.mapping)
        read = self._tokens(record, items)
        started = time.perf_counter()
        encoder = KnownEncoder(known.vocabulary, encoder_digest(known), known.input_size)
        model = fit_sample(plan.name, words, plan_learning(words), read, encoder, on_round=self._keep)
        seconds = round(time.perf_counter() - started, 3)
        logger.info("words fitted", extra={"words": len(plan.words), "photos": len(read), "seconds": seconds})
        del read
        with tempfile.TemporaryDirectory() as folder:
            saved = save_learnt_model(Path(folder), model)
            vocabulary = job_vocabulary(saved.spec, known.vocabulary)
            version = None
            if len(vocabulary) > len(known.vocabulary):
                version = self._process.published.store(
                    plan.name, Path(folder), workspace=record.workspace, job=record.id
                )
        return self._end(record, saved, vocabulary, version, tags)

    def _end(
        self,
        record: JobRecord,
        model: "LearntModel",
        vocabulary: Vocabulary,
        version: PublishedVersion | None,
        tags: Sequence[Sequence[str] | None],
    ) -> bool:
        learnt = LearntWords(words=model.spec.words)
        if version is not None:
            learnt = LearntWords(name=version.spec.name, version=version.spec.version, words=model.spec.words)
        ended = self._process.learning.end_fit(
            self._job,
            owner=self._owner,
            workspace=record.workspace,
            learnt=learnt,
            version=version,
            vocabulary=vocabulary,
            check=check_tags((written for written in tags if written), vocabulary, record.options.mapping),
        )
        if not ended and version is not None:
            self._process.published.withdraw(version.spec.name, record.workspace, version)
        logger.info("words learnt", extra={"model": learnt.version, "kept": ended})
        return ended

    def _give_up(self, record: JobRecord, why: str) -> bool:
        """Have the job labelled without its own words; they are left open."""
        logger.warning("nothing learnt", extra={"detail": why})
        return self._process.learning.end_fit(self._job, owner=self._owner, workspace=record.workspace, error=why)

    def _keep(self, _round: int = 0) -> None:
        """Keep the fit, and be seen alive. Raises FitLost."""
        self._process.answer()
        if not self._process.learning.renew_fit(self._job, owner=self._owner, seconds=self._seconds):
            raise FitLost("The fit is another's, or the job is cancelled or deleted.")

    def _items(self, record: JobRecord) -> Iterator[ItemRecord]:
        for start in range(0, record.total, _READ_AT_ONCE):
            yield from self._process.records.items(
                record.id, [item_id(n) for n in range(start, min(record.total, start + _READ_AT_ONCE))]
            )

    def _tokens(self, record: JobRecord, items: Sequence[ItemRecord]) -> Mapping[int, "SampledTokens"]:
        from toco.model.learning.token_file import tokens_of  # noqa: PLC0415 - imports torch: in the worker's child only

        found: dict[int, SampledTokens] = {}
        kept = {meta.key.rpartition("/")[2] for meta in self._process.store.under(tokens_key(record.id, ""))}
        for count, item in enumerate(item for item in items if item.id in kept):
            if count % _READ_AT_ONCE == 0:
                self._keep()
            try:
                found[int(item.id)] = tokens_of(self._process.store.get(tokens_key(record.id, item.id)))
            except ObjectNotFound:
                continue  # the job is being deleted
        return found
