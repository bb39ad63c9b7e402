"""`toco jobs audit` and `next`: how good labels are, and which to look at first."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from toco.service.cli.service_options import JobArgument, Key, Url, connected

app = typer.Typer()


@app.command("audit")
def audit(
    job: JobArgument,
    audit_id: Annotated[str, typer.Argument(metavar="[AUDIT]", help="One that was drawn; left out: draws one.")] = "",
    photos: Annotated[int, typer.Option(min=1, help="Photos to draw.")] = 40,
    seed: Annotated[int | None, typer.Option(min=0, help="The same one draws the same photos.")] = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Draw photos at random to check, or show what an audit says: mIoU and IoU a class with 90 % intervals."""
    with connected(url, key) as client:
        found = client.audit(job, audit_id) if audit_id else client.draw_audit(job, photos=photos, seed=seed)
    typer.echo(found["id"])
    left = [photo for photo in found["photos"] if not photo["checked"]]
    typer.echo(f"{len(found['photos']) - len(left)} of {len(found['photos'])} photos are checked", err=True)
    for photo in left:
        typer.echo(f"{photo['item']} {photo['name']}")
    if found["estimate"]:
        _show(found["estimate"])


@app.command("next")
def next_items(
    job: JobArgument,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    url: Url = "",
    key: Key = "",
) -> None:
    """List the labels to look at first: doubtful ones, spread over classes and kinds of photos."""
    with connected(url, key) as client:
        found = client.next_items(job, limit=limit)
    for item in found["items"]:
        typer.echo(f"{item['id']} {item['summary']['doubt']:.2f} {item['name']} ({', '.join(item['summary']['tags'])})")
    left = found["left"]
    typer.echo(
        f"{left['undecided']} of {left['labelled']} labels are undecided, {left['doubtful']} of them doubtful", err=True
    )


def _show(estimate: dict[str, Any]) -> None:
    table = Table("", "IoU", f"{estimate['level']:.0%} interval", "photos")
    rows = [("mean", estimate["miou"], estimate["photos"])]
    rows += [(row["name"], row, row["photos"]) for row in estimate["classes"]]
    for name, figures, count in rows:
        interval = f"{figures['low']:.3f} to {figures['high']:.3f}"
        table.add_row(name, f"{figures['estimate']:.3f}", interval, str(count))
    Console().print(table)
