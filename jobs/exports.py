"""Exports of whole jobs: one zip in one format or several, built by a worker straight into the object store."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from toco.jobs.audits import Audits, audit_lines
from toco.jobs.builds import EXPORT, Builds
from toco.jobs.data_sets import DataSets, Decisions, Member, read_members, write_members
from toco.jobs.export_selection import ExportSelection
from toco.jobs.job import ItemError
from toco.jobs.migrations import SCHEMA
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.records import Records
from toco.jobs.store import Store, export_key
from toco.model.errors import TocoError
from toco.model.formats.export import ExportReport, NotExported, export_items
from toco.model.formats.item import LabelledItem
from toco.model.formats.sink import Sink, SubfolderSink, ZipSink
from toco.model.formats.writer import ExportOptions

logger = logging.getLogger(__name__)

ExportState = Literal["queued", "running", "done", "failed"]
_PROGRESS_ITEMS = 20  # items between two notes of progress
_SHOWN_LEFT_OUT = 100  # photos that an export's record names
_LEFT_OUT = TypeAdapter(tuple[NotExported, ...])


class ExportNotFound(TocoError):
    """The job has no such export."""

    code = "export_not_found"
    kind = "not_found"


class ExportRequest(BaseModel):
    """What to export.

    Attributes:
        format: name of a format.
        formats: or names of several; the photos are read once for all, and each format has a folder in the zip.
        decisions: all labelled items, only the accepted ones, or all but the rejected ones.
        options: settings of the format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = ""
    formats: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    decisions: Decisions = "all"
    options: ExportOptions = ExportOptions()

    @model_validator(mode="before")
    @classmethod
    def _one_list_of_formats(cls, found: Any) -> Any:
        """Make `formats` the whole truth, whichever of the two was given; `format` stays where there is one."""
        if not isinstance(found, dict):
            return found
        one, several = found.get("format") or "", found.get("formats") or ()
        listed = isinstance(several, list | tuple) and all(isinstance(name, str) for name in several)
        if not isinstance(one, str) or not listed:
            return found  # the fields' own checks say what is wrong
        formats = list(several) or [one]
        if formats == [""] or (one and formats != [one]):
            raise ValueError("give either format or formats")
        formats = list(dict.fromkeys(formats))
        return found | {"format": formats[0] if len(formats) == 1 else "", "formats": formats}

    def as_text(self) -> str:
        """Return the request as JSON that says each thing once, the way that it always did for one format."""
        return self.model_dump_json(exclude={"formats" if self.format else "format"})


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """An export as it stands.

    Attributes:
        id: follows from the job as it was, and the request.
        job: whose labels it holds.
        request: what was asked for.
        items, total: photos written so far, and in all.
        size: of the finished zip in bytes.
        skipped: photos that some format lacks.
        open_photos: photos that were left out because their whole mask is open.
        left_out: the first of them.
        data_set: whose export it is, or empty; it lies with the data set's first job.
        members: of the data set, as they were.
    """

    id: str
    job: str
    request: ExportRequest
    state: ExportState
    items: int
    total: int
    size: int
    skipped: int
    open_photos: int
    left_out: tuple[NotExported, ...]
    error: ItemError | None
    created_at: float
    data_set: str = ""
    members: tuple[Member, ...] = ()


