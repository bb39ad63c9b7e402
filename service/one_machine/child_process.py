"""Child processes that never outlive their parent."""

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from toco.jobs.parent_death import die_with_parent

logger = logging.getLogger(__name__)

_STOP_SECONDS: Final = 30.0


class ChildProcess:
    """A program that can be started again after it ended; its output goes to a file.

    It runs in a session of its own: Ctrl-C reaches the parent alone, which stops everything in order.

    Args:
        command: program and arguments.
        log: file that takes its output.
        environment: beside the present one.
        orphaned: signal that it gets when the parent ends without stopping it.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        orphaned: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.command = list(command)
        self.log = log
        self._orphaned = orphaned
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
                preexec_fn=partial(die_with_parent, self._orphaned),  # noqa: PLW1509 - parents start their children from one thread
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
