"""Learning again from corrected labels: begun, followed, looked at, taken back."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from toco.jobs.ids import ID_PATTERN
from toco.jobs.job import ItemError
from toco.jobs.queue import QueueUnavailable
from toco.jobs.relearning import Relearning, State
from toco.jobs.revisions import KnownRevision
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.routes.revisions import RevisionView, name_of
from toco.service.api.schemas import JobId, moment
from toco.service.api.state import AppState
from toco.service.api.state import State as Api

router = APIRouter(prefix="/v1/jobs/{job}/relearn", tags=["revisions"])

RelearningId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of what was learnt again.")]


class RelearningView(BaseModel):
    """What was learnt again once."""

    id: str
    job: str
    state: State = Field(description="`fitting` to the corrected masks, `labelling` the others, `undone`: taken back.")
    who: str = Field(description="Name of the API key.")
    created_at: datetime
    corrected: int = Field(description="Masks of people that were learnt from.")
    accepted: int = Field(description="Accepted labels of the machine that were learnt from beside them.")
    labelling: str = Field(description="Id of the job that labels again, in no list; empty until it is made.")
    changed: int = Field(description="Items with a new revision so far.")
    error: ItemError | None

    @classmethod
    def of(cls, found: Relearning) -> "RelearningView":
        """Show a record."""
        return cls(
            id=found.id,
            job=found.job,
            state=found.state,
            who=found.who,
            created_at=moment(found.created_at),
            corrected=found.corrected,
            accepted=found.accepted,
            labelling=found.labelling,
            changed=found.changed,
            error=found.error,
        )


class ChangeView(BaseModel):
    """An item before and after."""

    item: str
    name: str
    iou: float = Field(description="Mean IoU of the two masks; 1 is no change.")
    before: RevisionView
    after: RevisionView
    current: bool = Field(description="Whether the new revision is the item's current one.")


class ChangePage(BaseModel):
    """What learning again changed, what changed most first."""

    changes: list[ChangeView]
    next: int | None = Field(description="`start` of the next page; null at the end.")


class UndoneView(BaseModel):
    """What was taken back."""

    items: int = Field(description="Items that are what they were before; what people changed since stays.")
    relearning: RelearningView


@router.post(
    "", status_code=202, responses=problems(404), summary="Learn from corrected labels, label the others again"
)
def begin_relearning(state: Api, caller: Labeller, job: JobId) -> RelearningView:
    """Fit the model to the masks that people made or accepted, then label all items again that nobody decided.

    Each new label is a revision. A job without corrected masks fails with `nothing_corrected`.
    """
    begun = state.relearnings.begin(job, name_of(caller))
    with suppress(QueueUnavailable):  # the sweep queues it
        state.queue.learn_again(job, begun.id)
    return RelearningView.of(begun)


@router.get("", responses=problems(404), summary="What a job learnt again, the newest first")
def list_relearnings(state: Api, _: Reader, job: JobId) -> list[RelearningView]:
    """List all of a job."""
    return [RelearningView.of(found) for found in state.relearnings.of_job(job)]


@router.get("/{relearning}", responses=problems(404), summary="How far learning again is")
def get_relearning(state: Api, _: Reader, job: JobId, relearning: RelearningId) -> RelearningView:
    """Show one."""
    return RelearningView.of(state.relearnings.get(job, relearning))


@router.get("/{relearning}/changes", responses=problems(404), summary="What learning again changed")
def list_changes(
    state: Api,
    _: Reader,
    job: JobId,
    relearning: RelearningId,
    start: Annotated[int, Query(ge=0, le=10**7)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ChangePage:
    """List items with their label before and after, what changed most first."""
    state.relearnings.get(job, relearning)
    found = state.relearnings.changes(job, relearning, start=start, limit=limit)
    shown = [_change(state, job, change.item, change.revision, change.iou) for change in found]
    return ChangePage(changes=shown, next=start + len(found) if len(found) == limit else None)


@router.post("/{relearning}/undo", responses=problems(404), summary="Take back what was learnt again")
def undo_relearning(state: Api, _: Labeller, job: JobId, relearning: RelearningId) -> UndoneView:
    """Bring every item back to the revision before, unless a person decided or changed it since."""
    items = state.relearnings.undo(job, relearning, state.revisions)
    return UndoneView(items=items, relearning=RelearningView.of(state.relearnings.get(job, relearning)))


def _change(state: AppState, job: str, item: str, number: int, iou: float) -> ChangeView:
    after = state.revisions.find(job, item, number)
    before = state.revisions.find(job, item, after.revision.based_on or 0)

    def shown(known: KnownRevision) -> RevisionView:
        return RevisionView.of(job, item, known)

    name = state.records.item(job, item).name
    return ChangeView(item=item, name=name, iou=iou, before=shown(before), after=shown(after), current=after.is_current)
