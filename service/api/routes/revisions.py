"""Revisions of an item: listed, added to by masks that people made, gone back to."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from toco.jobs.api_keys import ApiKey
from toco.jobs.job import Decision
from toco.jobs.revision import How, PersonsWay
from toco.jobs.revisions import KnownRevision
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import PSEUDO_MASK
from toco.model.formats.sent_mask import InvalidMask, read_sent_mask
from toco.model.photos.classes import Vocabulary
from toco.service.api.auth import Labeller, Reader
from toco.service.api.problem import problems
from toco.service.api.request_body import bounded_body
from toco.service.api.schemas import ItemId, JobId, moment
from toco.service.api.state import AppState, State
from toco.service.api.stored_response import file_responses, stored_response

router = APIRouter(prefix="/v1/jobs/{job}/items/{item}", tags=["revisions"])

_MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a mask as it is sent: one of 400 megapixels that is not all noise stays below."""

_NUMBER: Final = re.compile(r'(?:W/)?"?(\d{1,9})"?')
_MASK_BODY: Final = {
    "required": True,
    "content": {
        "image/png": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": "#/components/schemas/SentRegions"}},
    },
}

Number = Annotated[int, Path(ge=0, le=10**9, description="Number of a revision; 0 is the worker's own label.")]
IfMatch = Annotated[
    str | None,
    Header(max_length=64, description="Number of the revision that must be current; without it, whichever is."),
]


class NoMask(TocoError):
    """The revision has no pseudo mask."""

    code = "no_mask"
    kind = "not_found"


class ClassArea(BaseModel):
    """How much of a photo a class has."""

    name: str
    index: int
    area: int = Field(description="Pixels.")
    area_ratio: float


class RevisionView(BaseModel):
    """One state of an item's label."""

    number: int
    how: How = Field(
        description="It was made by the worker (`machine`), with other thresholds or tags, or by a person."
    )
    who: str = Field(description="Name of the API key; empty for the machine.")
    at: datetime | None
    based_on: int | None = Field(description="The revision that was current when it was made.")
    current: bool
    decision: Decision | None = Field(description="A person's verdict on it.")
    words: list[str] | None = Field(description="Tags as written; null: the classifier found them.")
    tags: list[str] = Field(description="Class names.")
    empty_tags: list[str] = Field(description="Tags that the mask does not show.")
    classes: list[ClassArea]
    ignore_ratio: float
    doubt: float
    source: str = Field(description="What made it along with others (learning again); else empty.")
    mask_url: str

    @classmethod
    def of(cls, job: str, item: str, known: KnownRevision) -> "RevisionView":
        """Show a revision."""
        revision, summary = known.revision, known.summary
        return cls(
            number=revision.number,
            how=revision.how,
            who=revision.who,
            at=moment(revision.at) if revision.at else None,
            based_on=revision.based_on,
            current=known.is_current,
            decision=known.decision,
            words=None if known.words is None else list(known.words),
            tags=list(summary.tags),
            empty_tags=list(summary.empty_tags),
            classes=[ClassArea.model_validate(row, extra="ignore") for row in summary.classes],
            ignore_ratio=summary.ignore_ratio,
            doubt=summary.doubt,
            source=revision.source,
            mask_url=f"/v1/jobs/{job}/items/{item}/revisions/{revision.number}/mask.png",
        )


class RevisionPage(BaseModel):
    """Revisions of an item, the newest first."""

    revisions: list[RevisionView]
    next: int | None = Field(description="`before` of the next page; null at the end.")


