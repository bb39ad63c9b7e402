"""`toco worker`: labels what is queued."""

import logging
import os
from typing import Annotated

import typer

from model.errors import InvalidOption
from service.running import local_settings
from workers.app import QUEUES


def worker(
    queues: Annotated[str, typer.Option(help="Queues to take work from, comma-separated, first things first.")] = (
        ",".join(QUEUES)
    ),
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Run one worker: one process on one device, with warm models."""
    from workers.tasks import run_worker

    chosen = tuple(name.strip() for name in queues.split(",") if name.strip())
    if not chosen or not set(chosen) <= set(QUEUES):
        raise InvalidOption(f"Queues {queues!r}.", fix=f"Give some of {', '.join(QUEUES)}.")
    settings = local_settings(**({} if device is None else {"device": device}))
    code = run_worker(settings, chosen)
    # All work is handed in by now. Taking torch and its compiled kernels apart would cost seconds, for nothing.
    logging.shutdown()
    os._exit(code)
