"""Revisions of labels: artifacts first, then the record, by compare-and-set; nothing that was is ever written over.

An item begins with the worker's own label, revision 0, of which nothing is written until there is a second. Each later
one has artifacts under keys of its own, which follow from its number and its content, and an entry that never changes.
One is current: lists, statistics, previews and exports show it. Going back is choosing an older one. A person's verdict
is one of a revision: it stays behind with it, and comes back with it.
"""

import hashlib
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from toco.jobs.job import Decision, ItemRecord, Summary
from toco.jobs.keys import item_key, revisions_key
from toco.jobs.records import Records
from toco.jobs.revision import PersonsWay, Revision
from toco.jobs.revision_scripts import RevisionScripts
from toco.jobs.store import Store
from toco.jobs.summary import summarise
from toco.model.errors import TocoError
from toco.model.formats.artifacts import OVERLAY, PICTURE_SIDE, RESULT, SEGMENTATION, read_result
from toco.model.formats.correction import Correction, Mask, correct
from toco.model.photos.classes import Vocabulary
from toco.model.photos.images import read_image, read_mask

_KINDS: Final = ("summary", "words", "verdict")  # kept of a revision beside its entry
_ATTEMPTS: Final = 20  # numbers that others may take first, while the same revision stays current
_DIGEST_CHARACTERS: Final = 24


class RevisionOutdated(TocoError):
    """The revision that a change builds on is not the current one any more.

    Args:
        job, item: of the revision.
        current: number of the current one.
    """

    code = "revision_outdated"
    kind = "outdated"

    def __init__(self, job: str, item: str, current: int) -> None:
        super().__init__(
            f"Item {item} of job {job} is at revision {current} by now.",
            fix=f'Look at it, then send the change with If-Match: "{current}".',
        )
        self.current = current


class RevisionNotFound(TocoError):
    """The item has no revision of this number."""

    code = "revision_not_found"
    kind = "not_found"


class ItemNotLabelled(TocoError):
    """The item has no label that could be corrected."""

    code = "item_not_labelled"
    kind = "conflict"


class TooManyEditors(TocoError):
    """Others took every number that was tried."""

    code = "too_many_editors"
    kind = "unavailable"


