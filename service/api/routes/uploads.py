"""Resumable uploads over the TUS protocol.

References:
    tus resumable upload protocol 1.0.0 (https://tus.io/protocols/resumable-upload): core, creation, termination,
    expiration.
"""

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import suppress
from email.utils import formatdate
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.requests import ClientDisconnect

from toco.jobs.ids import ID_PATTERN
from toco.jobs.uploads import described
from toco.model.errors import TocoError
from toco.service.api.auth import Labeller, seen_uploads
from toco.service.api.problem import problems
from toco.service.api.state import State

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

VERSION: Final = "1.0.0"
_PIECE: Final = "application/offset+octet-stream"

UploadId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of an upload.")]
Offset = Annotated[int, Header(ge=0, le=2**53, description="Where the piece begins.")]


class InvalidUpload(TocoError):
    """A header of the protocol does not fit."""

    code = "invalid_upload"
    kind = "invalid"


class UnknownPiece(TocoError):
    """The body of a piece has another type than the protocol's."""

    code = "unsupported_media_type"
    kind = "unsupported"


@router.options("", status_code=204, summary="What the server can do")
def describe_protocol(state: State) -> Response:
    """Answer with the version and extensions of the protocol."""
    headers = {
        "tus-resumable": VERSION,
        "tus-version": VERSION,
        "tus-extension": "creation,termination,expiration",
        "tus-max-size": str(state.settings.max_upload_bytes),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses=problems(413) | {201: {"description": "Begun; `Location` is its address."}},
    summary="Begin a resumable upload",
)
def begin_upload(
    state: State,
    caller: Labeller,
    upload_length: Annotated[int, Header(ge=1, le=2**53, description="Bytes in all.")],
    upload_metadata: Annotated[str, Header(max_length=4096, description="`filename` and its base64 value.")] = "",
) -> Response:
    """Begin an upload; then send pieces with PATCH, and name it in a job as `upload`."""
    name = _file_name(upload_metadata)
    upload = seen_uploads(state, caller).create(length=upload_length, name=name, workspace=caller.workspace)
    headers = described(upload) | {"location": f"/v1/uploads/{upload.id}", "upload-expires": _date(upload.expires_at)}
    return Response(status_code=201, headers=headers)


@router.head(
    "/{upload}",
    response_class=Response,
    responses=problems(404) | {200: {"description": "`Upload-Offset` says how much is there."}},
    summary="Ask where an upload stands",
)
def ask_offset(state: State, caller: Labeller, upload: UploadId) -> Response:
    """Answer with the offset to go on from."""
    return Response(headers=described(seen_uploads(state, caller).get(upload)))


@router.patch(
    "/{upload}",
    status_code=204,
    response_class=Response,
    responses=problems(404, 409, 413, 415) | {204: {"description": "Taken; `Upload-Offset` is the new offset."}},
    openapi_extra={"requestBody": {"content": {_PIECE: {"schema": {"type": "string", "format": "binary"}}}}},
    summary="Send a piece",
)
async def send_piece(
    request: Request, state: State, caller: Labeller, upload: UploadId, upload_offset: Offset
) -> Response:
    """Take the bytes from an offset on."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _PIECE:
        raise UnknownPiece("The piece has the wrong type.", fix=f"Send it as {_PIECE}.")
    uploads = seen_uploads(state, caller)
    found = await uploads.append(upload, upload_offset, _as_far_as_it_comes(request), storing=state.threads.store.run)
    return Response(status_code=204, headers=described(found) | {"upload-expires": _date(found.expires_at)})


@router.delete("/{upload}", status_code=204, responses=problems(404), summary="Give an upload up")
async def end_upload(state: State, caller: Labeller, upload: UploadId) -> None:
    """Delete what was received."""
    await state.threads.store.run(seen_uploads(state, caller).delete, upload)


async def _as_far_as_it_comes(request: Request) -> AsyncIterator[bytes]:
    """Yield the body; a client that goes away ends it, and what it sent is kept."""
    with suppress(ClientDisconnect):
        async for part in request.stream():
            yield part


def _file_name(metadata: str) -> str:
    for pair in metadata.split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "filename":
            try:
                return base64.b64decode(value, validate=True).decode("utf-8", "replace")[:512]
            except binascii.Error:
                raise InvalidUpload(
                    f"Upload-Metadata has the file name {value!r}, which is not base64.", fix="See tus 1.0.0."
                ) from None
    return ""


def _date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)
