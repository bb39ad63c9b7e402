"""Is it alive, can it work, and how much does it do."""

import asyncio
import time
from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from toco.jobs.broker import LABEL_QUEUES
from toco.jobs.stats import silent_workers
from toco.model.errors import TocoError
from toco.service.api.metrics import metrics_text
from toco.service.api.problem import problems
from toco.service.api.state import AppState, State

router = APIRouter(tags=["health"])

READY_SECONDS: Final = 5.0  # within which `/readyz` answers, whatever hangs


class Health(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])


class Readiness(BaseModel):
    """Photos can be labelled."""

    status: str = Field("ready", examples=["ready"])
    silent_workers: list[str] = Field([], description="Workers that live but answer no message; others do.")


class NotReady(TocoError):
    """A part that the service needs does not answer."""

    code = "not_ready"
    kind = "unavailable"


@router.get("/healthz", summary="Does the API answer")
async def healthz() -> Health:
    """Answer without asking anything else."""
    return Health(status="ok")


@router.get("/readyz", responses={503: problems()[503]}, summary="Can images be labelled")
async def readyz(state: State) -> Readiness:
    """Try the records, the store, and look for a live worker that answered a message lately."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await state.threads.health.run(state.store.check)
            return await run_in_threadpool(_readiness, state)
    except TimeoutError:
        raise NotReady(f"The store or the records did not answer within {READY_SECONDS:g} s.") from None


def _readiness(state: AppState) -> Readiness:
    state.probe.check()
    workers = [worker for worker in state.stats.live_workers() if set(worker.queues) & set(LABEL_QUEUES)]
    if not workers:
        raise NotReady("No worker is alive.", fix="Start one: `toco worker`.")
    patience = max(2 * state.settings.lease_seconds, 6 * state.settings.sweep_seconds)
    silent = silent_workers(workers, now=time.time(), patience_seconds=patience)
    if len(silent) == len(workers):
        raise NotReady(f"No worker answers: {', '.join(silent)}.", fix="See their logs, and start them again.")
    return Readiness(silent_workers=silent)


@router.get(
    "/metrics",
    response_class=Response,
    responses={503: problems()[503], 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Figures for Prometheus",
)
def metrics(state: State) -> Response:
    """Queue depths, items by state, stage times, batch sizes, device memory, HTTP."""
    return Response(metrics_text(state), media_type="text/plain; version=0.0.4; charset=utf-8")
