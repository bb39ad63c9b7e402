"""`toco worker`: labels what is queued."""

import os
import sys
from typing import Annotated

import typer

from toco.jobs.broker import QUEUES, USUAL_QUEUES
from toco.model.errors import InvalidOption
from toco.service.one_machine.running import local_settings


def worker(
    queues: Annotated[
        str, typer.Option(help=f"Queues to take work from, comma-separated, first things first: {', '.join(QUEUES)}.")
    ] = (",".join(USUAL_QUEUES)),
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Run one worker: one process on one device, with warm models."""
    chosen = [name.strip() for name in queues.split(",") if name.strip()]
    if not chosen or not set(chosen) <= set(QUEUES):
        raise InvalidOption(f"Queues {queues!r}.", fix=f"Give some of {', '.join(QUEUES)}.")
    settings = local_settings(**({} if device is None else {"device": device}))
    # This process becomes the worker: the command line stands above the workers' floor and imports none of it.
    environment = os.environ | {"TOCO_REDIS_URL": settings.broker_url, "TOCO_DEVICE": settings.device}
    program = [sys.executable, "-P", "-m", "toco.workers", "--queues", ",".join(chosen)]
    os.execve(sys.executable, program, environment)  # noqa: S606 - our own module, no shell
