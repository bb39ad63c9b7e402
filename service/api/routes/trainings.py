"""Training models: asked for, followed, cancelled, resumed; the result promoted or thrown away."""

from collections.abc import AsyncIterable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import JSONResponse

from toco.jobs.ids import ID_PATTERN
from toco.jobs.published_models import NotPublished, VersionNotFound
from toco.jobs.queue import QueueUnavailable
from toco.jobs.store import training_run_prefix
from toco.jobs.training import TrainingRecord
from toco.jobs.trainings import require_trained
from toco.model.errors import InvalidOption
from toco.model.training.recipes import RECIPES
from toco.model.training.task_files import PICTURES_FOLDER
from toco.service.api.auth import Labeller, Reader
from toco.service.api.followed import LastEventId, followed
from toco.service.api.problem import problems
from toco.service.api.request_body import first_fault, form_or_json, parsed_body
from toco.service.api.request_context import until_gone
from toco.service.api.routes.jobs import UnknownBody, fetched
from toco.service.api.state import State
from toco.service.api.stored_response import file_responses, stored_response
from toco.service.api.submission import parse_options
from toco.service.api.training_request import TrainingBody, TrainingCall
from toco.service.api.training_views import TrainingDetails, TrainingPage, TrainingView
from toco.service.api.uploaded_form import MAPPING_FIELD, PHOTO_FIELDS, form_mapping, form_photos, read_form

router = APIRouter(prefix="/v1", tags=["trainings"])

TrainingId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a training.")]

_FIELDS: Final[dict[str, Any]] = {
    "name": {"type": "string", "description": "Of the model; a new version of it if there is one."},
    "preset": {"type": "string", "enum": list(RECIPES)},
    "settings": {"type": "string", "description": "Changes to the preset as a JSON object."},
    "classes": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Of the model, repeated. Left out: every word of the tags.",
    },
    "model": {"type": "string", "description": "That it starts from. Left out: the default."},
    "complete_tags": {"type": "string", "enum": ["true", "false"]},
    **MAPPING_FIELD,
    **PHOTO_FIELDS,
}


@router.post(
    "/models",
    status_code=202,
    response_model=TrainingView,
    responses=problems(404, 409, 415)
    | {200: {"description": "This Idempotency-Key made the training before.", "model": TrainingView}},
    openapi_extra={"requestBody": form_or_json(_FIELDS, TrainingBody, required=["name"])},
    summary="Train a model",
)
async def create_training(
    request: Request,
    state: State,
    caller: Labeller,
    idempotency_key: Annotated[str, Header(max_length=255, description="Sent twice, it makes one training.")] = "",
) -> Response:
    """Train a model on photos with tags, or on those of a job; no mask is needed.

    Photos without tags, and those that cannot be read, are left out; `notes` says so.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    gone = Event()
    call = TrainingCall(
        state,
        caller,
        TrainingBody(name=""),
        idempotency_key=idempotency_key,
        request_id=request.state.request_id,
        gone=gone.is_set,
    )
    run = state.threads.submissions.run
    if kind == "multipart/form-data":
        async with read_form(request, state.settings) as form:
            record, known = await until_gone(request, gone, run(_from_form, call, form))
    elif kind == "application/json":
        record, known = await until_gone(request, gone, run(_from_body, call, await request.body()))
    else:
        raise UnknownBody(f"A body of type {kind!r}.", fix="Send multipart/form-data or application/json.")
    view = TrainingView.of_record(record)
    headers = {"location": f"/v1/trainings/{record.id}"}
    return JSONResponse(view.model_dump(mode="json"), 200 if known else 202, headers=headers)


@router.get("/trainings", responses=problems(), summary="List trainings, the newest first")
def list_trainings(
    state: State,
    caller: Reader,
    cursor: Annotated[str | None, Query(pattern=ID_PATTERN, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TrainingPage:
    """List the trainings of the key's workspace (an admin's: of all) a page at a time."""
    found = state.trainings.newest(workspace=caller.sees, before=cursor, limit=limit)
    following = found[-1].id if len(found) == limit else None
    return TrainingPage(trainings=[TrainingView.of_record(record) for record in found], next=following)


@router.get("/trainings/{training}", responses=problems(404), summary="How far a training is, and what came of it")
def get_training(state: State, _: Reader, training: TrainingId) -> TrainingDetails:
    """Show a training with its losses so far."""
    record = state.trainings.get(training)
    return TrainingDetails.of_record(record, history=state.trainings.losses(training))


def _known_training(state: State, training: TrainingId) -> None:
    """Raise TrainingNotFound while a problem can still be answered: once the stream has begun, the status is sent."""
    state.trainings.get(training)


@router.get(
    "/trainings/{training}/events",
    response_class=EventSourceResponse,
    responses=problems(404),
    dependencies=[Depends(_known_training)],
    summary="Follow a training as it runs",
)
async def follow_training(
    request: Request,
    state: State,
    _: Reader,
    training: TrainingId,
    last_event_id: LastEventId = -1,
) -> AsyncIterable[ServerSentEvent]:
    """Send `progress` with the training whenever it changed, and `end` when it is over."""
    look = partial(state.trainings.get, training)
    named = {"training": training}
    async for event in followed(request, look, TrainingView.of_record, seen=last_event_id, named=named):
        yield event


@router.post("/trainings/{training}/cancel", responses=problems(404), summary="Cancel a training")
def cancel_training(state: State, _: Labeller, training: TrainingId) -> TrainingView:
    """Cancel one that waits at once, and one that runs soon; it can be resumed from its last checkpoint."""
    return TrainingView.of_record(state.trainings.cancel(training))


@router.post("/trainings/{training}/resume", responses=problems(404, 409), summary="Go on with a training")
def resume_training(state: State, _: Labeller, training: TrainingId) -> TrainingView:
    """Let a training that failed or was cancelled go on from its last checkpoint."""
    record = state.trainings.resume(training)
    with suppress(QueueUnavailable):  # the sweep queues it
        state.queue.train(training)
    return TrainingView.of_record(record)


@router.post("/trainings/{training}/promote", responses=problems(404, 409), summary="Use a trained model")
def promote_training(state: State, _: Labeller, training: TrainingId) -> TrainingView:
    """Let the model's name stand for what this training made; jobs that name it use that from now on."""
    record = state.trainings.get(training)
    state.published.promote(record.asked.name, require_trained(record), record.asked.workspace)
    return TrainingView.of_record(state.trainings.decide(training, "promoted"))


