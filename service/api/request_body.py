"""JSON bodies of routes that take other kinds of bodies as well."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from toco.model.errors import TocoError


class RawBodyTooLarge(TocoError):
    """A body passes the limit of its route."""

    code = "body_too_large"
    kind = "too_large"


async def bounded_body(request: Request, most_bytes: int) -> bytes:
    """Read a body of bytes, no further than a limit. Raises RawBodyTooLarge."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most_bytes:
            raise RawBodyTooLarge(f"The body passes the limit of {most_bytes:,} bytes.", fix="Send less at once.")
    return bytes(content)


BodyT = TypeVar("BodyT", bound=BaseModel)


class InvalidBody(TocoError):
    """The JSON body of a request does not fit."""

    code = "invalid_request"
    kind = "invalid"


def parsed_body(kind: type[BodyT], content: bytes) -> BodyT:
    """Read a JSON body. Raises InvalidBody, which names the field that does not fit."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("body", *first["loc"]))
        raise InvalidBody(f"{where}: {first['msg']}.", fix="See the API's description.") from None
