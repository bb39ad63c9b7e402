"""JSON bodies of routes that take other kinds of bodies as well."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from toco.model.errors import TocoError

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
