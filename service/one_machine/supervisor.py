"""Everything on one machine as one process tree: Valkey, worker, errands, training, API.

A part that ends is started again, each time after a longer wait. However the supervisor itself ends, its parts end
with it.
"""

import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import httpx

from toco.jobs.broker import DEVICE_QUEUES, ERRANDS, TRAIN
from toco.jobs.disk_space import disk_space, running_out
from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.service.one_machine.child_process import ChildProcess
from toco.service.one_machine.embedded import EmbeddedServer
from toco.service.one_machine.log_rotation import rotate
from toco.service.one_machine.running import NOTE, RunningService, running_service

logger = logging.getLogger(__name__)

_READY_SECONDS: Final = 600.0  # the first start compiles the CRF: seconds, but minutes on a machine under load
_LOOK_SECONDS: Final = 0.5
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 30.0
_PORT_SECONDS: Final = 3.0
_MOST_ENDS: Final = 6  # of a part before all is ready; its waits make that half a minute
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

    log: Path

    def start(self) -> None:
        """Start it, without waiting until it works."""

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


class _QueueServer:
    """The embedded server as a part: it may take minutes to load its data, in which the others are watched."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.log = server.log
        self.is_alive = server.is_alive
        self.start = server.launch
        self.stop = server.stop


@dataclass(slots=True)
class _Watched:
    name: str
    part: Part
    ends: int = 0  # how often it ended since it was last steady
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
        self.port = _port_soon_free(settings.host, settings.port)
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
            "worker": ["worker", "--queues", ",".join(DEVICE_QUEUES)],
            "errands": ["worker", "--queues", ERRANDS],
            "train": ["worker", "--queues", TRAIN],
            "api": ["serve"],
        }
        self._broker = broker
        self._queue_server = _QueueServer(broker) if broker else None
        self._watched = [_Watched("valkey", self._queue_server)] if self._queue_server else []
        self._watched += [
            _Watched(name, Program(arguments, environment, logs / f"{name}.log"))
            for name, arguments in programs.items()
        ]
        self._stopping = False
        self._full: set[str] = set()  # disks that were warned of

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
            StartFailed: that takes too long, or a part ends again and again.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and not self._stopping:
            self._look()
            self._give_up_on_what_cannot_start()
            if self._broker is not None and self._broker.state() == "loading":
                deadline = time.monotonic() + _READY_SECONDS
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        if not self._stopping:
            raise StartFailed("The service does not get ready.", fix=f"See the logs in {str(self.log_folder)!r}.")

    def watch(self) -> None:
        """Keep all parts running until `request_stop` is called."""
        while not self._stopping:
            self._look()
            self._warn_of_full_disks()
            time.sleep(_LOOK_SECONDS)

    def request_stop(self) -> None:
        """Make `watch` return; safe to call from a signal handler, again and again.

        No lock is taken, as `threading.Event` would: a terminal, `make` and `timeout` all pass a signal on, and the
        second one, in the middle of the first one's handler, would wait for it for ever.
        """
        self._stopping = True

    @property
    def is_stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stopping

    def stop(self) -> None:
        """Stop all parts at once, and then the queue server, which they need to hand back their work."""
        self._stopping = True
        programs = [watched.part for watched in self._watched if watched.part is not self._queue_server]
        with ThreadPoolExecutor(len(programs)) as threads:
            for _ in threads.map(lambda part: part.stop(), programs):
                pass
        if self._queue_server is not None:
            self._queue_server.stop()
        (self._folder / NOTE).unlink(missing_ok=True)
        self._lock.close()

    def _give_up_on_what_cannot_start(self) -> None:
        for watched in self._watched:
            if watched.ends >= _MOST_ENDS:
                tail = watched.part.log.read_text("utf-8", "replace")[-500:]
                raise StartFailed(f"{watched.name!r} ends again and again: {tail}", fix=f"See {watched.part.log}.")

    def _warn_of_full_disks(self) -> None:
        full = {
            space.volume for space in running_out(disk_space(self._settings), least_bytes=self._settings.min_free_bytes)
        }
        for volume in full - self._full:
            logger.warning("the disk is nearly full", extra={"volume": volume, "folder": str(self._folder)})
        self._full = full

    def _look(self) -> None:
        now = time.monotonic()
        for watched in self._watched:
            rotate(watched.part.log, most_bytes=self._settings.log_file_bytes)
            if watched.part.is_alive():
                if now - watched.started_at > _STEADY_SECONDS:
                    watched.wait = _FIRST_WAIT_SECONDS
                    watched.ends = 0
            elif not watched.restart_at:
                logger.warning("part ended, starting it again", extra={"part": watched.name, "wait": watched.wait})
                watched.restart_at = now + watched.wait
                watched.ends += 1
                watched.wait = min(_LONGEST_WAIT_SECONDS, watched.wait * 2)
            elif now >= watched.restart_at:
                watched.start()


def _port_soon_free(host: str, port: int) -> int:
    """Return a port to listen on; one that is taken, by a service that just ends perhaps, is waited for a little.

    Raises:
        AlreadyRunning: it stays taken.
    """
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return int(probe.getsockname()[1])
        except OSError as error:
            if time.monotonic() > deadline:
                raise AlreadyRunning(
                    f"Port {port} of {host!r} cannot be used: {error.strerror}.", fix="Choose another: --port N."
                ) from None
            time.sleep(0.1)
