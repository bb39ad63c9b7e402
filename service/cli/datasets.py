"""`toco datasets`: items of several jobs under one name, from the command line."""

from typing import Annotated, Any

import typer

from toco.service.cli import reports
from toco.service.cli.buckets import OutgoingFile, Zip
from toco.service.cli.error_report import SOME_FAILED, ReportingGroup
from toco.service.cli.exporting import FORMAT_NAMES, ExportSettings, Seed, SplitAsked, make_export_options
from toco.service.cli.service_options import Key, Url, connected
from toco.service.cli.words import OpenPhotos

app = typer.Typer(
    add_completion=False,
    cls=ReportingGroup,
    help="Keep, count and export data sets: items of several jobs under one name.",
    no_args_is_help=True,
)

app.add_typer(reports.data_sets)

Name = Annotated[str, typer.Argument(help="Name of the data set.")]


@app.command("list")
def list_data_sets(url: Url = "", key: Key = "") -> None:
    """List the data sets."""
    with connected(url, key) as client:
        for name in client.data_sets():
            typer.echo(name)


@app.command("show")
def show(name: Name, url: Url = "", key: Key = "") -> None:
    """Show which jobs a data set takes items of, and how many photos each gives now."""
    with connected(url, key) as client:
        _print(client.data_set(name))


@app.command("keep")
def keep(
    name: Name,
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs.")],
    decisions: Annotated[str, typer.Option(help="all, accepted or not_rejected.")] = "all",
    url: Url = "",
    key: Key = "",
) -> None:
    """Keep the labelled items of jobs under a name, in the place of a data set of that name."""
    with connected(url, key) as client:
        _print(client.keep_data_set(name, [{"job": job, "decisions": decisions} for job in jobs]))


@app.command("delete")
def delete(name: Name, url: Url = "", key: Key = "") -> None:
    """Forget a data set; its jobs stay."""
    with connected(url, key) as client:
        client.delete_data_set(name)


@app.command("export")
def export(
    context: typer.Context,
    name: Name,
    out: Zip = "labels.zip",
    formats: Annotated[str, typer.Option("--format", help=f"With commas between: {FORMAT_NAMES}.")] = "voc",
    split: SplitAsked = "table",
    seed: Seed = 0,
    export_settings: ExportSettings = None,
    open_photos: OpenPhotos = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Export a data set as one and download the zip. Exit code 1: some photos could not be exported."""
    options = make_export_options(export_settings, split=split, seed=seed, open_photos=open_photos)
    names = [part.strip() for part in formats.split(",")]
    ended: dict[str, Any] = {}
    file = OutgoingFile(context, out)
    with connected(url, key) as client:
        client.export_data_set(name, names, file.path, options=options.model_dump(), progress=ended.update)
    file.deliver()
    typer.echo(file.place)
    if ended["skipped"]:
        typer.echo(f"{ended['skipped']} photos are left out; left_out.jsonl in the zip names them all", err=True)
        raise typer.Exit(SOME_FAILED)


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"{found['name']}: {found['photos']} photos")
    for member in found["members"]:
        photos = "gone" if member["photos"] is None else f"{member['photos']} photos"
        chosen = f", {len(member['items'])} items" if member["items"] else ""
        typer.echo(f"  {member['job']}  {member['decisions']}{chosen}: {photos}")
