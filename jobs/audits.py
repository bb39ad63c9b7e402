"""Audits of a job: a random sample drawn by us, checked by people, and what it says of all labels.

A photo of the sample counts as checked when a person has accepted the label that was drawn, or has put a mask in its
place; the estimate compares the label as it was drawn with the mask that is current then.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Final

from toco.jobs.ids import new_id
from toco.jobs.item_index import ItemIndex, ItemQuery
from toco.jobs.job import ItemRecord
from toco.jobs.keys import audit_record, audits_key
from toco.jobs.records import Records
from toco.jobs.revisions import Revisions
from toco.jobs.store import Store
from toco.model.errors import TocoError
from toco.model.evaluation.audit import AuditEstimate, Checked, Population, check, draw_sample, estimate, strata_of
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.options import Frozen
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import MAX_PIXELS, read_mask

_MOST_SEED: Final = 2**31 - 1


class AuditNotFound(TocoError):
    """The job has no such audit."""

    code = "audit_not_found"
    kind = "not_found"


class NothingToAudit(TocoError):
    """The job has no label yet."""

    code = "nothing_to_audit"
    kind = "conflict"


class DrawnPhoto(Frozen):
    """A photo of a sample.

    Attributes:
        item: id.
        revision: of its label that was drawn.
        stratum: that it stands for.
    """

    item: str
    revision: int
    stratum: str


class Audit(Frozen):
    """An audit as it was drawn; it never changes.

    Attributes:
        id: time-ordered.
        seed: of the draw.
        who: asked for it.
        created_at: seconds since 1970.
        population: all labels at that time.
        photos: to check.
    """

    id: str
    seed: int
    who: str
    created_at: float
    population: Population
    photos: tuple[DrawnPhoto, ...]


@dataclass(frozen=True, slots=True)
class AuditResult:
    """How far an audit is, and what it says so far.

    Attributes:
        audit: as it was drawn.
        names: of its photos by item.
        checked: items that a person has checked.
        estimate: from these; None while there are none. It holds for all labels only once all are checked.
    """

    audit: Audit
    names: dict[str, str]
    checked: frozenset[str]
    estimate: AuditEstimate | None

    @property
    def is_complete(self) -> bool:
        """Whether all photos of the sample are checked."""
        return len(self.checked) == len(self.audit.photos)


class Audits:
    """Draws samples and reads what became of them. Safe to use from several threads."""

    def __init__(self, records: Records, store: Store) -> None:
        self._records = records
        self._redis = records.redis
        self._store = store
        self._revisions = Revisions(records, store, max_pixels=MAX_PIXELS)

    def draw(self, job: str, count: int, *, seed: int | None = None, who: str = "") -> Audit:
        """Draw a sample of a job's labels as they are now.

        Args:
            job: id.
            count: photos to check.
            seed: of the draw; None takes one by chance.
            who: asks.

        Raises:
            JobNotFound, NothingToAudit
        """
        items = list(ItemIndex(self._records).each(job, ItemQuery(state="done")))
        if not items:
            raise NothingToAudit(f"Job {job} has no label yet.", fix="Wait until some of it is done.")
        seed = secrets.randbelow(_MOST_SEED) if seed is None else seed
        tags = [item.summary.tags if item.summary else () for item in items]
        strata = strata_of(tags)
        audit = Audit(
            id=new_id(),
            seed=seed,
            who=who,
            created_at=time.time(),
            population=Population.of(tags),
            photos=tuple(
                DrawnPhoto(item=items[place].id, revision=items[place].revision.number, stratum=strata[place])
                for place in draw_sample(tags, count, seed)
            ),
        )
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.set(audit_record(job, audit.id), audit.model_dump_json())
        pipeline.zadd(audits_key(job), {audit.id: audit.created_at})
        pipeline.execute()
        return audit

    def of_job(self, job: str) -> list[Audit]:
        """Return a job's audits, the newest first. Raises JobNotFound."""
        self._records.job(job)
        names = self._redis.zrevrange(audits_key(job), 0, -1)
        found = self._redis.mget([audit_record(job, name) for name in names]) if names else []
        return [Audit.model_validate_json(text) for text in found if text]

    def get(self, job: str, audit: str) -> Audit:
        """Return an audit. Raises JobNotFound, AuditNotFound."""
        text = self._redis.get(audit_record(job, audit))
        if not text:
            self._records.job(job)
            raise AuditNotFound(f"Job {job} has no audit {audit!r}.", fix="Draw one with POST.")
        return Audit.model_validate_json(text)

    def result(self, job: str, audit: str, vocabulary: Vocabulary, *, level: float = 0.9) -> AuditResult:
        """Say what an audit found so far.

        Raises:
            JobNotFound, AuditNotFound, StorageUnavailable
        """
        found = self.get(job, audit)
        items = {item.id: item for item in self._records.items(job, [photo.item for photo in found.photos])}
        checked: dict[str, Checked] = {}
        for photo in found.photos:
            item = items.get(photo.item)
            if item is not None and _is_checked(item, photo):
                checked[photo.item] = self._compared(job, item, photo)
        said = None
        if checked:
            said = estimate(list(checked.values()), found.population, vocabulary, level=level, seed=found.seed)
        names = {photo.item: items[photo.item].name for photo in found.photos if photo.item in items}
        return AuditResult(found, names, frozenset(checked), said)

    def newest_result(self, job: str, vocabulary: Vocabulary) -> AuditResult | None:
        """Return what the newest audit of a job found of which anything is checked; None if there is none."""
        for audit in self.of_job(job):
            found = self.result(job, audit.id, vocabulary)
            if found.estimate is not None:
                return found
        return None

    def _compared(self, job: str, item: ItemRecord, photo: DrawnPhoto) -> Checked:
        truth = read_mask(self._store.get(item.key_of(PSEUDO_MASK)))
        if item.revision.number == photo.revision:
            return check(photo.stratum, truth, truth)
        drawn = self._revisions.find(job, item.id, photo.revision).revision
        return check(photo.stratum, read_mask(self._store.get(drawn.key_of(job, item.id, PSEUDO_MASK))), truth)


def audit_lines(result: AuditResult | None) -> list[str]:
    """Return what an audit says as lines of Markdown, for a data sheet; none while nothing is checked."""
    if result is None or result.estimate is None:
        return []
    said = result.estimate
    drawn = f"{len(result.audit.photos)} photos drawn at random (stratified by class, seed {result.audit.seed})"
    lines = [
        f"A person checked {said.photos} of {drawn} of {said.population}.",
        "The figures are those of the labels as they were then; what was corrected since is in this export.",
        "",
        f"| | IoU | {said.level:.0%} interval | photos checked |",
        "|---|---|---|---|",
        f"| mean | {said.miou.estimate:.3f} | {said.miou.low:.3f} to {said.miou.high:.3f} | {said.photos} |",
    ]
    lines += [
        f"| {row.name}{'' if row.in_mean else ' (rare, not in the mean)'} | {row.estimate:.3f} "
        f"| {row.low:.3f} to {row.high:.3f} | {row.photos} |"
        for row in said.classes
    ]
    if not result.is_complete:
        lines += ["", "Not all of the sample is checked: what is left may be what is hard, and the figures too good."]
    return lines


def _is_checked(item: ItemRecord, photo: DrawnPhoto) -> bool:
    if item.revision.by_person:
        return True
    return item.revision.number == photo.revision and item.decision == "accept"