@router.get("/revisions", responses=problems(404), summary="An item's revisions, the newest first")
def list_revisions(
    state: State,
    _: Reader,
    job: JobId,
    item: ItemId,
    before: Annotated[int | None, Query(ge=1, le=10**9, description="Only lower numbers.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> RevisionPage:
    """List what the label was and is; an item without a label has none."""
    found = state.revisions.newest(job, item, before=before, limit=limit)
    last = found[-1].revision.number if found else 0
    return RevisionPage(revisions=[RevisionView.of(job, item, known) for known in found], next=last or None)


@router.get(
    "/revisions/{number}/mask.png",
    response_class=Response,
    responses=problems(404, 409) | file_responses("mask", "image/png"),
    summary="The mask of a revision",
)
async def get_revision_mask(
    request: Request, state: State, _: Reader, job: JobId, item: ItemId, number: Number
) -> Response:
    """Send the palette PNG: 0 background, 255 open."""
    known = await state.threads.store.run(state.revisions.find, job, item, number)
    if PSEUDO_MASK not in known.summary.artifacts:
        raise NoMask(f"Revision {number} of item {item} has no {PSEUDO_MASK}.", fix="Label with it as an output.")
    key = known.revision.key_of(job, item, PSEUDO_MASK)
    return await stored_response(request, state, key, media_type="image/png", name=PSEUDO_MASK)


@router.put(
    "/mask",
    responses=problems(404, 409, 412, 413),
    response_model=RevisionView,
    openapi_extra={"requestBody": _MASK_BODY},
    summary="Put a mask that a person made",
)
async def put_mask(
    request: Request,
    state: State,
    caller: Labeller,
    job: JobId,
    item: ItemId,
    how: Annotated[PersonsWay, Query(description="Where it was made.")] = "upload",
    tag: Annotated[
        list[Annotated[str, Query(max_length=512)]] | None,
        Query(
            max_length=254,
            description="The classes on the photo, all of them; left out: as before, and those of the mask.",
        ),
    ] = None,
    accept: Annotated[bool, Query(description="Accept the label as well.")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Make a mask the item's current revision.

    The body is a palette or 8-bit grey PNG of class indices (0 background, 255 open) at the size of the upright photo,
    or COCO run lengths as JSON. With `If-Match`, the same mask sent twice is one revision.
    """
    content = await bounded_body(request, _MOST_BYTES)
    expected = expected_revision(if_match)

    def put() -> KnownRevision:
        vocabulary = vocabulary_of(state, job)
        record = state.revisions.labelled(job, item)
        mask = read_sent_mask(content, record.photo_size, vocabulary)
        return state.revisions.put_mask(
            job, item, mask, vocabulary,
            how=how, who=name_of(caller), expected=expected, tags=_known_tags(tag, vocabulary), accept=accept,
        )  # fmt: skip

    return _answer(job, item, await state.threads.store.run(put))


@router.post(
    "/revisions/{number}/current",
    responses=problems(404, 409, 412),
    response_model=RevisionView,
    summary="Go back to a revision, or forth",
)
def choose_revision(
    state: State, _: Labeller, job: JobId, item: ItemId, number: Number, if_match: IfMatch = None
) -> Response:
    """Make a revision the current one; the others stay."""
    known = state.revisions.choose(job, item, number, expected=expected_revision(if_match))
    return _answer(job, item, known)


def expected_revision(if_match: str | None) -> int | None:
    """Read an `If-Match` header. Raises InvalidOption."""
    if if_match is None or if_match.strip() in ("", "*"):
        return None
    found = _NUMBER.fullmatch(if_match.strip())
    if found is None:
        raise InvalidOption(f"If-Match {if_match!r} is no revision.", fix='Send its number, as If-Match: "3".')
    return int(found[1])


def name_of(caller: ApiKey) -> str:
    """Return how a revision names who made it."""
    return caller.name


def vocabulary_of(state: AppState, job: str) -> Vocabulary:
    """Return the classes that the masks of a job hold. Raises JobNotFound, ModelNotFound."""
    return state.catalogue.vocabulary_of(state.records.job(job))


def _known_tags(tags: list[str] | None, vocabulary: Vocabulary) -> list[str] | None:
    if tags is None:
        return None
    unknown = [tag for tag in tags if tag not in vocabulary]
    if unknown:
        raise InvalidMask(f"{unknown[0]!r} is no class of the job's model.", fix=f"Use {', '.join(vocabulary.names)}.")
    return [vocabulary.names[vocabulary.channel(tag)] for tag in tags]


def _answer(job: str, item: str, known: KnownRevision) -> Response:
    view = RevisionView.of(job, item, known)
    headers: dict[str, Any] = {"etag": f'"{view.number}"'}
    return JSONResponse(view.model_dump(mode="json"), headers=headers)