class Exports:
    """Records of exports, and their building."""

    def __init__(self, records: Records, store: Store, catalogue: ModelCatalogue) -> None:
        self._records = records
        self._builds = Builds(records, EXPORT)
        self._data_sets = DataSets(records)
        self._store = store
        self._catalogue = catalogue
        self._audits = Audits(records, store)

    def request(self, job: str, request: ExportRequest) -> tuple[ExportRecord, bool]:
        """Record that an export is wanted. The same request of an unchanged job is the same export.

        Returns:
            The export, and whether it has to be queued.

        Raises:
            JobNotFound
        """
        record = self._records.job(job)
        return self._open(job, request, f"{job}:{record.revision}", {})

    def request_data_set(
        self, name: str, members: Sequence[Member], request: ExportRequest
    ) -> tuple[ExportRecord, bool]:
        """Record that an export of a data set is wanted; it lies with its first job, and goes with it.

        Returns:
            As `request`.

        Raises:
            JobNotFound
        """
        jobs = [self._records.job(member.job) for member in members]
        said = "|".join(f"{job.id}:{job.revision}" for job in jobs)
        fields = {"data_set": name, "members": write_members(members)}
        return self._open(jobs[0].id, request, f"{said}:{fields}", fields)

    def _open(self, job: str, request: ExportRequest, said: str, more: Mapping[str, str]) -> tuple[ExportRecord, bool]:
        text = request.as_text()
        export = hashlib.sha256(f"{said}:{text}".encode()).hexdigest()[:26]
        fields: dict[str, str | int] = {"schema": SCHEMA, "request": text, "left_out": "[]"}
        fields |= dict.fromkeys(("items", "total", "size", "skipped", "open_photos"), 0)
        new = self._builds.open(job, export, fields | dict(more))
        return self.get(job, export), new

    def get(self, job: str, export: str) -> ExportRecord:
        """Read an export. Raises ExportNotFound."""
        found = self._builds.fields(export)
        if found.get("job") != job or "request" not in found:
            raise ExportNotFound(f"Job {job} has no export {export!r}.", fix="Ask for one with POST.")
        return ExportRecord(
            id=export,
            job=job,
            request=ExportRequest.model_validate_json(found["request"]),
            state=found["state"],
            items=int(found["items"]),
            total=int(found["total"]),
            size=int(found["size"]),
            skipped=int(found["skipped"]),
            open_photos=int(found.get("open_photos", 0)),
            left_out=_LEFT_OUT.validate_json(found.get("left_out") or "[]"),
            error=ItemError.model_validate_json(found["error"]) if found["error"] else None,
            created_at=float(found["created_at"]),
            data_set=found.get("data_set", ""),
            members=read_members(found["members"]) if found.get("members") else (),
        )

    def of_job(self, job: str) -> list[ExportRecord]:
        """Return a job's exports, the newest first. Raises JobNotFound."""
        return [self.get(job, export) for export in self._builds.of_job(job)]

    def stalled(self, seconds: float) -> list[str]:
        """Return unfinished exports that nothing was heard of for a time, and note that they were looked at."""
        return self._builds.stalled(seconds)

    def build(self, export: str, *, lease_seconds: float, max_attempts: int) -> None:
        """Build an export, unless it is built or someone is at it; see `Builds.run`."""

        def write() -> bool:
            self._write(export, lease_seconds)
            return True

        self._builds.run(export, write, lease_seconds=lease_seconds, max_attempts=max_attempts)

    def _write(self, export: str, lease_seconds: float) -> None:
        record = self.get(self._builds.fields(export)["job"], export)
        chosen = record.members or (Member(job=record.job, decisions=record.request.decisions),)
        options = record.request.options
        selection = ExportSelection(
            chosen, options, records=self._records, store=self._store, catalogue=self._catalogue
        )
        self._builds.note(record.id, total=sum(self._data_sets.photos(member) or 0 for member in chosen))
        key = export_key(record.job, record.id)

        def note(_item: LabelledItem, report: ExportReport) -> None:
            if (report.written + len(report.errors) + len(report.open_photos)) % _PROGRESS_ITEMS == 0:
                self._builds.note(record.id, items=report.written, skipped=len(report.errors))
                self._builds.keep(record.id, lease_seconds=lease_seconds)

        wanted = record.request
        with self._store.writer(key) as stream, ZipSink(stream) as sink:
            sinks: dict[str, Sink] = {name: SubfolderSink(sink, name) for name in wanted.formats}
            if len(sinks) == 1:
                sinks = dict.fromkeys(sinks, sink)
            split, about = selection.split(), selection.about(record.data_set)
            items, vocabulary = selection.items(split), selection.vocabulary
            audit = [
                line
                for job, own in selection.vocabularies
                for line in audit_lines(self._audits.newest_result(job, own))
            ]
            report = export_items(
                items, sinks, vocabulary, options, split=split, about=about, audit=audit, on_item=note
            )
            left_out = report.left_out
            if left_out:
                sink.write("left_out.jsonl", "".join(f"{entry.model_dump_json()}\n" for entry in left_out).encode())
        size = self._store.head(key).size
        shown = _LEFT_OUT.dump_json(tuple(left_out[:_SHOWN_LEFT_OUT])).decode()
        done: dict[str, str | int] = {
            "state": "done",
            "items": report.written,
            "skipped": len(report.errors),
            "open_photos": len(report.open_photos),
            "size": size,
            "left_out": shown,
        }
        if not self._builds.note(record.id, **done):
            self._store.delete([key])  # its job was deleted meanwhile
        names = [entry.name for entry in left_out[:_SHOWN_LEFT_OUT]]
        logger.info("export built", extra={"items": report.written, "left_out": names, "bytes": size})
