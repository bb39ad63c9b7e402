"""`toco tags`: tables of tags and their words, looked at before any work begins."""

import json
from pathlib import Path
from typing import Annotated

import typer

from toco.service.cli import doctor
from toco.service.cli.error_report import SOME_FAILED, ReportingGroup
from toco.service.cli.labelling import Model, chosen_model
from toco.service.cli.words import WordMap, read_word_map, word_line

app = typer.Typer(cls=ReportingGroup, help="Look at tables of tags and their words.", no_args_is_help=True)
app.add_typer(doctor.app)

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


@app.command("check")
def check(
    words: Annotated[list[str], typer.Argument(metavar="FILE|TAG...", help="A table of tags, or tags themselves.")],
    word_map: WordMap = None,
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what each tag would become, and on how many photos it stands; words that are left open come first.

    Exit code 1 where a word is not understood.
    """
    from toco.model.photos.tables.reading import read_table
    from toco.model.photos.tag_check import check_tags

    path = Path(words[0])
    if len(words) == 1 and path.exists():
        written = [tagged.tags for tagged in read_table(path).table.values()]
    else:
        written = [(word,) for word in words]
    found = check_tags(written, chosen_model(model)[0].spec.vocabulary, read_word_map(word_map))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        for word in found.words:
            typer.echo(word_line(word))
        typer.echo(
            f"{found.photos} photos with tags; {found.open_photos} with a word that is left open, "
            f"{found.wholly_open_photos} with no other"
        )
    if found.open_words:
        raise typer.Exit(SOME_FAILED)
