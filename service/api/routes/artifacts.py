"""Files of an item: with entity tags, ranges and cache headers, or a redirect to where they are."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from toco.jobs.job import ItemRecord
from toco.jobs.store import StoredObject, media_type
from toco.model.errors import TocoError
from toco.model.formats.artifacts import CAMS, heat_name, read_cams
from toco.model.photos.images import PHOTO_FORMATS, probe_image
from toco.service.api.auth import Reader
from toco.service.api.cam_picture import cam_png
from toco.service.api.problem import problems
from toco.service.api.schemas import ItemId, JobId
from toco.service.api.state import AppState, State
from toco.service.api.stored_response import file_responses, stored_response

router = APIRouter(prefix="/v1/jobs/{job}/items/{item}", tags=["artifacts"])

_FILE: Final = file_responses("file", "*/*")
_MEDIA_TYPES: Final = {name: f"image/{name.lower()}" for name in PHOTO_FORMATS}


class ArtifactNotFound(TocoError):
    """The item has no artifact of this name."""

    code = "artifact_not_found"
    kind = "not_found"


@router.get(
    "/image",
    response_class=Response,
    responses=problems(404, 413, 415) | _FILE,
    summary="The image as it was sent",
)
async def get_image(request: Request, state: State, _: Reader, job: JobId, item: ItemId) -> Response:
    """Send the image; its type is that of its content."""
    record = await run_in_threadpool(state.records.item, job, item)
    if not record.image_key:
        raise ArtifactNotFound(f"The image of item {item} was refused and is not kept.", fix="Send it again.")
    kind = record.format or await state.threads.store.run(_look_at, state, record.image_key)
    return await stored_response(request, state, record.image_key, media_type=_MEDIA_TYPES[kind], name=record.name)


@router.get(
    "/artifacts/{name}",
    response_class=Response,
    responses=problems(404) | _FILE,
    summary="One artifact of an item",
)
async def get_artifact(
    request: Request,
    state: State,
    _: Reader,
    job: JobId,
    item: ItemId,
    name: Annotated[str, Path(max_length=600, examples=["pseudo_mask.png"])],
) -> Response:
    """Send one of the files that the item lists, such as `pseudo_mask.png`, `cam.npz` or `heat_<tag>.jpg`."""
    record = await run_in_threadpool(_require, state, job, item, name)
    return await stored_response(request, state, record.key_of(name), media_type=media_type(name), name=name)


@router.get(
    "/cams/{tag}",
    response_class=Response,
    responses=problems(404) | _FILE,
    summary="The class activation map of one tag as a grey picture",
)
async def get_cam(
    request: Request,
    state: State,
    _: Reader,
    job: JobId,
    item: ItemId,
    tag: Annotated[str, Path(max_length=512, description="A class name.", examples=["cat"])],
) -> Response:
    """Send a tag's map as an 8-bit grey PNG at the working size: 0 is score 0, 255 is score 1."""
    return await state.threads.store.run(_cam, request, state, job, item, tag)


def _cam(request: Request, state: AppState, job: str, item: str, tag: str) -> Response:
    key = _require(state, job, item, CAMS).key_of(CAMS)
    found: StoredObject = state.store.head(key)
    headers = {"etag": found.etag, "cache-control": "private, max-age=0, must-revalidate"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    cams = read_cams(state.store.get(key))
    wanted = {heat_name(name): position for position, name in enumerate(cams.names)}
    position = wanted.get(heat_name(tag))
    if position is None:
        raise ArtifactNotFound(
            f"Item {item} has no map of {tag!r}.", fix=f"Its tags: {', '.join(cams.names) or 'none'}."
        )
    return Response(cam_png(cams.maps[position]), headers=headers, media_type="image/png")


def _look_at(state: AppState, key: str) -> str:
    return probe_image(state.store.get(key)).format


def _require(state: AppState, job: str, item: str, name: str) -> ItemRecord:
    record = state.records.item(job, item)
    made = record.summary.artifacts if record.summary else {}
    if name not in made:
        raise ArtifactNotFound(
            f"Item {item} has no artifact {name!r}.",
            fix=f"It has {', '.join(made)}." if made else f"It is {record.state}; artifacts come when it is done.",
        )
    return record
