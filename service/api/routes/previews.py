"""Small upright pictures of an item, for galleries, and of photos in formats that browsers do not read."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from toco.model.errors import TocoError
from toco.model.formats.artifacts import OVERLAY, encode_jpeg
from toco.model.photos.images import read_image
from toco.service.api.auth import Reader
from toco.service.api.problem import problems
from toco.service.api.schemas import ItemId, JobId
from toco.service.api.state import AppState, State

router = APIRouter(prefix="/v1/jobs/{job}/items/{item}", tags=["artifacts"])

Layer = Literal["photo", "overlay"]

_JPEG_QUALITY: Final = 82
_CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture.",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The picture is the one that the client has."},
}


class PreviewNotFound(TocoError):
    """The item has nothing to make the picture of."""

    code = "preview_not_found"
    kind = "not_found"


@router.get(
    "/preview", response_class=Response, responses=problems(404, 413, 415) | _CONTENT, summary="A small picture"
)
async def get_preview(
    request: Request,
    state: State,
    _: Reader,
    job: JobId,
    item: ItemId,
    layer: Annotated[Layer, Query(description="The photo, or the label over it.")] = "photo",
    side: Annotated[int, Query(ge=16, le=4096, description="Longest side in pixels; never enlarged.")] = 320,
) -> Response:
    """Send the photo or its overlay, upright, as a JPEG."""
    return await state.threads.store.run(_preview, request, state, job, item, layer, side)


def _preview(request: Request, state: AppState, job: str, item: str, layer: Layer, side: int) -> Response:
    record = state.records.item(job, item)
    made = record.summary.artifacts if record.summary else {}
    keys = {"photo": record.image_key, "overlay": record.key_of(OVERLAY) if OVERLAY in made else ""}
    key = keys[layer]
    if not key:
        raise PreviewNotFound(
            f"Item {item} has no {layer}.",
            fix="Ask for layer=photo." if record.image_key else "The image was refused and is not kept.",
        )
    etag = f'"{state.store.head(key).etag.strip(chr(34))}-{side}"'
    headers = {"etag": etag, "cache-control": "private, max-age=0, must-revalidate"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    picture = read_image(state.store.get(key), max_pixels=state.settings.max_image_pixels, long_side=side).pixels
    return Response(encode_jpeg(picture, quality=_JPEG_QUALITY), headers=headers, media_type="image/jpeg")
