"""`toco tags`: tables of tags, looked at before any work begins."""

import json
from pathlib import Path
from typing import Annotated

import typer

from toco.service.cli.error_report import ReportingGroup

app = typer.Typer(cls=ReportingGroup, help="Look at tables of tags before any work.", no_args_is_help=True)

_SHOWN_ROWS = 10


@app.callback()
def tags() -> None:
    """Hold the commands of the group."""


@app.command("show")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table, spreadsheet, JSON, or folder of VOC XML.")],
    images: Annotated[Path | None, typer.Option(help="Folder of photos: which rows name which of them?")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every row.")] = False,
) -> None:
    """Show what is understood of a table of tags: encoding, columns, rows, and what fits no photo."""
    from toco.model.photos.assignment import PlacedTable, assign
    from toco.model.photos.collection import read_folder
    from toco.model.photos.tables.reading import read_table

    reading = read_table(file)
    rows = dict(reading.table)
    notes: list[str] = []
    found = None
    if images is not None:
        collection = read_folder(images)
        found = assign(collection.photos, [PlacedTable("", reading)])
        rows = dict(found.tagged)
        notes = [*found.notes(), *collection.notes()]
    if as_json:
        listed = [
            {"image": name, "tags": list(row.tags), "complete": row.complete, "split": row.split}
            for name, row in rows.items()
        ]
        typer.echo(json.dumps(reading.as_json() | {"notes": notes, "listed": listed}, indent=1, ensure_ascii=False))
    else:
        for line in (*reading.lines(), *notes):
            typer.echo(line)
        for name, row in list(rows.items())[:_SHOWN_ROWS]:
            split = f" [{row.split}]" if row.split else ""
            typer.echo(f"  {name}: {', '.join(row.tags) or '(none)'}{split}{'' if row.complete else ' (incomplete)'}")
        if len(rows) > _SHOWN_ROWS:
            typer.echo(f"  ... and {len(rows) - _SHOWN_ROWS} more")
    if found is not None:
        found.require_match()
