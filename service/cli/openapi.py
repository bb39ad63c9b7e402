"""`toco openapi`: the description of the API."""

import typer


def openapi() -> None:
    """Print the OpenAPI of the service, which docs/openapi.json holds (`make openapi`)."""
    from toco.jobs.settings import load_settings
    from toco.service.api.description import description_text
    from toco.service.applications.whole import create_app

    typer.echo(description_text(create_app(load_settings(store_url="memory://"))), nl=False)
