"""Options of commands that talk to a running service, and the client that they name."""

from typing import Annotated

import typer

from toco.jobs.settings import load_settings
from toco.service.client.client import Client
from toco.service.one_machine.running import running_service

Url = Annotated[str, typer.Option(envvar="TOCO_URL", help="The service; empty: the one that runs here.")]
Key = Annotated[str, typer.Option(envvar="TOCO_KEY", help="API key.")]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.")]


def connected(url: str, key: str) -> Client:
    """Return a client of the service at an address, or of the one that runs on this machine."""
    if not url:
        settings = load_settings()
        running = running_service(settings.data_dir)
        url = running.url if running else f"http://{settings.host}:{settings.port}"
    return Client(url, key=key)
