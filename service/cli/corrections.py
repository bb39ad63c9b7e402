"""`toco jobs get`, `put-mask`, `revisions`, `choose`: labels corrected from the command line."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from toco.model.photos.tags import split_tags
from toco.model.whole_file import whole_file
from toco.service.cli.service_options import JobArgument, Key, Url, connected

app = typer.Typer()

ItemArgument = Annotated[str, typer.Argument(help="Id of the item: six digits.")]
Expected = Annotated[int | None, typer.Option("--if-revision", min=0, help="Only if this revision is current.")]


@app.command("get")
def get(
    job: JobArgument,
    item: ItemArgument,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("mask.png"),
    revision: Annotated[int | None, typer.Option(min=0, help="Number; left out: the current one.")] = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Fetch the mask of an item: a palette PNG of class indices, 255 open."""
    with connected(url, key) as client, whole_file(out) as file:
        file.write(client.mask(job, item, revision))
    typer.echo(str(out))


@app.command("put-mask")
def put_mask(
    job: JobArgument,
    item: ItemArgument,
    mask: Annotated[Path, typer.Argument(help="PNG of class indices, or COCO run lengths as JSON.", exists=True)],
    how: Annotated[
        Literal["upload", "brush", "label_studio", "cvat"], typer.Option(help="Where it was made.")
    ] = "upload",
    tags: Annotated[str | None, typer.Option(help="All classes on the photo, commas between.")] = None,
    accept: Annotated[bool, typer.Option(help="Accept the label as well.")] = False,
    expected: Expected = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make a mask the current revision of an item."""
    named = None if tags is None else split_tags(tags)
    with connected(url, key) as client:
        made = client.put_mask(job, item, mask, how=how, tags=named, accept=accept, expected=expected)
    typer.echo(f"revision {made['number']}")


@app.command("decide")
def decide(
    job: JobArgument,
    item: ItemArgument,
    decision: Annotated[Literal["accept", "reject", "undo"], typer.Argument(help="A verdict, or none any more.")],
    url: Url = "",
    key: Key = "",
) -> None:
    """Accept or reject a label; exports can be limited by it."""
    with connected(url, key) as client:
        client.decide(job, item, None if decision == "undo" else decision)


@app.command("revisions")
def revisions(job: JobArgument, item: ItemArgument, url: Url = "", key: Key = "") -> None:
    """List what the label of an item was and is, the newest first."""
    table = Table(Column("", no_wrap=True), "how", "who", "at", "tags", "verdict")
    with connected(url, key) as client:
        for entry in client.revisions(job, item):
            number = f"{entry['number']} *" if entry["current"] else str(entry["number"])
            table.add_row(
                number,
                entry["how"],
                entry["who"],
                (entry["at"] or "")[:19],
                ", ".join(entry["tags"]),
                entry["decision"] or "",
            )
    Console().print(table)


@app.command("choose")
def choose(
    job: JobArgument,
    item: ItemArgument,
    number: Annotated[int, typer.Argument(min=0, help="Of the revision; 0 is the worker's own label.")],
    expected: Expected = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Go back to a revision, or forth; the others stay."""
    with connected(url, key) as client:
        client.choose_revision(job, item, number, expected=expected)
    typer.echo(f"revision {number}")


@app.command("revise")
def revise(
    job: JobArgument,
    item: ItemArgument,
    tags: Annotated[str | None, typer.Option(help="Other tags, commas between; empty: none of the classes.")] = None,
    preset: Annotated[str, typer.Option(help="Another preset.")] = "",
    high: Annotated[float | None, typer.Option(min=0, max=1, help="Over it a score is a sure object.")] = None,
    low: Annotated[float | None, typer.Option(min=0, max=1, help="Under it a score is sure background.")] = None,
    expected: Expected = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Label an item again in place, with other tags or other thresholds, and wait for it."""
    levels = {name: value for name, value in (("high", high), ("low", low)) if value is not None}
    with connected(url, key) as client:
        if tags is not None:
            working = client.change_tags(job, item, split_tags(tags), expected=expected)
        else:
            options = {"thresholds": levels} if levels else {}
            working = client.revise(job, item, preset=preset, options=options, expected=expected)
        client.wait(working["id"])
        typer.echo(f"revision {client.item(job, item)['revision']['number']}")
