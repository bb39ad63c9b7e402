"""Audits: how good are a job's labels? And what to look at next."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, get_args

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from toco.jobs.audits import Audit, AuditResult
from toco.jobs.ids import ID_PATTERN
from toco.jobs.item_index import ItemQuery
from toco.jobs.job import Decision, ItemRecord
from toco.jobs.keys import tags_key
from toco.jobs.teaching_order import Candidate, teaching_order
from toco.model.evaluation.audit import AuditEstimate
from toco.model.formats.statistics import DOUBTFUL
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.routes.revisions import name_of, vocabulary_of
from toco.service.api.schemas import ItemView, JobId, moment
from toco.service.api.state import AppState, State

router = APIRouter(prefix="/v1/jobs/{job}", tags=["audits"])

_MOST_CANDIDATES = 2_000  # the most doubtful undecided photos, among which the next ones are chosen
_MOST_SEEN = 1_000

AuditId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of an audit.")]


class AuditRequest(BaseModel):
    """A sample to draw."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"photos": 40, "seed": 7}]})

    photos: Annotated[int, Field(ge=1, le=10_000)] = 40
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(None, description="null: by chance.")


class AuditPhoto(BaseModel):
    """A photo to check."""

    item: str
    name: str
    checked: bool = Field(description="Its label was accepted as it was drawn, or a person put a mask in its place.")


class AuditView(BaseModel):
    """An audit and what it says so far."""

    id: str
    job: str
    seed: int
    who: str
    created_at: datetime
    complete: bool = Field(description="All photos are checked; before, the estimate may be too good.")
    photos: list[AuditPhoto]
    estimate: AuditEstimate | None = Field(description="null while nothing is checked.")

    @classmethod
    def of(cls, job: str, found: AuditResult) -> "AuditView":
        """Show a result."""
        audit = found.audit
        return cls(
            id=audit.id,
            job=job,
            seed=audit.seed,
            who=audit.who,
            created_at=moment(audit.created_at),
            complete=found.is_complete,
            photos=[
                AuditPhoto(item=photo.item, name=found.names.get(photo.item, ""), checked=photo.item in found.checked)
                for photo in audit.photos
            ],
            estimate=found.estimate,
        )


class AuditSummary(BaseModel):
    """An audit in a list."""

    id: str
    seed: int
    who: str
    created_at: datetime
    photos: int

    @classmethod
    def of(cls, audit: Audit) -> "AuditSummary":
        """Show a record."""
        return cls(
            id=audit.id,
            seed=audit.seed,
            who=audit.who,
            created_at=moment(audit.created_at),
            photos=len(audit.photos),
        )


class LeftView(BaseModel):
    """What is left to look at: labels that no person judged or made."""

    undecided: int
    doubtful: int = Field(description=f"Undecided items of more than {DOUBTFUL} doubt.")
    labelled: int
    by_class: dict[str, int] = Field(description="Undecided items by class.")


class NextView(BaseModel):
    """What to look at next."""

    items: list[ItemView]
    left: LeftView


@router.post("/audits", status_code=201, responses=problems(404, 409), summary="Draw a random sample to check")
async def draw_audit(state: State, caller: Labeller, job: JobId, wanted: AuditRequest) -> AuditView:
    """Draw photos at random, stratified by class. Accept each label or correct it, then ask for the audit again."""

    def draw() -> AuditView:
        audit = state.audits.draw(job, wanted.photos, seed=wanted.seed, who=name_of(caller))
        return _view(state, job, audit.id)

    return await state.threads.store.run(draw)


@router.get("/audits", responses=problems(404), summary="A job's audits, the newest first")
def list_audits(state: State, _: Reader, job: JobId) -> list[AuditSummary]:
    """List them."""
    return [AuditSummary.of(audit) for audit in state.audits.of_job(job)]


@router.get("/audits/{audit}", responses=problems(404, 409), summary="Photos to check, and the estimate so far")
async def get_audit(state: State, _: Reader, job: JobId, audit: AuditId) -> AuditView:
    """Compare the labels as they were drawn with what people made of them: mIoU and IoU a class with 90 % intervals."""
    return await state.threads.store.run(_view, state, job, audit)


@router.get("/next", responses=problems(404), summary="What to look at next")
def next_items(state: State, _: Reader, job: JobId, limit: Annotated[int, Query(ge=1, le=200)] = 20) -> NextView:
    """Choose among undecided labels: doubtful ones first, spread over classes and over kinds of photos."""
    worst = ItemQuery(state="done", undecided=True, order="doubt", descending=True)
    page = state.index.find(job, worst, limit=_MOST_CANDIDATES)
    judged = [
        item
        for verdict in get_args(Decision)
        for item in state.index.find(job, ItemQuery(state="done", decision=verdict), limit=_MOST_SEEN).items
    ]
    # A mask that a person made is not doubted, though nobody judged it; nor is a photo without tags, which scores 0.
    certain = ItemQuery(state="done", undecided=True, ranges={"doubt": (0.0, 0.0)}, order="score", descending=True)
    made = [item for item in state.index.find(job, certain, limit=_MOST_SEEN).items if item.is_decided]
    found = {item.id: item for item in page.items if not item.is_decided and item.summary}
    candidates = [Candidate(item.id, item.summary.doubt, item.summary.tags) for item in found.values() if item.summary]
    seen = [item.summary.tags for item in (*judged, *made) if item.summary]
    ordered = teaching_order(candidates, seen=seen, limit=limit)
    return NextView(items=[ItemView.of(found[candidate.id]) for candidate in ordered], left=_left(state, job, made))


def _left(state: AppState, job: str, made: Sequence[ItemRecord]) -> LeftView:
    """Count labels without a verdict, but for masks that people made."""

    def count(query: ItemQuery) -> int:
        return state.index.find(job, query, limit=1).total

    undecided = ItemQuery(state="done", undecided=True)
    by_tag = Counter(tag for item in made if item.summary for tag in item.summary.tags)
    counted = {
        tag: count(replace(undecided, tag=tag)) - by_tag[tag]
        for tag in sorted(state.records.redis.smembers(tags_key(job)))
    }
    return LeftView(
        undecided=count(undecided) - len(made),
        doubtful=count(replace(undecided, ranges={"doubt": (math.nextafter(DOUBTFUL, 1), 1.0)})),
        labelled=count(ItemQuery(state="done")),
        by_class={tag: found for tag, found in counted.items() if found},
    )


def _view(state: AppState, job: str, audit: str) -> AuditView:
    return AuditView.of(job, state.audits.result(job, audit, vocabulary_of(state, job)))
