"""How every application of the service listens."""

from collections.abc import Callable
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from toco.jobs.logs import set_up_logs
from toco.jobs.settings import Settings
from toco.service.applications.http_protocol import HEAD_BYTES, ProblemProtocol

GRACE_SECONDS = 5  # for answers under way when the process is asked to end

SPOKEN: Final[dict[str, Any]] = {
    "http": ProblemProtocol,
    "h11_max_incomplete_event_size": HEAD_BYTES,
    "log_config": None,
    "access_log": False,
    "server_header": False,
}
"""Settings of uvicorn for every application, wherever it listens."""


def listen(create: Callable[[Settings], FastAPI], settings: Settings) -> None:
    """Make an application and serve it until the process is asked to end, with our own logs from the start."""
    set_up_logs(settings.log_level)
    uvicorn.run(
        create(settings),
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **SPOKEN,
    )
