"""Something as it changes, as server-sent events.

An event tells the thing as it stands, so a client that reconnects has lost nothing; its id is the thing's revision.

References:
    WHATWG HTML, section 9.2 (server-sent events).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final, Protocol, TypeVar

from fastapi import Header, Request
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from toco.model.errors import TocoError

_LOOK_SECONDS: Final = 0.3
_SILENCE_SECONDS: Final = 15.0

LastEventId = Annotated[int, Header(ge=-1, description="Revision seen last.")]


class Changing(Protocol):
    """A record that can be followed."""

    @property
    def revision(self) -> int:
        """Rises with every change."""

    @property
    def is_final(self) -> bool:
        """Whether it changes no more."""


RecordT = TypeVar("RecordT", bound=Changing)


async def followed(
    request: Request,
    look: Callable[[], RecordT],
    show: Callable[[RecordT], BaseModel],
    *,
    seen: int,
    named: dict[str, str],
) -> AsyncIterator[ServerSentEvent]:
    """Yield `progress` with a record whenever it changed, and `end` when it changes no more.

    Args:
        request: of the client; once it is gone, so is this.
        look: reads the record; a TocoError of kind `not_found` says that it was deleted.
        show: what is told of it.
        seen: the revision that the client has.
        named: data of the event `deleted`: what it was, and its id.
    """
    silent_since = time.monotonic()
    while not await request.is_disconnected():
        try:
            record = await run_in_threadpool(look)
        except TocoError as error:
            if error.kind != "not_found":
                raise
            yield ServerSentEvent(event="deleted", data=named)
            return
        if record.revision != seen or record.is_final:
            name = "end" if record.is_final else "progress"
            yield ServerSentEvent(event=name, id=str(record.revision), data=show(record))
            seen, silent_since = record.revision, time.monotonic()
            if record.is_final:
                return
        elif time.monotonic() - silent_since > _SILENCE_SECONDS:
            yield ServerSentEvent(comment="still here")
            silent_since = time.monotonic()
        await asyncio.sleep(_LOOK_SECONDS)
