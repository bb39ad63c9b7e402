"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STOP_SECONDS: Final = 30.0

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildProcess:
    """A program that can be started again after it ended; its output goes to a file.

    It runs in a session of its own: Ctrl-C reaches the parent alone, which stops everything in order.

    Args:
        command: program and arguments.
        log: file that takes its output.
        environment: beside the present one.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.log = log
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process."""
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                self.command,
                env=os.environ | self._environment,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - parents start their children from one thread
            )

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the process to end; after a time, make its whole session end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("process does not stop, killing it", extra={"command": self.command})
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children that it may have left behind
        self._process.wait()


def _die_with_parent() -> None:
    """Have the kernel send this process SIGTERM when its parent ends, however that ends (Linux only).

    Runs in the child between fork and exec.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
