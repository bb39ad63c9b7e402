"""`POST /v1/label`: one image, answered with its label."""

import asyncio
import logging
import secrets
import time
from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, File, Form, Header, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from toco.jobs.job import ItemError, ItemRecord, JobRecord
from toco.jobs.store import media_type
from toco.model.errors import TocoError
from toco.model.formats.artifacts import PSEUDO_MASK, Output
from toco.model.photos.tag_check import UnknownTags
from toco.service.api.auth import Labeller
from toco.service.api.problem import STATUS_OF_KIND, problems
from toco.service.api.schemas import ItemView, JobView, LabelView
from toco.service.api.state import AppState, State
from toco.service.api.submission import JobRequest, Photo, Submission, look_at, parse_options
from toco.service.api.uploaded_form import output_names, parse_mapping_field, tag_field

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["label"])

_FIRST_POLL_SECONDS: Final = 0.01
_LONGEST_POLL_SECONDS: Final = 0.1


class ImageNotLabelled(TocoError):
    """The worker could not label the image."""


_RESPONSES = problems(400, 404, 409, 413, 415) | {
    200: {
        "description": "The label: JSON, the pseudo mask alone, or all artifacts.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/LabelView"}},
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    202: {"description": "Not done within the wait: ask the job.", "model": LabelView},
}


@router.post("/label", response_model=LabelView, responses=_RESPONSES, summary="Label one image and wait for it")
async def label_image(
    request: Request,
    state: State,
    caller: Labeller,
    image: Annotated[UploadFile, File(description="JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC or AVIF: by content.")],
    tags: Annotated[
        list[str] | None,
        Form(description="What is on it: repeated or comma-separated. Left out, the classifier finds the tags."),
    ] = None,
    model: Annotated[str, Form(description="Name of a model; empty: the default.")] = "",
    preset: Annotated[str, Form(description="`fast`, `balanced` or `paper`.")] = "balanced",
    options: Annotated[str, Form(description="Changes to the preset, as a JSON object.")] = "",
    outputs: Annotated[list[Output] | None, Form(description="Artifacts wanted; empty: the usual ones.")] = None,
    unknown_tags: Annotated[
        UnknownTags, Form(description="Leave open what words may own that are not understood, or refuse them.")
    ] = "open",
    mapping: Annotated[
        str, Form(description="Own words: name of a kept mapping, or an object of words and classes.")
    ] = "",
    wait_seconds: Annotated[float | None, Form(ge=0, le=300, description="At most the service's own limit.")] = None,
    accept: Annotated[str, Header(description="`application/json`, `image/png` or `multipart/form-data`.")] = "*/*",
    idempotency_key: Annotated[str, Header(max_length=255)] = "",
) -> Response:
    """Label one image.

    Answers 200 with the label, or 202 with the job if that takes longer than the wait.
    `Accept: image/png` answers with the pseudo mask, `Accept: multipart/form-data` with every artifact.
    """
    asked = JobRequest(
        model=model,
        preset=preset,
        options=parse_options(options),
        outputs=output_names(outputs or []),
        unknown_tags=unknown_tags,
        mapping=await run_in_threadpool(state.mappings.folded, parse_mapping_field(mapping), caller.workspace),
        priority="interactive",
        idempotency_key=idempotency_key,
    )
    content = await image.read(state.settings.max_image_bytes + 1)
    photo = Photo(image.filename or "image", tag_field(tags or []), content=content)
    job = await state.threads.store.run(_submit, state, caller, asked, photo, request.state.request_id)
    longest = state.settings.label_wait_seconds
    item = await _wait(state, job, longest if wait_seconds is None else min(wait_seconds, longest))
    if item.state == "failed":
        raise _failure(item)
    job = await run_in_threadpool(state.records.job, job.id)
    if item.state != "done":
        view = LabelView(job=JobView.of(job), item=ItemView.of(item))
        headers = {"location": f"/v1/jobs/{job.id}", "retry-after": "1"}
        return JSONResponse(view.model_dump(mode="json"), 202, headers=headers)
    return await state.threads.store.run(_rendered, state, job, item, accept)


def _submit(state: AppState, caller: Labeller, asked: JobRequest, photo: Photo, request_id: str) -> JobRecord:
    submission = Submission(state, caller, asked, request_id=request_id)
    # A single bad image is the request's fault, where in a batch it would be one failed item.
    header = look_at(photo.content or b"", state.settings)
    submission.check_cost(photo.tags, (header.height, header.width))
    return submission.submit([replace(photo, header=header)])[0]


async def _wait(state: AppState, job: JobRecord, seconds: float) -> ItemRecord:
    deadline = time.monotonic() + seconds
    pause = _FIRST_POLL_SECONDS
    while True:
        item = await run_in_threadpool(state.records.item, job.id, "000000")
        if item.state not in ("queued", "running") or time.monotonic() >= deadline:
            return item
        await asyncio.sleep(pause)
        pause = min(_LONGEST_POLL_SECONDS, pause * 1.25)


def _failure(item: ItemRecord) -> TocoError:
    found = item.error or ItemError(code="internal", kind="internal", detail="The image was not labelled.")
    error = ImageNotLabelled(found.detail, fix=found.fix)
    error.code = found.code  # the worker's error, passed on as it was
    error.kind = next((kind for kind in STATUS_OF_KIND if kind == found.kind), "internal")
    return error


def _rendered(state: AppState, job: JobRecord, item: ItemRecord, accept: str) -> Response:
    links = {"location": f"/v1/jobs/{job.id}"}
    made = item.summary.artifacts if item.summary else {}
    wanted = accept.lower()
    if "image/png" in wanted and PSEUDO_MASK in made:
        return Response(state.store.get(item.key_of(PSEUDO_MASK)), 200, links, "image/png")
    if "multipart/" in wanted:
        boundary = secrets.token_hex(16)
        body = b"".join(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"content-type: {media_type(name)}\r\n\r\n".encode()
            + state.store.get(item.key_of(name))
            + b"\r\n"
            for name in made
        )
        return Response(body + f"--{boundary}--\r\n".encode(), 200, links, f"multipart/form-data; boundary={boundary}")
    view = LabelView(job=JobView.of(job), item=ItemView.of(item))
    return JSONResponse(view.model_dump(mode="json"), 200, headers=links)
