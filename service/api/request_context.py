"""What happens around every request: an id, a line in the log, a count, a limit on the body."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable
from threading import Event
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toco.jobs.ids import new_id
from toco.jobs.logs import log_context
from toco.model.errors import TocoError
from toco.service.api.problem import render

logger = logging.getLogger("toco.requests")

T = TypeVar("T")

REQUEST_ID: Final = "x-request-id"
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_MOST_DIGITS: Final = 18  # of a length that can be one
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds


class BodyTooLarge(TocoError):
    """The request's body passes the limit."""

    code = "body_too_large"
    kind = "too_large"


class RequestContext:
    """ASGI middleware: request id, access log, metrics, and the limit on body bytes.

    Args:
        app: what it wraps.
        max_body_bytes: largest body; counted as it comes in, whatever its header says.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._most = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get(REQUEST_ID, "")
        request_id = given if _GIVEN_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID.encode(), request_id.encode())]
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._limited(scope, receive, answer)
            finally:
                self._note(request, scope, status, time.perf_counter() - started)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        error = BodyTooLarge(
            f"The body passes the limit of {self._most:,} bytes.", fix="Use a resumable upload (POST /v1/uploads)."
        )
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > _MOST_DIGITS or int(declared) > self._most):
            await render(request, error)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise error
            return message

        await self._app(scope, counted, send)

    @staticmethod
    def _note(request: Request, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        template = getattr(route, "path", None) or "unmatched"
        app: Any = scope.get("app")
        if app is not None:
            app.state.toco.http.note(route=template, method=request.method, status=status, seconds=seconds)
        if template not in _QUIET:
            logger.info(
                "request",
                extra={
                    "method": request.method,
                    "path": shown_path(scope),
                    "status": status,
                    "seconds": round(seconds, 4),
                },
            )


def shown_path(scope: Scope) -> str:
    """Return a request's path as logs may show it: a secret in it (Label Studio's webhook has one) is `***`."""
    path = str(scope["path"])
    given = (scope.get("path_params") or {}).get("secret")
    app: Any = scope.get("app")
    known = app.state.toco.settings.label_studio_webhook_secret if app is not None else None
    for secret in (given, known.get_secret_value() if known is not None else None):
        if secret:
            path = path.replace(secret, "***")
    return path


async def until_gone(request: Request, gone: Event, work: Awaitable[T]) -> T:
    """Await work for a request whose body has been read, and note when the client goes meanwhile.

    Args:
        request: of the client.
        gone: set once the client has gone; the work is to look at it.
        work: what is awaited.
    """

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.create_task(watch())
    try:
        return await work
    finally:
        watcher.cancel()
