"""`toco serve`: the API alone."""

from typing import Annotated, Any

import typer

from toco.service.one_machine.running import local_settings


def serve(
    port: Annotated[int | None, typer.Option(help="Where to listen.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
) -> None:
    """Serve the REST API; TOCO_REDIS_URL and TOCO_STORE_URL name what it works with."""
    from toco.service.applications.listening import listen
    from toco.service.applications.whole import create_app

    overrides: dict[str, Any] = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    settings = local_settings(**overrides)
    listen(create_app, settings)
