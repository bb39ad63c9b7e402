"""Tags before photos are labelled: what each word would become; and mappings that are kept by name."""

from typing import Annotated, Any, Final, get_args

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from toco.jobs.learning import READING, Learning, NewLearning, notes
from toco.jobs.mappings import NAME_PATTERN
from toco.model.errors import InvalidOption
from toco.model.photos.tag_check import TagCheck, UnknownTags, check_tags, settle_unknown
from toco.model.photos.tags import split_tags
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.request_body import form_or_json, parsed_body
from toco.service.api.schemas import CheckRequest, Word
from toco.service.api.state import AppState, State
from toco.service.api.submission import planned_learning
from toco.service.api.uploaded_form import (
    MANIFEST_FIELD,
    MAPPING_FIELD,
    form_mapping,
    read_form,
    sent_table,
    text_field,
    unknown_tags_field,
)

router = APIRouter(prefix="/v1", tags=["tags"])

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of a mapping.")]


class CheckView(TagCheck):
    """What each word would become."""

    model: str
    learnt: list[str] = Field(description="Words that a job of these photos would learn first.")
    notes: list[str] = Field(description="What would be done about words that are not understood.")


class MappingList(BaseModel):
    """The mappings that are kept."""

    mappings: list[str]


class MappingView(BaseModel):
    """A kept mapping."""

    name: str
    words: dict[str, str] = Field(description="Words and the classes that they stand for; empty ones are ignored.")


class MappingBody(BaseModel):
    """A mapping to keep."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"words": {"Hund": "dog", "K-17": ""}}]})

    words: dict[Word, Word]


_FIELDS: Final[dict[str, Any]] = {
    **MANIFEST_FIELD,
    "tags": {"type": "array", "items": {"type": "string"}, "description": "The tags of a photo each."},
    "model": {"type": "string"},
    **MAPPING_FIELD,
    "unknown_tags": {"type": "string", "enum": list(get_args(UnknownTags))},
}


@router.post(
    "/tags/check",
    responses=problems(404, 415),
    openapi_extra={"requestBody": form_or_json(_FIELDS, CheckRequest)},
    summary="What each tag would become",
)
async def check(request: Request, state: State, caller: Reader) -> CheckView:
    """Say what tags mean to a model, with counts and suggestions; nothing is stored."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with read_form(request, state.settings) as form:
            return await run_in_threadpool(_checked_form, state, caller.workspace, form)
    body = parsed_body(CheckRequest, await request.body())
    return await run_in_threadpool(_checked_body, state, caller.workspace, body)


@router.get("/mappings", responses=problems(), summary="List the mappings that are kept")
def list_mappings(state: State, caller: Reader) -> MappingList:
    """List names."""
    return MappingList(mappings=state.mappings.names(caller.workspace))


@router.get("/mappings/{name}", responses=problems(404), summary="A kept mapping")
def get_mapping(state: State, caller: Reader, name: Name) -> MappingView:
    """Show a mapping as it was written."""
    return MappingView(name=name, words=state.mappings.get(name, caller.workspace))


@router.put("/mappings/{name}", responses=problems(), summary="Keep a mapping")
def put_mapping(state: State, caller: Labeller, name: Name, body: MappingBody) -> MappingView:
    """Keep words and what they stand for; jobs name it as `mapping`. Jobs that run keep what they were given."""
    state.mappings.put(name, body.words, caller.workspace)
    return MappingView(name=name, words=body.words)


@router.delete("/mappings/{name}", status_code=204, responses=problems(404), summary="Forget a mapping")
def delete_mapping(state: State, caller: Labeller, name: Name) -> None:
    """Forget a mapping."""
    state.mappings.delete(name, caller.workspace)


def _checked_body(state: AppState, workspace: str, body: CheckRequest) -> CheckView:
    tags = [(entry,) if isinstance(entry, str) else tuple(entry) for entry in body.tags]
    return _checked(
        state, workspace, body.model, tags, state.mappings.folded(body.mapping, workspace), body.unknown_tags
    )


def _checked_form(state: AppState, workspace: str, form: FormData) -> CheckView:
    sent = sent_table(form)
    if sent is not None:
        tags = [tagged.tags for tagged in sent.table.values()]
    else:
        tags = [split_tags(value) for value in form.getlist("tags") if isinstance(value, str)]
    if not tags:
        raise InvalidOption("There are no tags to look at.", fix="Send a table as `manifest`, or `tags`.")
    mapping = form_mapping(form, state.mappings, workspace)
    return _checked(state, workspace, text_field(form, "model"), tags, mapping, unknown_tags_field(form))


def _checked(
    state: AppState,
    workspace: str,
    model: str,
    tags: list[tuple[str, ...]],
    mapping: dict[str, str],
    policy: UnknownTags,
) -> CheckView:
    known = state.catalogue.find(model, workspace)
    found = check_tags(tags, known.spec.vocabulary, mapping)
    settle_unknown(policy, found)
    planned = NewLearning()
    if policy == "learn" and found.open_words:
        planned = planned_learning(known, "", tags, mapping)
    told = notes(policy, found, Learning(READING, planned.plan) if planned.plan else None, planned.why_not)
    learnt = list(planned.plan.words) if planned.plan else []
    return CheckView(**dict(found), model=known.spec.name, learnt=learnt, notes=list(told))
