"""`toco settings`: what is in force."""

import json

import typer

from toco.service.one_machine.running import local_settings


def settings() -> None:
    """Print every setting in force as JSON, secrets masked; each is the variable TOCO_NAME."""
    typer.echo(json.dumps(local_settings().masked(), indent=2))
