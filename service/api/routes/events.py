"""Progress of a job as server-sent events."""

from collections.abc import AsyncIterable
from functools import partial

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from toco.service.api.auth import Reader
from toco.service.api.followed import LastEventId, followed
from toco.service.api.problem import problems
from toco.service.api.schemas import JobId, JobView
from toco.service.api.state import State

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def _known_job(state: State, job: JobId) -> None:
    """Raise JobNotFound while a problem can still be answered: once the stream has begun, the status is sent."""
    state.records.job(job)


@router.get(
    "/{job}/events",
    response_class=EventSourceResponse,
    responses=problems(404),
    dependencies=[Depends(_known_job)],
    summary="Follow a job as it runs",
)
async def follow_job(
    request: Request,
    state: State,
    _: Reader,
    job: JobId,
    last_event_id: LastEventId = -1,
) -> AsyncIterable[ServerSentEvent]:
    """Send `progress` with the job whenever it changed, and `end` when no item will change any more."""
    look = partial(state.records.job, job)
    async for event in followed(request, look, JobView.of, seen=last_event_id, named={"job": job}):
        yield event
