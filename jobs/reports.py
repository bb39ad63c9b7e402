"""Reports of a job or a data set, made by workers: what may be wrong with its tags and photos, and what it holds.

A report changes nothing. Like an export it follows from the job as it was: the same request of an unchanged job is the
same report. `statistics` are counted from masks in one go; the `doctor` needs a model and looks at photos piece by
piece (`workers.doctor`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toco.jobs.builds import REPORT, Builds
from toco.jobs.data_sets import DataSets, Decisions, Member, read_members, write_members
from toco.jobs.export_selection import ExportSelection
from toco.jobs.item_index import ItemIndex
from toco.jobs.job import ItemError, ItemRecord
from toco.jobs.migrations import SCHEMA
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.records import Records
from toco.jobs.store import Store, report_key
from toco.model.errors import TocoError
from toco.model.formats.export import count_items
from toco.model.formats.statistics import Statistics
from toco.model.formats.writer import ExportOptions
from toco.model.options import Frozen
from toco.model.photos.tag_doctor import Finding

ReportKind = Literal["doctor", "statistics"]
ReportState = Literal["queued", "running", "done", "failed"]
Said = TypeVar("Said", bound=Frozen)
_PROGRESS_PHOTOS: Final = 20  # photos between two notes of progress


class ReportNotFound(TocoError):
    """The job has no such report."""

    code = "report_not_found"
    kind = "not_found"


class ReportNotReady(TocoError):
    """The report is not made yet, could not be, or is of the other kind."""

    code = "report_not_ready"
    kind = "conflict"


class ReportRequest(BaseModel):
    """What to report.

    Attributes:
        kind: `doctor`: what may be wrong with tags and photos; `statistics`: photos, pixels and regions by class.
        decisions: of all labelled items, only the accepted ones, or all but the rejected ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={"examples": [{"kind": "doctor"}]})

    kind: ReportKind = Field(description="What to find out.")
    decisions: Decisions = "all"


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """A report as it stands.

    Attributes:
        id: follows from the job as it was, and the request.
        job: that it lies with.
        request: what was asked for.
        photos, total: photos looked at so far, and in all.
        unreadable: of these, the ones that could not be read.
        parts: pieces of a doctor's work that are done.
        data_set: whose report it is, or empty; it lies with the data set's first job.
        members: the jobs, and which of their items.
    """

    id: str
    job: str
    request: ReportRequest
    state: ReportState
    photos: int
    total: int
    unreadable: int
    parts: int
    error: ItemError | None
    created_at: float
    data_set: str
    members: tuple[Member, ...]


class NamedFinding(Frozen):
    """A finding, and which items it is about.

    Attributes:
        finding: as the doctor has it.
        items: job and item of each of its photos.
    """

    finding: Finding
    items: tuple[tuple[str, str], ...]


class Diagnosis(Frozen):
    """What the doctor says.

    Attributes:
        model: version of the one whose classifier was asked.
        findings: the surest of each kind first.
    """

    model: str
    findings: tuple[NamedFinding, ...]


