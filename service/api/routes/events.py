"""Progress of a job as server-sent events.

An event tells the job as it stands, so a client that reconnects has lost nothing; its id is the job's revision.

References:
    WHATWG HTML, section 9.2 (server-sent events).
"""

import asyncio
import time
from collections.abc import AsyncIterable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from toco.jobs.records import JobNotFound
from toco.service.api.auth import Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import JobId, JobView
from toco.service.api.state import State

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def _known_job(state: State, job: JobId) -> None:
    """Raise JobNotFound while a problem can still be answered: once the stream has begun, the status is sent."""
    state.records.job(job)


_LOOK_SECONDS: Final = 0.3
_SILENCE_SECONDS: Final = 15.0


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
    last_event_id: Annotated[int, Header(ge=-1, description="Revision seen last.")] = -1,
) -> AsyncIterable[ServerSentEvent]:
    """Send `progress` with the job whenever it changed, and `end` when no item will change any more."""
    seen = last_event_id
    silent_since = time.monotonic()
    while not await request.is_disconnected():
        try:
            record = await run_in_threadpool(state.records.job, job)
        except JobNotFound:
            yield ServerSentEvent(event="deleted", data={"job": job})
            return
        if record.revision != seen or record.is_final:
            name = "end" if record.is_final else "progress"
            yield ServerSentEvent(event=name, id=str(record.revision), data=JobView.of(record))
            seen, silent_since = record.revision, time.monotonic()
            if record.is_final:
                return
        elif time.monotonic() - silent_since > _SILENCE_SECONDS:
            yield ServerSentEvent(comment="still here")
            silent_since = time.monotonic()
        await asyncio.sleep(_LOOK_SECONDS)