@router.post("/trainings/{training}/discard", responses=problems(404, 409), summary="Throw a trained model away")
async def discard_training(state: State, _: Labeller, training: TrainingId) -> TrainingView:
    """Delete the version that this training made; where it was current, the one before it is again."""

    def discard() -> TrainingRecord:
        record = state.trainings.get(training)
        version = require_trained(record)
        with suppress(VersionNotFound, NotPublished):  # deleted there already
            state.published.delete(record.asked.name, record.asked.workspace, version)
        return state.trainings.decide(training, "discarded")

    return TrainingView.of_record(await state.threads.store.run(discard))


@router.delete("/trainings/{training}", status_code=204, responses=problems(404, 409), summary="Delete a training")
def delete_training(state: State, _: Labeller, training: TrainingId) -> None:
    """Delete the record of one that is over, its photos and its checkpoints; a model that it published stays."""
    state.trainings.delete(training)
    with suppress(QueueUnavailable):  # the sweep queues it
        state.queue.delete_training(training)


@router.get(
    "/trainings/{training}/pictures/{number}/{which}",
    response_class=Response,
    responses=problems(404) | file_responses("picture", "image/jpeg"),
    summary="A photo that was kept aside with a model's mask",
)
async def get_picture(
    request: Request,
    state: State,
    _: Reader,
    training: TrainingId,
    number: Annotated[int, Path(ge=0, le=99, description="Position in `figures.pictures`.")],
    which: Annotated[Literal["before", "after"], Path(description="The model before, or the trained one.")],
) -> Response:
    """Send the photo with the mask of one of the two models over it."""
    await run_in_threadpool(state.trainings.get, training)
    name = f"{number:02d}-{which}.jpg"
    key = f"{training_run_prefix(training)}{PICTURES_FOLDER}/{name}"
    return await stored_response(request, state, key, media_type="image/jpeg", name=name)


def _from_form(call: TrainingCall, form: FormData) -> tuple[TrainingRecord, bool]:
    texts = {name: [value for value in form.getlist(name) if isinstance(value, str)] for name in _FIELDS}
    said: dict[str, Any] = {
        name: texts[name][0].strip() for name in ("name", "preset", "model", "upload", "complete_tags") if texts[name]
    }
    try:
        body = TrainingBody(
            settings=parse_options((texts["settings"] or [""])[0]),
            classes=[name.strip() for text in texts["classes"] for name in text.split(",") if name.strip()],
            **{name: value for name, value in said.items() if value or name == "name"},
        )
    except ValidationError as error:
        raise InvalidOption(first_fault(error), fix="See the API's description.") from None
    call = replace(call, body=body, mapping=form_mapping(form, call.state.mappings, call.caller.workspace))
    return _with_photos(call, form)


def _from_body(call: TrainingCall, content: bytes) -> tuple[TrainingRecord, bool]:
    body = parsed_body(TrainingBody, content)
    call = replace(call, body=body, mapping=call.state.mappings.folded(body.mapping, call.caller.workspace))
    if bool(body.job) == bool(body.upload):
        raise InvalidOption(
            "Photos of a job, or of an upload?", fix="Give job or upload, or send the photos as a form."
        )
    if body.upload:
        return _with_photos(call, FormData())
    if call.caller.sees is not None:
        call.state.records.require_seen(body.job, call.caller.sees)
    return call.start(None)


def _with_photos(call: TrainingCall, form: FormData) -> tuple[TrainingRecord, bool]:
    with ExitStack() as stack:
        upload = call.body.upload
        file = stack.enter_context(closing(fetched(call.state, call.caller, upload))) if upload else None
        sent = stack.enter_context(form_photos(form, call.state.settings, upload=file))
        return call.start(sent.photos)
