"""Threads for what a request waits for, apart by what may hang: one part that hangs takes its own threads alone.

What needs the records only runs on the framework's own threads (the connection to Redis has time limits).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from toco.model.errors import TocoError

P = ParamSpec("P")
T = TypeVar("T")


class Busy(TocoError):
    """So many requests of a kind are in hand, or hang, that this one got no turn."""

    code = "busy"
    kind = "unavailable"


class BoundedThreads:
    """Some threads, and a time within which a call must have got one.

    Args:
        purpose: what they are for, as the error says it.
        threads: how many.
        patience_seconds: how long a call waits for one.
    """

    def __init__(self, purpose: str, threads: int, patience_seconds: float) -> None:
        self._purpose = purpose
        self._turns = asyncio.Semaphore(threads)
        self._make = partial(ThreadPoolExecutor, threads, thread_name_prefix="request")
        self._pool = self._make()
        self._patience = patience_seconds

    async def run(self, call: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Call a function on one of the threads; one that is no longer waited for keeps its thread until it ends.

        Raises:
            Busy: none was free in time.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise Busy(f"{self._purpose} takes all its threads.", fix="Try again in a few seconds.") from None
        loop = asyncio.get_running_loop()
        work = partial(copy_context().run, call, *arguments, **named)
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: self._give_back(loop))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Leave what hangs behind; an application that is started again finds new threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._make()

    def _give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._turns.release)


@dataclass(frozen=True, slots=True)
class Threads:
    """The threads of the API.

    Attributes:
        store: short work with stored objects.
        submissions: jobs of many photos, which may take minutes.
        strokes: smart strokes, which keep a processor busy; a request waits for its turn among few.
        tools: annotation tools' requests, which fetch photos from elsewhere.
        health: whether the store answers; apart, so that it is told while all others hang.
    """

    store: BoundedThreads
    submissions: BoundedThreads
    strokes: BoundedThreads
    tools: BoundedThreads
    health: BoundedThreads

    @classmethod
    def of(cls, *, store_seconds: float, tool_seconds: float) -> "Threads":
        """Make the threads; calls for the store and for tools wait as long as their work may take."""
        return cls(
            store=BoundedThreads("Reading and writing objects", 32, store_seconds),
            submissions=BoundedThreads("Taking jobs in", 8, 2 * store_seconds),
            strokes=BoundedThreads("Taking strokes", 2, store_seconds),
            tools=BoundedThreads("Serving annotation tools", 16, tool_seconds),
            health=BoundedThreads("Asking whether the store answers", 2, 1.0),
        )

    def close(self) -> None:
        """Leave what hangs behind."""
        for threads in (self.store, self.submissions, self.strokes, self.tools, self.health):
            threads.close()
