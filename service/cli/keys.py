"""`toco keys`: API keys made, listed, revoked."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from toco.jobs.api_keys import SCOPES, ApiKeys
from toco.jobs.migrations import migrate
from toco.jobs.records import Records, connect
from toco.service.cli.error_report import ReportingGroup
from toco.service.one_machine.running import local_settings

app = typer.Typer(
    add_completion=False, cls=ReportingGroup, help="Make, list and revoke API keys.", no_args_is_help=True
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose key, or what for.")],
    scope: Annotated[list[str], typer.Option(help=f"May be repeated: {', '.join(SCOPES)}.")] = ["label"],  # noqa: B006 - typer's idiom
    workspace: Annotated[
        str, typer.Option(help="Keys of one workspace see its jobs and uploads; those with admin see all.")
    ] = "default",
    days: Annotated[float, typer.Option(min=0, help="Expires after this time; 0: never.")] = 0,
    rate: Annotated[int, typer.Option(min=0, help="Requests a minute; 0: the service's default.")] = 0,
    quota: Annotated[int, typer.Option(min=0, help="Images a day; 0: the service's default.")] = 0,
) -> None:
    """Make a key and print its token, which cannot be shown again."""
    scopes = frozenset(scope)
    _, token = _keys().create(
        name,
        scopes,  # type: ignore[arg-type] # checked by `create`
        days=days,
        rate_per_minute=rate,
        quota_images_per_day=quota,
        workspace=workspace,
    )
    typer.echo(token)


@app.command("list")
def list_keys() -> None:
    """List the keys; tokens are not kept, so they are not shown."""
    table = Table(Column("id", no_wrap=True, min_width=26), "name", "workspace", "scopes", "made", "expires")
    for key in _keys().all():
        expires = time.strftime("%Y-%m-%d", time.gmtime(key.expires_at)) if key.expires_at else "never"
        made = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
        table.add_row(key.id, key.name, key.workspace, ", ".join(sorted(key.scopes)), made, expires)
    Console().print(table)


@app.command("revoke")
def revoke(key: Annotated[str, typer.Argument(help="Id of the key, as `toco keys list` shows it.")]) -> None:
    """Remove a key; it is refused from now on."""
    _keys().revoke(key)


def _keys() -> ApiKeys:
    records = Records(connect(local_settings()))
    with records.answering():
        migrate(records.redis)
    return ApiKeys(records)
