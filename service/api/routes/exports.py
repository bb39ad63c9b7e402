"""Exports: a whole job in one format, built by a worker, sent as a zip."""

import logging
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from toco.jobs.exports import ExportRequest
from toco.jobs.queue import QueueUnavailable
from toco.jobs.store import export_key
from toco.model.errors import TocoError
from toco.model.formats.registry import FORMATS, writer_class
from toco.service.api.auth import Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import ExportView, JobId
from toco.service.api.state import State
from toco.service.api.stored_response import file_responses, stored_response

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["exports"])

ExportId = Annotated[str, Path(pattern=r"^[0-9a-f]{26}$", description="Id of an export.")]


class ExportNotReady(TocoError):
    """The export is not built yet, or could not be."""

    code = "export_not_ready"
    kind = "conflict"


class FormatView(BaseModel):
    """An export format."""

    name: str
    description: str


@router.get("/formats", responses=problems(), summary="List the export formats")
def list_formats(_: Reader) -> list[FormatView]:
    """List the formats that a job can be exported in."""
    return [FormatView(name=name, description=writer.description) for name, writer in FORMATS.items()]


@router.post("/jobs/{job}/exports", status_code=202, responses=problems(404, 415), summary="Export a job")
def create_export(state: State, _: Reader, job: JobId, wanted: ExportRequest) -> ExportView:
    """Have a worker build a zip; the same request of an unchanged job gives the same export."""
    for name in wanted.formats:
        writer_class(name)
    record, new = state.exports.request(job, wanted)
    if new:
        try:
            state.queue.build_export(record.id)
        except QueueUnavailable:
            logger.exception("export recorded but not queued", extra={"job": job, "export": record.id})
    return ExportView.of(record)


@router.get("/jobs/{job}/exports", responses=problems(404), summary="List a job's exports")
def list_exports(state: State, _: Reader, job: JobId) -> list[ExportView]:
    """List exports, the newest first."""
    return [ExportView.of(record) for record in state.exports.of_job(job)]


@router.get("/jobs/{job}/exports/{export}", responses=problems(404), summary="An export's progress")
def get_export(state: State, _: Reader, job: JobId, export: ExportId) -> ExportView:
    """Show an export."""
    return ExportView.of(state.exports.get(job, export))


@router.get(
    "/jobs/{job}/exports/{export}/download",
    response_class=Response,
    responses=problems(404, 409) | file_responses("zip", "application/zip"),
    summary="Download a finished export",
)
async def download_export(request: Request, state: State, _: Reader, job: JobId, export: ExportId) -> Response:
    """Send the zip in pieces; it is never held in memory."""
    record = await run_in_threadpool(state.exports.get, job, export)
    if record.state != "done":
        why = record.error.detail if record.error else f"{record.items} of {record.total} photos are written."
        raise ExportNotReady(f"The export is {record.state}: {why}", fix="Ask for its state until it is done.")
    name = f"{record.data_set or job}-{'-'.join(record.request.formats)}.zip"
    return await stored_response(
        request, state, export_key(job, export), media_type="application/zip", name=name, attachment=True
    )
