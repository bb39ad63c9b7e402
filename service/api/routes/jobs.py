"""Jobs of many images: made, listed, cancelled, retried, deleted."""

import logging
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from tempfile import TemporaryFile
from threading import Event
from typing import IO, Annotated, Any, Final, get_args

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse

from toco.jobs.api_keys import ApiKey
from toco.jobs.ids import ID_PATTERN
from toco.jobs.job import ItemState, JobRecord, JobState
from toco.jobs.queue import QueueUnavailable
from toco.model.errors import TocoError
from toco.model.options import PRESETS
from toco.model.photos.assignment import UNTAGGED
from toco.model.photos.pages import Pages
from toco.model.photos.tag_check import UnknownTags
from toco.service.api.auth import Admin, Labeller, Reader, seen_uploads
from toco.service.api.problem import problems
from toco.service.api.request_body import form_or_json, parsed_body
from toco.service.api.request_context import until_gone
from toco.service.api.schemas import JobBody, JobDetails, JobId, JobPage, JobView, MadeJob, RetryView
from toco.service.api.state import AppState, State
from toco.service.api.submission import JobRequest, Photo, Submission
from toco.service.api.uploaded_form import (
    MAPPING_FIELD,
    PHOTO_FIELDS,
    Sent,
    archive_photos,
    archives,
    find_tags,
    form_photos,
    job_request,
    pages_field,
    read_form,
    told,
)
from toco.service.api.uploaded_masks import with_masks
from toco.service.api.uploaded_pages import each_page

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_DAY_SECONDS = 86_400


class UnknownBody(TocoError):
    """The body of a job is neither multipart nor JSON."""

    code = "unsupported_media_type"
    kind = "unsupported"


_FIELDS: Final[dict[str, Any]] = {
    **PHOTO_FIELDS,
    "masks": {
        "type": "string",
        "format": "binary",
        "description": "Masks without classes, made elsewhere, that are merged into the labels: zip or tar of cow.png, "
        "cow.json (COCO run lengths) or a folder cow/ of PNGs for cow.jpg, or one COCO file; or the id of a finished "
        "resumable upload of one.",
    },
    "name": {"type": "string"},
    "learn_as": {"type": "string", "description": "Name of the model of words that are learnt."},
    "model": {"type": "string"},
    "preset": {"type": "string", "enum": list(PRESETS)},
    "options": {"type": "string", "description": "Changes to the preset as a JSON object."},
    "outputs": {"type": "array", "items": {"type": "string"}},
    "unknown_tags": {"type": "string", "enum": list(get_args(UnknownTags))},
    **MAPPING_FIELD,
    "untagged": {
        "type": "string",
        "enum": ["", *UNTAGGED],
        "description": "Photos that nothing lists. Left out, the classifier tags all photos if no tags came at all; "
        "if some did, the others fail.",
    },
    "pages": {
        "type": "string",
        "enum": list(get_args(Pages)),
        "description": "Of a TIFF of many pages, label the first or each.",
    },
    "priority": {"type": "string", "enum": ["batch", "interactive"]},
    "webhook": {"type": "string"},
    "webhook_secret": {"type": "string"},
}


@router.post(
    "",
    status_code=202,
    response_model=MadeJob,
    responses=problems(404, 409, 415)
    | {200: {"description": "This Idempotency-Key made the job before.", "model": MadeJob}},
    openapi_extra={"requestBody": form_or_json(_FIELDS, JobBody)},
    summary="Label many images",
)
async def create_job(
    request: Request,
    state: State,
    caller: Labeller,
    idempotency_key: Annotated[str, Header(max_length=255, description="Sent twice, it makes one job.")] = "",
) -> Response:
    """Make a job from files, an archive, a resumable upload, or keys of the object store.

    An image that cannot be read becomes a failed item; the others are labelled all the same.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    call = Call(state, caller, idempotency_key, request.state.request_id, gone=Event())
    run = state.threads.submissions.run
    if kind == "multipart/form-data":
        async with read_form(request, state.settings) as form:
            record, known, sent = await until_gone(request, call.gone, run(_from_form, call, form))
    elif kind == "application/json":
        record, known, sent = await until_gone(request, call.gone, run(_from_body, call, await request.body()))
    else:
        raise UnknownBody(f"A body of type {kind!r}.", fix="Send multipart/form-data or application/json.")
    headers = {"location": f"/v1/jobs/{record.id}"}
    view = MadeJob.of_sent(record, sent.tables, sent.notes)
    return JSONResponse(view.model_dump(mode="json"), 200 if known else 202, headers=headers)


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a job: who makes it, and whether the client still listens."""

    state: AppState
    caller: ApiKey
    idempotency_key: str
    request_id: str
    gone: Event

    def submission(self, asked: JobRequest) -> Submission:
        """Check what is asked for; the photos are still to come."""
        return Submission(self.state, self.caller, asked, request_id=self.request_id, gone=self.gone.is_set)


def _from_form(call: Call, form: FormData) -> tuple[JobRecord, bool, Sent]:
    submission = call.submission(
        job_request(form, call.state.mappings, call.caller.workspace, idempotency_key=call.idempotency_key)
    )
    with ExitStack() as stack:

        def of_upload(field: str) -> IO[bytes] | None:
            value = form.get(field)
            given = isinstance(value, str) and value
            return stack.enter_context(closing(fetched(call.state, call.caller, str(value)))) if given else None

        sent = stack.enter_context(form_photos(form, call.state.settings, upload=of_upload("upload")))
        sent_masks = form.get("masks")
        file = sent_masks.file if isinstance(sent_masks, UploadFile) else of_upload("masks")
        sent = stack.enter_context(with_masks(sent, file, call.state.settings))
        photos = each_page(sent.photos, call.state.settings) if pages_field(form) == "each" else sent.photos
        return *submission.submit(photos), sent


