"""Reports of jobs and data sets: what may be wrong with tags and photos, and what there is of each class."""

import logging
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from toco.jobs.cures import Cure, cures, words_of
from toco.jobs.data_sets import NAME_PATTERN
from toco.jobs.job import Decision, ItemError, ItemRecord
from toco.jobs.queue import QueueUnavailable
from toco.jobs.reports import NamedFinding, ReportKind, ReportRecord, ReportRequest, ReportState
from toco.model.errors import InvalidOption
from toco.model.formats.statistics import Statistics
from toco.model.photos.tag_doctor import Kind
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import JobId, moment
from toco.service.api.state import AppState, State

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["reports"])

ReportId = Annotated[str, Path(pattern=r"^[0-9a-f]{26}$", description="Id of a report.")]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of a data set.")]


class ReportView(BaseModel):
    """A report as it stands."""

    id: str
    job: str
    data_set: str = Field(description="The data set that it is about, whose first job this is; empty: the job alone.")
    kind: ReportKind
    state: ReportState
    photos: int = Field(description="Photos looked at so far.")
    total: int = Field(description="Photos in all; 0 until the work begins.")
    unreadable: int = Field(description="Photos that could not be read.")
    error: ItemError | None
    created_at: datetime
    request: ReportRequest

    @classmethod
    def of(cls, record: ReportRecord) -> "ReportView":
        """Show a record."""
        return cls(
            id=record.id,
            job=record.job,
            data_set=record.data_set,
            kind=record.request.kind,
            state=record.state,
            photos=record.photos,
            total=record.total,
            unreadable=record.unreadable,
            error=record.error,
            created_at=moment(record.created_at),
            request=record.request,
        )


class FoundPhoto(BaseModel):
    """A photo that a finding is about, as it is now."""

    job: str
    item: str
    name: str
    tags: list[str] = Field(description="As written; those that the classifier chose where nobody wrote any.")
    decision: Decision | None
    preview_url: str = Field(description="A small picture.")


class CureView(BaseModel):
    """A request to the API that would mend a finding. Nothing sends it but you."""

    says: str = Field(description="What it does.")
    method: Literal["PATCH"] = "PATCH"
    path: str
    body: dict[str, Any]
    if_match: str = Field(description="For the header `If-Match`, so that nobody else's change is lost; empty: none.")

    @classmethod
    def of(cls, cure: Cure) -> "CureView":
        """Show a cure."""
        current = "" if cure.tags is None else f'"{cure.item.revision.number}"'
        return cls(says=cure.says, path=cure.path, body=cure.body, if_match=current)


class FindingView(BaseModel):
    """Something that deserves a look."""

    number: int = Field(description="Of the finding in its report.")
    kind: Kind
    score: float = Field(description="0..1, how sure it is; within one kind the worst come first.")
    tag: str = Field(description="The class or word that it is about, or empty.")
    detail: str
    photos: list[FoundPhoto] = Field(description="Those that are still there.")
    cures: list[CureView] = Field(description="What would mend it, by the tags as they are now.")
    settled: bool = Field(description="Its photos were changed since, or are gone: there is nothing to do any more.")


class FindingPage(BaseModel):
    """Findings of a doctor's report, the surest of each kind first."""

    model: str = Field(description="Version of the model whose classifier was asked.")
    counts: dict[str, int] = Field(description="Findings by kind, in all pages.")
    findings: list[FindingView]
    next: int | None = Field(description="`start` of the next page; null at the end.")


@router.post("/jobs/{job}/reports", status_code=202, responses=problems(404), summary="Ask for a report of a job")
def create_report(state: State, _: Labeller, job: JobId, wanted: ReportRequest) -> ReportView:
    """Have a worker look for what may be wrong with tags and photos (`doctor`), or count all masks (`statistics`).

    Only labelled photos count. The same request of an unchanged job gives the same report; nothing is changed.
    """
    return _asked(state, *state.reports.request(job, wanted))


