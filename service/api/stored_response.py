"""Answering with an object of the store: conditional requests, ranges, cache headers, redirects.

References:
    RFC 9110, sections 13 (conditional requests) and 14 (range requests); one range a request.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from toco.jobs.store import StoredObject
from toco.service.api.state import AppState

_SIGNED_SECONDS: Final = 300
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def file_responses(what: str, media_type: str) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of `stored_response` for OpenAPI.

    Args:
        what: is sent, such as `zip`.
        media_type: of it; `*/*` where that depends.
    """
    return {
        200: {
            "description": f"The {what}.",
            "content": {media_type: {"schema": {"type": "string", "format": "binary"}}},
        },
        206: {"description": f"The part of the {what} asked for."},
        302: {"description": f"The {what} is at the address in `Location`."},
        304: {"description": f"The {what} is the one that the client has."},
        416: {"description": f"The range lies outside the {what}."},
    }


async def stored_response(
    request: Request, state: AppState, key: str, *, media_type: str, name: str, attachment: bool = False
) -> Response:
    """Answer with an object.

    Args:
        request: its headers decide between 200, 206, 304 and 416.
        state: of the application.
        key: of the object.
        media_type: of the answer.
        name: for those who save it.
        attachment: whether browsers should save rather than show it.

    Raises:
        ObjectNotFound, StorageUnavailable
    """
    found = await state.threads.store.run(state.store.head, key)
    # Our page may reach no other host than this (its Content-Security-Policy), so it is answered directly.
    from_our_page = request.headers.get("sec-fetch-site") == "same-origin"
    if (
        state.settings.presign
        and not from_our_page
        and (url := await state.threads.store.run(state.store.signed_url, key, seconds=_SIGNED_SECONDS))
    ):
        return RedirectResponse(url, 302, headers={"cache-control": f"private, max-age={_SIGNED_SECONDS // 2}"})
    headers = {
        "etag": found.etag,
        "last-modified": format_datetime(found.modified, usegmt=True),
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=0, must-revalidate",
        "content-disposition": f"{'attachment' if attachment else 'inline'}; filename*=UTF-8''{quote(name, safe='')}",
        "x-content-type-options": "nosniff",
        # Files that users sent are shown, never run.
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    if _matches(request.headers.get("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    span = _span(request, found)
    if span is None:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{found.size}"})
    start, end = span
    status = 200
    if (start, end) != (0, found.size):
        status = 206
        headers["content-range"] = f"bytes {start}-{end - 1}/{found.size}"
    headers["content-length"] = str(end - start)
    if end == start:
        return Response(status_code=status, headers=headers, media_type=media_type)
    pieces = _in_time(state.store.stream(key, start, end), state.settings.store_timeout_seconds)
    return StreamingResponse(pieces, status, headers, media_type)


async def _in_time(pieces: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Yield pieces, each of which must come in time. Raises TimeoutError: the answer breaks off."""
    while True:
        async with asyncio.timeout(seconds):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or etag in (part.strip().removeprefix("W/") for part in header.split(","))


def _span(request: Request, found: StoredObject) -> tuple[int, int] | None:
    """Return the bytes asked for, from inclusive to exclusive, or None if they lie outside."""
    whole = (0, found.size)
    wanted = _RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if wanted is None or not any(wanted.groups()) or (condition is not None and condition != found.etag):
        return whole  # ranges that we do not understand are ignored, as the RFC allows
    first, last = wanted.groups()
    if not first:
        length = _at_most(last, found.size)
        return (found.size - length, found.size) if length else None
    start = _at_most(first, found.size)
    end = _at_most(last, found.size - 1) + 1 if last else found.size
    return (start, end) if start < end else None


def _at_most(digits: str, most: int) -> int:
    """Read a whole number of however many digits, cut to `most`; Python itself refuses thousands of digits."""
    digits = digits.lstrip("0")
    return most if len(digits) > len(str(most)) else min(int(digits or "0"), most)