def _from_body(call: Call, content: bytes) -> tuple[JobRecord, bool, Sent]:
    body = parsed_body(JobBody, content)
    asked = JobRequest(
        model=body.model,
        preset=body.preset,
        options=body.options,
        outputs=tuple(body.outputs),
        unknown_tags=body.unknown_tags,
        mapping=call.state.mappings.folded(body.mapping, call.caller.workspace),
        name=body.name,
        priority=body.priority,
        webhook=body.webhook,
        webhook_secret=body.webhook_secret,
        idempotency_key=call.idempotency_key,
        learn_as=body.learn_as,
    )
    submission = call.submission(asked)
    photos = [
        Photo(
            image.name or image.key,
            None if image.tags is None else tuple(image.tags),
            key=image.key,
            part=image.split,
        )
        for image in body.items
    ]
    with ExitStack() as stack:

        def of_upload(upload: str) -> IO[bytes]:
            return stack.enter_context(closing(fetched(call.state, call.caller, upload)))

        sent = Sent(iter(photos), tuple(photo.name for photo in photos))
        if body.upload:
            opened = stack.enter_context(archives([of_upload(body.upload)], call.state.settings))
            found = find_tags(opened)
            packed = archive_photos(opened[0], found[0], body.untagged)
            names = (*sent.names, *opened[0].collection.photos)
            sent = Sent(chain(photos, packed), names, *told(found, opened))
        masks = of_upload(body.masks) if body.masks else None
        sent = stack.enter_context(with_masks(sent, masks, call.state.settings))
        taken = each_page(sent.photos, call.state.settings) if body.pages == "each" else sent.photos
        return *submission.submit(taken), sent


def fetched(state: AppState, caller: ApiKey, upload: str) -> IO[bytes]:
    """Copy a finished upload into a temporary file: archives are read back and forth."""
    file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        seen_uploads(state, caller).copy_to(upload, file)
    except BaseException:
        file.close()
        raise
    return file


@router.get("", responses=problems(), summary="List jobs, the newest first")
def list_jobs(
    state: State,
    caller: Reader,
    cursor: Annotated[str | None, Query(pattern=ID_PATTERN, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    job_state: Annotated[JobState | None, Query(alias="state", description="Only these.")] = None,
) -> JobPage:
    """List the jobs of the key's workspace (an admin's: of all) a page at a time."""
    found = state.records.jobs(workspace=caller.sees, state=job_state, before=cursor, limit=limit)
    return JobPage(jobs=[JobView.of(job) for job in found], next=found[-1].id if len(found) == limit else None)


@router.get("/{job}", responses=problems(404), summary="A job's state, counts, rate and time left")
def get_job(state: State, _: Reader, job: JobId) -> JobDetails:
    """Show a job with every setting that it uses."""
    return JobDetails.of(state.records.job(job))


@router.post("/{job}/cancel", responses=problems(404), summary="Cancel a job")
def cancel_job(state: State, _: Labeller, job: JobId) -> RetryView:
    """Cancel the items that have not begun; those that a worker has in hand are finished."""
    count = state.records.cancel(job)
    return RetryView(items=count, job=JobView.of(state.records.job(job)))


@router.post("/{job}/retry", responses=problems(404), summary="Try failed items again")
def retry_job(
    state: State,
    _: Labeller,
    job: JobId,
    states: Annotated[list[ItemState] | None, Query(description="`failed` alone if left out.")] = None,
) -> RetryView:
    """Queue failed (or cancelled) items again; images that were refused when they were sent stay failed."""
    wanted: list[ItemState] = [name for name in states or ["failed"] if name in ("failed", "cancelled")]
    items = state.records.retry(job, tuple(wanted))
    record = state.records.job(job)
    if items:
        try:
            state.queue.go_on(record, items, state.learning.unread(job) if record.learns else ())
        except QueueUnavailable:
            logger.exception("items put back but not queued", extra={"job": job})
    return RetryView(items=len(items), job=JobView.of(record))


@router.delete("/{job}", status_code=204, responses=problems(404), summary="Delete a job and all that it made")
def delete_job(state: State, _: Labeller, job: JobId) -> None:
    """Delete records at once and stored files soon after."""
    state.records.job(job)
    _delete(state, job)


class DeletedJobs(BaseModel):
    """How many jobs were deleted."""

    deleted: int


@router.delete("", responses=problems(), summary="Delete old jobs")
def delete_old_jobs(
    state: State, _: Admin, older_than_days: Annotated[float, Query(ge=0, le=36500, description="Age since their end.")]
) -> DeletedJobs:
    """Delete the jobs that ended longer ago than that."""
    moment = time.time() - older_than_days * _DAY_SECONDS
    deleted = 0
    while jobs := state.records.finished_before(moment):
        for job in jobs:
            _delete(state, job)
        deleted += len(jobs)
    return DeletedJobs(deleted=deleted)


def _delete(state: AppState, job: str) -> None:
    state.records.delete_job(job)
    try:
        state.queue.delete_objects(job)
    except QueueUnavailable:
        logger.exception("job deleted, its files will be by the sweep", extra={"job": job})
