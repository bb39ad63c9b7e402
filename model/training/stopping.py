"""Being asked to stop: a run that is told to end writes a checkpoint first."""

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

from toco.model.errors import TocoError

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_ONE_WISH_SECONDS = 2.0  # schedulers, `make` and `timeout` pass a signal on: it comes two or three times at once


class TrainingStopped(TocoError):
    """A run was asked to stop before its end; it can be taken up again."""

    code = "training_stopped"
    kind = "unavailable"


class StopOnSignal:
    """While it is entered, SIGTERM or SIGINT only asks to stop; a later one does what it always does.

    Attributes:
        signal: the one that asked, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._asked_at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _STOPPING:
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def asked(self) -> bool:
        """Say whether the run shall stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Exit code of a process that such a signal ended, as shells count; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._asked_at = signal.Signals(number), now
        elif now - self._asked_at > _ONE_WISH_SECONDS:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


def deaf_to_signals(_worker: int) -> None:
    """Let a loader process leave it to its parent to stop; a scheduler signals all processes of a group at once."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
