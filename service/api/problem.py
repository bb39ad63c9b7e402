"""Errors over HTTP: one shape, `application/problem+json`, rendered in one place.

References:
    RFC 9457 (problem details for HTTP APIs).
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import redis
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from toco.jobs.revisions import RevisionOutdated
from toco.model.errors import Kind, TocoError

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
STATUS_OF_KIND: Final[Mapping[Kind, int]] = {
    "invalid": 422,
    "unsupported": 415,
    "too_large": 413,
    "not_found": 404,
    "conflict": 409,
    "outdated": 412,
    "unauthorized": 401,
    "forbidden": 403,
    "limited": 429,
    "unavailable": 503,
    "internal": 500,
}
_RETRY_SECONDS: Final = 5  # said to clients of something that is away for a moment
_CODE_OF_STATUS: Final = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class WrongField(BaseModel):
    """One part of a request that does not fit."""

    where: str = Field(description="Place of the value: `query.limit`, `body.items.0.key`.")
    message: str = Field(description="What is wrong with it.")


class Problem(BaseModel):
    """What every failed request is answered with."""

    type: str = Field(description="URI of the kind of problem.", examples=["urn:toco:problem:unknown_tag"])
    title: str = Field(description="Meaning of the status.", examples=["Unprocessable Content"])
    status: int = Field(description="HTTP status.", examples=[422])
    code: str = Field(description="Stable, machine-readable name of the problem.", examples=["unknown_tag"])
    detail: str = Field(description="What is wrong.", examples=["Unknown tag 'unicorn'."])
    fix: str = Field("", description="What to do about it.", examples=["This model knows: cat, dog."])
    request_id: str = Field("", description="Id of the request, also in the logs.")
    errors: list[WrongField] = Field([], description="Each field that does not fit.")


class LimitReached(TocoError):
    """A rate or a quota of the API key is used up.

    Args:
        detail: which.
        retry_seconds: when to try again.
    """

    code = "limit_reached"
    kind = "limited"

    def __init__(self, detail: str, *, retry_seconds: float) -> None:
        super().__init__(detail, fix=f"Try again in {retry_seconds:.0f} s.")
        self.retry_seconds = retry_seconds


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route for the OpenAPI: those given and those that every route can answer with."""
    always = (401, 403, 422, 429, 500, 503)
    return {status: problem_response(status) for status in sorted({*always, *statuses})}


def problem_response(status: int) -> dict[str, Any]:
    """Return how the OpenAPI describes a problem of a status."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def render(request: Request, error: TocoError) -> Response:
    """Render a typed error."""
    status = STATUS_OF_KIND[error.kind]
    headers = {}
    if isinstance(error, LimitReached):
        headers["retry-after"] = str(max(1, round(error.retry_seconds)))
    elif isinstance(error, RevisionOutdated):
        headers["etag"] = f'"{error.current}"'
    elif error.kind == "unavailable":
        headers["retry-after"] = str(_RETRY_SECONDS)
    elif error.kind == "unauthorized":
        headers["www-authenticate"] = "Bearer"
    return _answer(request, status, error.code, error.detail, fix=error.fix, headers=headers)


def install_problem_handlers(app: FastAPI) -> None:
    """Make an application answer every error as a problem."""

    async def typed(request: Request, error: Exception) -> Response:
        found = error if isinstance(error, TocoError) else TocoError(str(error))
        if found.kind == "internal":
            logger.error("request failed", exc_info=error)
        elif found.kind == "unavailable":
            logger.warning("request failed", extra={"code": found.code, "detail": str(found)})
        return render(request, found)

    async def invalid(request: Request, error: Exception) -> Response:
        raw = error.errors() if isinstance(error, RequestValidationError) else []
        wrong = [
            WrongField(where=".".join(str(part) for part in entry["loc"]), message=str(entry["msg"])) for entry in raw
        ]
        detail = f"{wrong[0].where}: {wrong[0].message}." if wrong else "The request does not fit."
        return _answer(request, 422, "invalid_request", detail, fix="See the API's description.", errors=wrong)

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(error.detail) if isinstance(error, HTTPException) else ""
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return _answer(request, status, _CODE_OF_STATUS.get(status, "http_error"), detail, headers=headers)

    async def records(request: Request, error: Exception) -> Response:
        logger.error("Redis failed", exc_info=error)
        return _answer(
            request, 503, "records_unavailable", "The records do not answer.", fix="Try again in a few seconds.",
            headers={"retry-after": str(_RETRY_SECONDS)},
        )  # fmt: skip

    async def gone(request: Request, _: Exception) -> Response:
        logger.info("the client went before it had sent everything")
        return _answer(request, 400, "client_gone", "The request ended early.")

    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("request failed", exc_info=error)
        return _answer(request, 500, "internal", "Something went wrong on our side.", fix="See the service's log.")

    app.add_exception_handler(TocoError, typed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(redis.RedisError, records)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unforeseen)


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    fix: str = "",
    errors: list[WrongField] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    said = problem_json(
        status, code, detail, fix=fix, request_id=getattr(request.state, "request_id", ""), errors=errors
    )
    return Response(said, status, headers=headers, media_type=MEDIA_TYPE)


def problem_json(
    status: int,
    code: str,
    detail: str,
    *,
    fix: str = "",
    request_id: str = "",
    errors: list[WrongField] | None = None,
) -> str:
    """Return a `Problem` as JSON in ASCII; see its attributes."""
    problem = Problem(
        type=f"urn:toco:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        fix=fix,
        request_id=request_id,
        errors=errors or [],
    )
    # Escaped, so that a message may hold whatever a user sent, lone surrogates too.
    return json.dumps(problem.model_dump())
