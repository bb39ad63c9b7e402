"""The tag doctor on a worker: photos are looked at a piece at a time, so that others need not wait long.

What a piece found out is kept in the store; killed anywhere, the next message goes on behind the last whole piece. Of
learnt words the model that they stand on knows nothing: like all words that it does not know they are judged by what
the photos themselves teach, from what its encoder sees in each; that is read anyway, so no stored tokens are needed.
"""

import base64
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, TypeAdapter

from toco.jobs.cures import tags_of
from toco.jobs.job import ItemRecord
from toco.jobs.reports import Diagnosis, NamedFinding, ReportRecord
from toco.jobs.store import report_part_key
from toco.model.errors import TocoError
from toco.model.photos.images import read_image
from toco.model.photos.names import UniqueNames
from toco.model.photos.tag_doctor import ExaminedPhoto, examine
from toco.workers.process import WorkerProcess

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler

logger = logging.getLogger(__name__)

PIECE_SECONDS: Final = 10.0
"""A piece ends after this time, and what waits in the queues has its turn."""

_MOST_PHOTOS: Final = 500  # of a piece


class Examined(BaseModel):
    """A photo that was looked at, as it is kept; see `ExaminedPhoto`.

    Attributes:
        job, item, name: which.
        look: float16, base64.
    """

    job: str
    item: str
    name: str
    tags: list[str]
    scores: list[float]
    fingerprint: str
    brightness: float
    size: tuple[int, int]
    complete: bool = True
    look: str = ""

    def photo(self, name: str) -> ExaminedPhoto:
        """Return it as the doctor takes it, under a name that no other has."""
        return ExaminedPhoto(
            name,
            frozenset(self.tags),
            np.array(self.scores, np.float32),
            complete=self.complete,
            fingerprint=self.fingerprint,
            brightness=self.brightness,
            size=self.size,
            look=np.frombuffer(base64.b64decode(self.look), np.float16),
        )


_PART: Final = TypeAdapter(list[Examined])


def look_further(process: WorkerProcess, record: ReportRecord) -> bool:
    """Look at the next photos of a report, and finish it after the last; return whether it is finished.

    Raises:
        ModelNotFound, ModelChanged, StorageUnavailable and the like: the report fails.
    """
    reports, limits = process.reports, process.settings
    if not record.total:
        reports.builds.note(record.id, total=reports.total(record))
    labeler = _judge(process, record)
    started, unreadable, seen = time.monotonic(), 0, 0
    found: list[Examined] = []
    for item in islice(reports.items(record), record.photos, record.photos + _MOST_PHOTOS):
        examined = _look(process, labeler, item)
        seen += 1
        if examined is None:
            unreadable += 1
        else:
            found.append(examined)
        if time.monotonic() - started > PIECE_SECONDS:
            break
        reports.builds.keep(record.id, lease_seconds=limits.lease_seconds)
    if seen:
        process.store.put(report_part_key(record.job, record.id, record.parts), _PART.dump_json(found))
        reports.builds.note(
            record.id,
            photos=record.photos + seen,
            unreadable=record.unreadable + unreadable,
            parts=record.parts + 1,
        )
        return False
    keys = [report_part_key(record.job, record.id, part) for part in range(record.parts)]
    diagnosis = conclude(
        [entry for key in keys for entry in _PART.validate_json(process.store.get(key))],
        labeler.vocabulary.names,
        model=labeler.spec.version,
        on_word=lambda: reports.builds.keep(record.id, lease_seconds=limits.lease_seconds),
    )
    reports.finish(record, diagnosis)
    process.store.delete(keys)
    logger.info("tags examined", extra={"photos": record.photos, "findings": len(diagnosis.findings)})
    return True


def conclude(
    found: Sequence[Examined], classes: Sequence[str], *, model: str, on_word: Callable[[], None] = lambda: None
) -> Diagnosis:
    """Return what the doctor says of all photos.

    Args:
        found: one that stands there twice, as items moved between two pieces, counts once.
        classes: of the model, in the order of the photos' scores.
        model: its version.
        on_word: see `examine`.
    """
    photos = {(entry.job, entry.item): entry for entry in found}
    unique = UniqueNames()
    named = {unique.take(entry.name): place for place, entry in photos.items()}
    findings = examine([photos[place].photo(name) for name, place in named.items()], classes, on_word=on_word)
    said = (NamedFinding(finding=finding, items=tuple(named[name] for name in finding.photos)) for finding in findings)
    return Diagnosis(model=model, findings=tuple(said))


def _judge(process: WorkerProcess, record: ReportRecord) -> "Labeler":
    """Return the model whose classifier is asked: the first job's, or the one that its learnt words stand on."""
    job = process.records.job(record.members[0].job)
    known = process.catalogue.find(job.options.model, job.workspace, version=job.options.model_version)
    if known.encoder:
        known = process.catalogue.encoder_of(known)
    return process.models.get(known.spec.name, known.spec.version, job.workspace)


def _look(process: WorkerProcess, labeler: "Labeler", item: ItemRecord) -> Examined | None:
    from toco.model.labelling.tag_scores import examined  # noqa: PLC0415 - imports torch: in the worker's child only

    limits = process.settings
    try:
        decoded = read_image(
            process.store.get(item.image_key),
            max_pixels=limits.max_image_pixels,
            max_bytes=limits.max_image_bytes,
            long_side=labeler.spec.input_size,
        )
    except TocoError as error:
        if error.kind == "unavailable":
            raise
        logger.warning("a photo cannot be looked at", extra={"item": item.id, "detail": str(error)})
        return None
    # Of a photo whose tags the classifier chose nobody said that they are all.
    found = examined(labeler, decoded, item.name, frozenset(tags_of(item)), complete=item.tags is not None)
    return Examined(
        job=item.job,
        item=item.id,
        name=item.name,
        tags=sorted(found.tags),
        scores=[round(float(score), 5) for score in found.scores],
        fingerprint=found.fingerprint,
        brightness=found.brightness,
        size=found.size,
        complete=found.complete,
        look=base64.b64encode(found.look.tobytes()).decode(),
    )
