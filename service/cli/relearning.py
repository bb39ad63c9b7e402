"""`toco jobs relearn` and `undo-relearn`: the others learn from what was corrected."""

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from toco.service.cli.error_report import SOME_FAILED
from toco.service.cli.service_options import JobArgument, Key, Url, connected
from toco.service.client.client import Client

app = typer.Typer()

_SHOWN = 20  # items that changed most
_POLL_SECONDS = 0.5


@app.command("relearn")
def relearn(
    job: JobArgument,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show what changed most.")] = True,
    url: Url = "",
    key: Key = "",
) -> None:
    """Learn from corrected and accepted labels, and label the others again; each new label is a revision."""
    with connected(url, key) as client:
        begun = client.relearn(job)
        typer.echo(begun["id"])
        if wait:
            _show(client, job, _ended(client, job, begun["id"]))


@app.command("undo-relearn")
def undo_relearn(
    job: JobArgument,
    relearning: Annotated[str, typer.Argument(help="Id that `relearn` printed.")],
    url: Url = "",
    key: Key = "",
) -> None:
    """Take back what was learnt again; what people changed since stays."""
    with connected(url, key) as client:
        typer.echo(f"{client.undo_relearn(job, relearning)['items']} items are what they were before")


def _ended(client: Client, job: str, relearning: str) -> dict[str, Any]:
    while True:
        found = client.relearning(job, relearning)
        if found["state"] not in ("queued", "fitting", "labelling"):
            return found
        time.sleep(_POLL_SECONDS)


def _show(client: Client, job: str, ended: dict[str, Any]) -> None:
    if ended["state"] == "failed":
        typer.echo(f"{ended['error']['detail']} {ended['error']['fix']}", err=True)
        raise typer.Exit(SOME_FAILED)
    typer.echo(f"learnt from {ended['corrected']} corrected masks; {ended['changed']} items were labelled again")
    table = Table("item", "name", "IoU with before", "pixels before", "pixels after")
    for number, change in enumerate(client.changes(job, ended["id"])):
        if number >= _SHOWN:
            break
        areas = [
            ", ".join(f"{row['name']} {row['area']}" for row in change[when]["classes"]) for when in ("before", "after")
        ]
        table.add_row(change["item"], change["name"], f"{change['iou']:.3f}", *areas)
    Console().print(table)