@router.post(
    "/data_sets/{name}/reports", status_code=202, responses=problems(404, 409), summary="Ask for a report of a data set"
)
def create_data_set_report(state: State, caller: Labeller, name: Name, wanted: ReportRequest) -> ReportView:
    """Report on all members as on one job; the report is listed and read with the data set's first job."""
    if wanted.decisions != "all":
        raise InvalidOption(f"decisions = {wanted.decisions!r}.", fix="The members of a data set say which they take.")
    members = state.data_sets.get(name, caller.workspace)
    state.data_sets.jobs_of(members, sees=caller.sees)
    return _asked(state, *state.reports.request_data_set(name, members, wanted))


@router.get("/jobs/{job}/reports", responses=problems(404), summary="List a job's reports")
def list_reports(state: State, _: Reader, job: JobId) -> list[ReportView]:
    """List reports, the newest first."""
    return [ReportView.of(record) for record in state.reports.of_job(job)]


@router.get("/jobs/{job}/reports/{report}", responses=problems(404), summary="A report's progress")
def get_report(state: State, _: Reader, job: JobId, report: ReportId) -> ReportView:
    """Show a report."""
    return ReportView.of(state.reports.get(job, report))


@router.get(
    "/jobs/{job}/reports/{report}/findings",
    responses=problems(404, 409),
    summary="What may be wrong, each with what would mend it",
)
async def get_findings(
    state: State,
    _: Reader,
    job: JobId,
    report: ReportId,
    kind: Annotated[Kind | None, Query(description="Only these.")] = None,
    start: Annotated[int, Query(ge=0, le=10**6, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> FindingPage:
    """Show a page of a doctor's findings, their photos with the tags that they have now."""
    return await state.threads.store.run(_findings, state, job, report, kind, start, limit)


@router.get(
    "/jobs/{job}/reports/{report}/statistics", responses=problems(404, 409), summary="What a job or a data set holds"
)
async def get_statistics(state: State, _: Reader, job: JobId, report: ReportId) -> Statistics:
    """Show photos, pixels, regions and area histogram of each class, and which come together."""
    return await state.threads.store.run(state.reports.statistics, job, report)


def _asked(state: AppState, record: ReportRecord, new: bool) -> ReportView:
    if new:
        try:
            state.queue.report(record.id, record.request.kind)
        except QueueUnavailable:
            logger.exception("report recorded but not queued", extra={"job": record.job, "report": record.id})
    return ReportView.of(record)


def _findings(state: AppState, job: str, report: str, kind: Kind | None, start: int, limit: int) -> FindingPage:
    said = state.reports.diagnosis(job, report)
    numbered = [(at, named) for at, named in enumerate(said.findings) if kind in (None, named.finding.kind)]
    page = numbered[start : start + limit]
    items = _items(state, [named for _, named in page])
    counts: dict[str, int] = {}
    for named in said.findings:
        counts[named.finding.kind] = counts.get(named.finding.kind, 0) + 1
    return FindingPage(
        model=said.model,
        counts=counts,
        findings=[_view(number, named, items) for number, named in page],
        next=start + limit if start + limit < len(numbered) else None,
    )


def _items(state: AppState, found: list[NamedFinding]) -> dict[tuple[str, str], ItemRecord]:
    """Read the items of findings, those of one job at once; those that are gone are missing."""
    wanted: dict[str, dict[str, None]] = {}
    for named in found:
        for of, item in named.items:
            wanted.setdefault(of, {})[item] = None
    items: dict[tuple[str, str], ItemRecord] = {}
    for of, ids in wanted.items():
        items |= {(of, item.id): item for item in state.records.items(of, list(ids))}
    return items


def _view(number: int, named: NamedFinding, items: dict[tuple[str, str], ItemRecord]) -> FindingView:
    finding = named.finding
    there = [items[place] for place in named.items if place in items]
    offered = cures(finding, there)
    return FindingView(
        number=number,
        kind=finding.kind,
        score=finding.score,
        tag=finding.tag,
        detail=finding.detail,
        photos=[
            FoundPhoto(
                job=item.job,
                item=item.id,
                name=item.name,
                tags=list(words_of(item)),
                decision=item.decision,
                preview_url=f"/v1/jobs/{item.job}/items/{item.id}/preview",
            )
            for item in there
        ],
        cures=[CureView.of(cure) for cure in offered],
        settled=bool(named.items) and not offered,
    )
