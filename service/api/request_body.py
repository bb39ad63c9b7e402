"""Bodies of routes that take several kinds of them: described, read and checked."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

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
        raise InvalidBody(first_fault(error, "body"), fix="See the API's description.") from None


def first_fault(error: ValidationError, *place: str) -> str:
    """Return the first thing that does not fit, and where: below a place, if one is given."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in (*place, *first['loc']))}: {first['msg']}."


def form_or_json(fields: Mapping[str, Any], kind: type[BaseModel], *, required: Sequence[str] = ()) -> dict[str, Any]:
    """Describe for OpenAPI a body that is a form or JSON.

    Args:
        fields: schemas of the form's fields.
        kind: what the JSON holds; `description.py` must name it.
        required: fields without which the form is none.
    """
    form = {"type": "object", "properties": dict(fields)} | ({"required": list(required)} if required else {})
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}},
        },
    }
