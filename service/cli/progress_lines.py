"""Progress as lines, for output that is no terminal: a file, a pipe, a scheduler's log."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TextIO

LINE_SECONDS: Final = 10.0


class ProgressLines:
    """Prints a line every `LINE_SECONDS` while something ends, and one at the end of what took longer than that.

    Args:
        title: what goes on.
        total: pieces of work in all.
        stream: where to; None for standard error.
        clock: tells seconds.
    """

    def __init__(
        self, title: str, total: int, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = title
        self._total = total
        self._stream = stream
        self._clock = clock
        self._begun = self._printed = clock()
        self._first: int | None = None

    def show(self, done: int, detail: str = "", *, seconds_left: float | None = None) -> None:
        """Tell how far the work is.

        Args:
            done: pieces that are finished.
            detail: what else the line shall say.
            seconds_left: where that is known better than from the pace since the first call.
        """
        now = self._clock()
        if self._first is None:
            self._first = done - 1  # a resumed run begins late: its pace counts from there
        at_end = done == self._total and now - self._begun >= LINE_SECONDS
        if now - self._printed < LINE_SECONDS and not at_end:
            return
        self._printed = now
        here = done - self._first
        left = seconds_left if seconds_left is not None else (now - self._begun) / max(1, here) * (self._total - done)
        times = f"{timedelta(seconds=round(now - self._begun))}, {timedelta(seconds=round(left))} left"
        more = f"  {detail}" if detail else ""
        print(f"{self._title} {done}/{self._total}, {times}{more}", file=self._stream or sys.stderr, flush=True)
