"""In which order the photos of a run are decoded, labelled and handed on.

On a processor each photo has cores of its own from its decoding to its label: nothing waits for anything, and beside
other busy processes the run gets its share. A graphics processor takes batches, and threads refine the last one
meanwhile. However many photos come, only a few are held in memory.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from toco.model.errors import TocoError

Request = TypeVar("Request")
Decoded = TypeVar("Decoded")
Result = TypeVar("Result")

_WAITING = 2  # finished photos a core that wait for one before them


def side_by_side(
    requests: Iterable[Request],
    decode: Callable[[Request], Decoded],
    label: Callable[[Decoded], Result],
    *,
    threads: int,
    most: int,
    stop: Callable[[], bool],
) -> Iterator[tuple[Request, Result | TocoError]]:
    """Label photos on a processor, some at once; results come in the order of the requests.

    Args:
        requests: consumed as results are taken.
        decode: a photo; called on threads.
        label: a decoded photo; called on threads, each of which has its share of the threads.
        threads: for all photos together.
        most: photos at once.
        stop: asked before every photo but the first ones; once it says so, no more are begun.

    Yields:
        A request, and its result or the `TocoError` in its place.
    """
    source = iter(requests)
    first = list(islice(source, max(1, min(threads, most))))
    at_once = max(1, len(first))
    running: deque[tuple[Request, Future[Result]]] = deque()
    with (
        _threads_each(max(1, threads // at_once)),
        ThreadPoolExecutor(at_once, thread_name_prefix="decode") as decoders,
        ThreadPoolExecutor(at_once, thread_name_prefix="label") as labellers,
    ):
        ahead = deque((request, decoders.submit(decode, request)) for request in first)
        begun = 0
        while ahead or running:
            busy = [future for _, future in running if not future.done()]
            while ahead and len(busy) < at_once and len(running) <= _WAITING * at_once:
                if begun >= at_once and stop():
                    ahead.clear()
                    source = iter(())
                    break
                request, decoding = ahead.popleft()
                future = labellers.submit(_after, decoding, label)
                running.append((request, future))
                busy.append(future)
                begun += 1
                ahead.extend((other, decoders.submit(decode, other)) for other in islice(source, 1))
            if running and running[0][1].done():
                request, future = running.popleft()
                yield request, settled(future)
            elif running:
                wait(busy, return_when=FIRST_COMPLETED)


def in_batches(
    requests: Iterable[Request],
    decode: Callable[[Request], Decoded],
    run: Callable[[list[Decoded]], list[Callable[[], Result]]],
    *,
    threads: int,
    size: int,
    stop: Callable[[], bool],
) -> Iterator[tuple[Request, Result | TocoError]]:
    """Label photos on a device that takes batches; results come in the order of the requests.

    Args:
        requests: consumed as results are taken.
        decode: a photo; called on threads.
        run: decoded photos through the device; returns what is left to do for each, which threads do.
        threads: for decoding and for what is left to do.
        size: photos in a batch.
        stop: asked before every batch but the first; once it says so, no more are begun.

    Yields:
        A request, and its result or the `TocoError` in its place.
    """
    source = iter(requests)
    pending: deque[tuple[Request, Future[Result] | TocoError]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="label") as pool:

        def decoded() -> list[tuple[Request, Future[Decoded]]]:
            return [(request, pool.submit(decode, request)) for request in islice(source, size)]

        batch = decoded()
        while batch:
            following = decoded()
            found = [(request, settled(future)) for request, future in batch]
            rest = iter(run([outcome for _, outcome in found if not isinstance(outcome, TocoError)]))
            pending.extend(
                (request, outcome if isinstance(outcome, TocoError) else pool.submit(next(rest)))
                for request, outcome in found
            )
            batch = [] if stop() else following
            while pending and (len(pending) > max(2 * size, threads) or not batch):
                request, outcome = pending.popleft()
                yield request, outcome if isinstance(outcome, TocoError) else settled(outcome)


def settled(future: Future[Any]) -> Any:
    """Wait for a future; return its result, or the `TocoError` that it ended in."""
    try:
        return future.result()
    except TocoError as error:
        return error


def _after(decoding: Future[Decoded], label: Callable[[Decoded], Result]) -> Result:
    return label(decoding.result())


_counted = threading.Lock()
_running: list[tuple[int | None, int | None]] = []  # threads of a caller and of torch, before each run under way
_each: int | None = None


def threads_each() -> int | None:
    """Return how many threads of the processor each photo takes in the run that began last; None without one."""
    return _each


@contextmanager
def _threads_each(threads: int) -> Iterator[None]:
    """Let what computes, and torch where it is loaded, take so many threads a caller.

    There is one number for the whole process: the last run puts it back.
    """
    global _each  # noqa: PLW0603 - as torch has it
    torch = sys.modules.get("torch")
    with _counted:
        _running.append((_each, torch.get_num_threads() if torch else None))
        _each = threads
        if torch:
            torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _counted:
            each, before = _running.pop()
            if not _running:
                _each = each
                if before is not None and torch:
                    torch.set_num_threads(before)