class Reports:
    """Records of reports, their statistics, and what they say. Safe to use from several threads."""

    def __init__(self, records: Records, store: Store, catalogue: ModelCatalogue) -> None:
        self.builds = Builds(records, REPORT)
        self._records = records
        self._store = store
        self._catalogue = catalogue
        self._data_sets = DataSets(records)
        self._index = ItemIndex(records)

    def request(self, job: str, request: ReportRequest) -> tuple[ReportRecord, bool]:
        """Record that a report of a job is wanted.

        Returns:
            The report, and whether it has to be queued.

        Raises:
            JobNotFound
        """
        return self._open("", (Member(job=job, decisions=request.decisions),), request)

    def request_data_set(
        self, name: str, members: Sequence[Member], request: ReportRequest
    ) -> tuple[ReportRecord, bool]:
        """Record that a report of a data set is wanted; it lies with the first job. Returns and raises as `request`."""
        return self._open(name, members, request)

    def _open(self, name: str, members: Sequence[Member], request: ReportRequest) -> tuple[ReportRecord, bool]:
        jobs = [self._records.job(member.job) for member in members]
        text, listed = request.model_dump_json(), write_members(members)
        said = "|".join(f"{job.id}:{job.revision}" for job in jobs)
        report = hashlib.sha256(f"report:{said}:{name}:{listed}:{text}".encode()).hexdigest()[:26]
        fields: dict[str, str | int] = {"schema": SCHEMA, "request": text, "data_set": name, "members": listed}
        fields |= dict.fromkeys(("photos", "total", "unreadable", "parts"), 0)
        new = self.builds.open(jobs[0].id, report, fields)
        return self.get(jobs[0].id, report), new

    def get(self, job: str, report: str) -> ReportRecord:
        """Read a report. Raises ReportNotFound."""
        found = self.builds.fields(report)
        if found.get("job") != job or "request" not in found:
            raise ReportNotFound(f"Job {job} has no report {report!r}.", fix="Ask for one with POST.")
        return ReportRecord(
            id=report,
            job=job,
            request=ReportRequest.model_validate_json(found["request"]),
            state=found["state"],
            photos=int(found["photos"]),
            total=int(found["total"]),
            unreadable=int(found["unreadable"]),
            parts=int(found["parts"]),
            error=ItemError.model_validate_json(found["error"]) if found["error"] else None,
            created_at=float(found["created_at"]),
            data_set=found["data_set"],
            members=read_members(found["members"]),
        )

    def known(self, report: str) -> ReportRecord | None:
        """Return a report by its id alone; None if there is none."""
        job = self.builds.fields(report).get("job")
        return self.get(job, report) if job else None

    def of_job(self, job: str) -> list[ReportRecord]:
        """Return a job's reports, the newest first. Raises JobNotFound."""
        return [self.get(job, report) for report in self.builds.of_job(job)]

    def items(self, record: ReportRecord) -> Iterator[ItemRecord]:
        """Yield the photos that a report is about, those of a data set's jobs in order."""
        for member in record.members:
            yield from (item for item in self._index.each(member.job, member.query()) if member.takes(item))

    def total(self, record: ReportRecord) -> int:
        """Count the photos that a report is about."""
        return sum(self._data_sets.photos(member) or 0 for member in record.members)

    def write_statistics(self, record: ReportRecord, *, lease_seconds: float) -> None:
        """Count what a report is about, and keep it. Raises what reading raises."""
        options = ExportOptions()
        chosen = ExportSelection(
            record.members, options, records=self._records, store=self._store, catalogue=self._catalogue
        )
        self.builds.note(record.id, total=self.total(record))
        photos = 0

        def note() -> None:
            nonlocal photos
            photos += 1
            if photos % _PROGRESS_PHOTOS == 0:
                self.builds.note(record.id, photos=photos)
                self.builds.keep(record.id, lease_seconds=lease_seconds)

        split = chosen.split()
        found = count_items(chosen.items(split), chosen.vocabulary, options, split=split, on_item=note)
        self.finish(record, found, photos=photos)

    def finish(self, record: ReportRecord, said: Statistics | Diagnosis, **fields: int) -> None:
        """Keep what a report says, and note that it is done."""
        key = report_key(record.job, record.id)
        self._store.put(key, said.model_dump_json().encode())
        if not self.builds.note(record.id, state="done", **fields):
            self._store.delete([key])  # its job was deleted meanwhile

    def statistics(self, job: str, report: str) -> Statistics:
        """Return what a report of statistics says. Raises ReportNotFound, ReportNotReady."""
        return _read(Statistics, self._content(job, report, "statistics"))

    def diagnosis(self, job: str, report: str) -> Diagnosis:
        """Return what a doctor's report says. Raises ReportNotFound, ReportNotReady."""
        return _read(Diagnosis, self._content(job, report, "doctor"))

    def _content(self, job: str, report: str, kind: ReportKind) -> bytes:
        record = self.get(job, report)
        if record.request.kind != kind:
            raise ReportNotReady(f"The report is one of {record.request.kind}.", fix=f"Ask for one of {kind}.")
        if record.state != "done":
            why = record.error.detail if record.error else f"{record.photos} of {record.total} photos are looked at."
            raise ReportNotReady(f"The report is {record.state}: {why}", fix="Ask for its state until it is done.")
        return self._store.get(report_key(job, report))


def kind_of(fields: Mapping[str, str]) -> ReportKind | None:
    """Return the kind of a report by the fields of its record; None if they are not there."""
    text = fields.get("request")
    return ReportRequest.model_validate_json(text).kind if text else None


def _read(model: type[Said], content: bytes) -> Said:
    try:
        return model.model_validate_json(content)
    except ValidationError:
        raise ReportNotReady("The report is of an older version.", fix="Ask for a new one.") from None
