"""Everything on one machine as one process tree: Valkey, worker, errands, API.

A part that ends is started again, each time after a longer wait. However the supervisor itself ends, its parts end
with it.
"""

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx

from toco.jobs.broker import ERRANDS, LABEL_QUEUES
from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.service.one_machine.child_process import ChildProcess
from toco.service.one_machine.embedded import EmbeddedServer
from toco.service.one_machine.running import NOTE, RunningService, running_service

logger = logging.getLogger(__name__)

_READY_SECONDS: Final = 600.0  # the first start compiles the CRF: seconds, but minutes on a machine under load
_LOOK_SECONDS: Final = 0.5
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0  # a part that ran this long is taken to be well again


class AlreadyRunning(TocoError):
    """Another service uses the data folder, or the port."""

    code = "already_running"
    kind = "conflict"


class StartFailed(TocoError):
    """A part does not come up."""

    code = "start_failed"
    kind = "unavailable"


class Part(Protocol):
    """Something that is started, looked at and stopped."""

    def start(self) -> None:
        """Start it."""

    def is_alive(self) -> bool:
        """Say whether it runs."""

    def stop(self) -> None:
        """Stop it, and wait until it is gone."""


class Program(ChildProcess):
    """One of our own commands as a process of its own.

    Args:
        arguments: of `toco`.
        environment: beside the present one.
        log: file that takes its output.
    """

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        command = [sys.executable, "-P", "-m", "toco", *arguments]
        # An orphan would wait for a queue server that has gone too; its work is found again as after any kill.
        super().__init__(command, log, environment, orphaned=signal.SIGKILL)


@dataclass(slots=True)
class _Watched:
    name: str
    part: Part
    wait: float = _FIRST_WAIT_SECONDS
    started_at: float = 0.0
    restart_at: float = field(default=0.0)

    def start(self) -> None:
        self.part.start()
        self.started_at = time.monotonic()
        self.restart_at = 0.0


class Supervisor:
    """Starts all parts, keeps them running, stops them.

    Args:
        settings: `data_dir`, `host` and `port` say where.
        explicit_broker: the settings name a broker, so none is embedded.

    Raises:
        AlreadyRunning: the data folder or the port is in use.
    """

    def __init__(self, settings: Settings, *, explicit_broker: bool = False) -> None:
        self._settings = settings
        self._folder = settings.data_dir.expanduser().resolve()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self._folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            running = running_service(self._folder)
            raise AlreadyRunning(
                f"A service runs from {str(self._folder)!r} already{f', at {running.url}' if running else ''}.",
                fix="Use that one, or set another TOCO_DATA_DIR.",
            ) from None
        self.port = _free_port(settings.host, settings.port)
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        broker = None if explicit_broker else EmbeddedServer(self._folder / "valkey")
        self.redis_url = broker.url if broker else settings.broker_url
        environment = {
            "TOCO_DATA_DIR": str(self._folder),
            "TOCO_REDIS_URL": self.redis_url,
            "TOCO_HOST": settings.host,
            "TOCO_PORT": str(self.port),
        }
        programs = {
            "worker": ["worker", "--queues", ",".join(LABEL_QUEUES)],
            "errands": ["worker", "--queues", ERRANDS],
            "api": ["serve"],
        }
        self._watched = [_Watched("valkey", broker)] if broker else []
        self._watched += [
            _Watched(name, Program(arguments, environment, logs / f"{name}.log"))
            for name, arguments in programs.items()
        ]
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Address of the API on this machine."""
        host = self._settings.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::", "localhost") else host  # noqa: S104 - shows, does not bind
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}"

    @property
    def log_folder(self) -> Path:
        """Where the parts write their logs."""
        return self._folder / "logs"

    def start(self) -> None:
        """Start all parts and leave the note that tells where they are."""
        for watched in self._watched:
            watched.start()
        RunningService(os.getpid(), self.url, self.redis_url).write(self._folder)

    def wait_until_ready(self) -> None:
        """Wait until images can be labelled.

        Raises:
            StartFailed: that takes too long.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and not self._stopping.is_set():
            self._look()
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            self._stopping.wait(0.2)
        if not self._stopping.is_set():
            raise StartFailed("The service does not get ready.", fix=f"See the logs in {str(self.log_folder)!r}.")

    def watch(self) -> None:
        """Keep all parts running until `request_stop` is called."""
        while not self._stopping.wait(_LOOK_SECONDS):
            self._look()

    def request_stop(self) -> None:
        """Make `watch` return; safe to call from a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop all parts, those that others need last."""
        self._stopping.set()
        for watched in reversed(self._watched):
            watched.part.stop()
        (self._folder / NOTE).unlink(missing_ok=True)
        self._lock.close()

    def _look(self) -> None:
        now = time.monotonic()
        for watched in self._watched:
            if watched.part.is_alive():
                if now - watched.started_at > _STEADY_SECONDS:
                    watched.wait = _FIRST_WAIT_SECONDS
            elif not watched.restart_at:
                logger.warning("part ended, starting it again", extra={"part": watched.name, "wait": watched.wait})
                watched.restart_at = now + watched.wait
                watched.wait = min(_LONGEST_WAIT_SECONDS, watched.wait * 2)
            elif now >= watched.restart_at:
                watched.start()


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AlreadyRunning(
                f"Port {port} of {host!r} cannot be used: {error.strerror}.", fix="Choose another: --port N."
            ) from None
        return int(probe.getsockname()[1])
