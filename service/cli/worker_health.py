"""`toco worker-health`: for the health check of a container."""

import socket

import typer

from toco.jobs.records import Records, connect
from toco.jobs.stats import Stats
from toco.model.errors import TocoError
from toco.service.one_machine.running import local_settings


class WorkerSilent(TocoError):
    """No worker of this host was heard of lately."""

    code = "worker_silent"
    kind = "unavailable"


def worker_health() -> None:
    """Fail unless a worker of this host sent its heartbeat lately."""
    host = socket.gethostname()
    alive = [report.name for report in Stats(Records(connect(local_settings()))).live_workers()]
    if not any(name.rpartition("-")[0] == host for name in alive):
        raise WorkerSilent(f"No worker of {host!r} is alive.", fix="See its log.")
    typer.echo("ok")
