"""Is it alive, can it work, and how much does it do."""

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from toco.jobs.broker import LABEL_QUEUES
from toco.model.errors import TocoError
from toco.service.api.metrics import metrics_text
from toco.service.api.problem import problems
from toco.service.api.state import State

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])


class NotReady(TocoError):
    """A part that the service needs does not answer."""

    code = "not_ready"
    kind = "unavailable"


@router.get("/healthz", summary="Does the API answer")
def healthz() -> Health:
    """Answer without asking anything else."""
    return Health(status="ok")


@router.get("/readyz", responses={503: problems()[503]}, summary="Can images be labelled")
def readyz(state: State) -> Health:
    """Try the records, the store, and look for a live worker with a model."""
    state.records.check()
    state.store.check()
    if not any(set(worker.queues) & set(LABEL_QUEUES) for worker in state.stats.live_workers()):
        raise NotReady("No worker is alive.", fix="Start one: `toco worker`.")
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={503: problems()[503], 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Figures for Prometheus",
)
def metrics(state: State) -> Response:
    """Queue depths, items by state, stage times, batch sizes, device memory, HTTP."""
    return Response(metrics_text(state), media_type="text/plain; version=0.0.4; charset=utf-8")