@dataclass(frozen=True, slots=True)
class KnownRevision:
    """A revision with what is known of its label.

    Attributes:
        revision: how it came about.
        summary: figures of the label.
        words: tags as written; None where the classifier found them.
        decision: a person's verdict on it.
        is_current: whether it is the one that counts.
    """

    revision: Revision
    summary: Summary
    words: tuple[str, ...] | None
    decision: Decision | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A revision that is to be written, its artifacts stored already.

    Attributes:
        revision: the entry.
        summary: figures of the label.
        words: tags as written; None where the classifier found them.
        decision: a verdict that comes with it.
    """

    revision: Revision
    summary: Summary
    words: tuple[str, ...] | None
    decision: Decision | None = None


class Revisions:
    """Reads and writes revisions. Safe to use from several threads.

    Args:
        records, store: where they are kept.
        max_pixels: of photos that pictures are made of.
    """

    def __init__(self, records: Records, store: Store, *, max_pixels: int) -> None:
        self._records = records
        self._redis = records.redis
        self._scripts = RevisionScripts(records.redis)
        self._store = store
        self._max_pixels = max_pixels

    def newest(self, job: str, item: str, *, before: int | None = None, limit: int = 100) -> list[KnownRevision]:
        """Return the revisions of an item, the newest first; none while it is not labelled.

        Args:
            job: id.
            item: id.
            before: only those with a lower number.
            limit: at most so many.

        Raises:
            JobNotFound, ItemNotFound
        """
        record = self._records.item(job, item)
        top = record.latest if before is None else min(record.latest, before - 1)
        return self._known(record, range(top, max(-1, top - limit), -1)) if record.summary else []

    def find(self, job: str, item: str, number: int) -> KnownRevision:
        """Return one revision. Raises JobNotFound, ItemNotFound, ItemNotLabelled, RevisionNotFound."""
        record = self.labelled(job, item)
        known = self._known(record, [number]) if 0 <= number <= record.latest else []
        if not known:
            raise _not_found(record, number)
        return known[0]

    def put_mask(
        self,
        job: str,
        item: str,
        mask: Mask,
        vocabulary: Vocabulary,
        *,
        how: PersonsWay,
        who: str = "",
        expected: int | None = None,
        tags: Collection[str] | None = None,
        accept: bool = False,
    ) -> KnownRevision:
        """Make a person's mask the current revision of an item.

        The same mask sent twice with the same `expected` is one revision; without, if it is current still.

        Args:
            job: id.
            item: id.
            mask: (H, W) uint8 indices of the vocabulary, 255 open, at the photo's size.
            vocabulary: of the job's model.
            how: it came.
            who: made it.
            expected: number that must be current; None takes whichever is.
            tags: canonical class names that the photo shows; None: as before. What the mask shows is added.
            accept: whether that is also a verdict.

        Raises:
            RevisionOutdated: someone was faster; this mask is no revision.
            JobNotFound, ItemNotFound, ItemNotLabelled, InvalidArtifact
        """
        said = json.dumps([mask.shape, how, who, sorted(tags) if tags is not None else None, accept])
        digest = hashlib.sha256(mask.tobytes() + said.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        for _ in range(_ATTEMPTS):
            record = self.labelled(job, item)
            based_on = record.revision.number
            if expected is not None and expected != based_on:
                if record.revision.based_on == expected and record.revision.digest == digest:
                    return self._known(record, [based_on])[0]  # the answer to the first request was lost
                raise RevisionOutdated(job, item, based_on)
            if expected is None and record.revision.digest == digest:
                return self._known(record, [based_on])[0]
            made = self._corrected(record, mask, vocabulary, tags)
            revision = Revision(
                number=record.latest + 1,
                how=how,
                who=who,
                at=time.time(),
                based_on=based_on,
                folder=f"{record.latest + 1:06d}-{digest}",
                own=tuple(made.artifacts),
                rest=record.revision.machine_folder,
                digest=digest,
            )
            for name, content in made.artifacts.items():
                self._store.put(revision.key_of(job, item, name), content)
            sizes = _summary(record).artifacts | {name: len(content) for name, content in made.artifacts.items()}
            new = NewRevision(
                revision,
                summarise(made.result, sizes, {}),
                _words(record, made.result.tags, replaced=tags is not None),
                "accept" if accept else None,
            )
            if self.write(record, new) == "done":
                return self.find(job, item, revision.number)
        raise TooManyEditors(f"Item {item} of job {job} is changed all the time.", fix="Try again in a moment.")

    def choose(self, job: str, item: str, number: int, *, expected: int | None = None) -> KnownRevision:
        """Make an older revision, or a newer one again, the current one.

        Raises:
            RevisionOutdated: another than the expected one is current.
            JobNotFound, ItemNotFound, ItemNotLabelled, RevisionNotFound
        """
        known = self.find(job, item, number)
        at = "" if expected is None else expected
        arguments = [job, item, at, number, "", "", "", "", "1", *known.summary.indexed()]
        outcome, *current = self._scripts.revise(args=arguments)
        if outcome == "outdated":
            raise RevisionOutdated(job, item, int(current[0]))
        return self.find(job, item, number)  # says what it is, or that it was deleted meanwhile

    def write(self, record: ItemRecord, new: NewRevision, *, becomes_current: bool = True) -> str:
        """Write a revision whose artifacts are stored, if the one that it builds on is still current.

        Args:
            record: the item as it was when the work began.
            new: what to write.
            becomes_current: whether it counts from now on.

        Returns:
            `done`, `outdated` (another is current), `taken` (another has the number), `unlabelled` or `gone`.
        """
        job, item, revision = record.job, record.id, new.revision
        outcome = str(
            self._scripts.revise(
                args=[
                    job,
                    item,
                    record.revision.number,
                    revision.number,
                    revision.model_dump_json(),
                    new.summary.model_dump_json(),
                    json.dumps(new.words) if new.words is not None else "",
                    new.decision or "",
                    int(becomes_current),
                    *new.summary.indexed(),
                ]
            )[0]
        )
        if outcome != "done":
            self._drop(record, revision)
        return outcome

    def has_folder(self, record: ItemRecord, folder: str) -> bool:
        """Say whether a revision of an item has its artifacts in a folder."""
        if record.revision.folder == folder:
            return True
        entries = self._redis.hmget(revisions_key(record.job, record.id), [str(n) for n in range(record.latest + 1)])
        return any(Revision.model_validate_json(entry).folder == folder for entry in entries if entry)

    def _drop(self, record: ItemRecord, revision: Revision) -> None:
        """Delete the artifacts of a revision that is none, if it is sure that nobody else means the same ones."""
        key = revisions_key(record.job, record.id)
        there = self._redis.hget(key, str(revision.number))
        is_another = bool(there) and Revision.model_validate_json(there).folder != revision.folder
        if is_another or not self._redis.exists(item_key(record.job, record.id)):
            self._store.delete([revision.key_of(record.job, record.id, name) for name in revision.own])

    def _corrected(
        self, record: ItemRecord, mask: Mask, vocabulary: Vocabulary, tags: Collection[str] | None
    ) -> Correction:
        made = _summary(record).artifacts
        before = read_result(self._store.get(record.key_of(RESULT)))
        photo = segmentation = None
        if OVERLAY in made:
            content = self._store.get(record.image_key)
            photo = read_image(content, max_pixels=self._max_pixels, long_side=PICTURE_SIDE).pixels
        if SEGMENTATION in made:
            machine = record.revision.machine_key_of(record.job, record.id, SEGMENTATION)
            segmentation = read_mask(self._store.get(machine), max_pixels=mask.size)
        return correct(before, mask, vocabulary, photo=photo, segmentation=segmentation, tags=tags)

    def labelled(self, job: str, item: str) -> ItemRecord:
        """Return an item that has a label. Raises JobNotFound, ItemNotFound, ItemNotLabelled."""
        record = self._records.item(job, item)
        if record.state != "done" or record.summary is None:
            raise ItemNotLabelled(
                f"Item {item} of job {job} is {record.state}: it has no label yet.", fix="Wait until it is done."
            )
        return record

    def _known(self, record: ItemRecord, numbers: Sequence[int]) -> list[KnownRevision]:
        """Read revisions in one round trip."""
        if not numbers:
            return []
        if record.latest == 0:  # nothing is written of the first while there is no other
            return [KnownRevision(record.revision, _summary(record), record.tags, record.decision, True)]
        fields = [field for number in numbers for field in (str(number), *(f"{kind}:{number}" for kind in _KINDS))]
        found = self._redis.hmget(revisions_key(record.job, record.id), fields)
        known = []
        for entry, summary, words, verdict in zip(
            *(found[start :: len(_KINDS) + 1] for start in range(4)), strict=True
        ):
            if entry is None:
                continue
            revision = Revision.model_validate_json(entry)
            is_current = revision.number == record.revision.number
            known.append(
                KnownRevision(
                    revision,
                    Summary.model_validate_json(summary),
                    tuple(json.loads(words)) if words else None,
                    record.decision if is_current else verdict or None,
                    is_current,
                )
            )
        return known


def _summary(record: ItemRecord) -> Summary:
    if record.summary is None:
        raise ItemNotLabelled(f"Item {record.id} of job {record.job} has no label.", fix="Wait until it is done.")
    return record.summary


def _words(record: ItemRecord, names: tuple[str, ...], *, replaced: bool) -> tuple[str, ...]:
    """Return the tags as written, after a person's mask: those of before that still stand, and what is new."""
    if record.tags is None or replaced:
        return names
    understood = {word.understood for word in _summary(record).words}
    return (*record.tags, *(name for name in names if name not in understood and name not in record.tags))


def _not_found(record: ItemRecord, number: int) -> RevisionNotFound:
    return RevisionNotFound(
        f"Item {record.id} of job {record.job} has no revision {number}.", fix=f"It has 0 to {record.latest}."
    )
