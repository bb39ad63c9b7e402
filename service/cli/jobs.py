"""`toco jobs`: the service from the command line, through the Python client."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from toco.model.options import PRESETS
from toco.model.photos.tag_check import TagCheck
from toco.service.cli import audits, corrections, masks_back, relearning, reports
from toco.service.cli.buckets import OutgoingFile, Photos, Zip, incoming
from toco.service.cli.error_report import SOME_FAILED, ReportingGroup
from toco.service.cli.exporting import ExportSettings, Seed, SplitAsked, make_export_options
from toco.service.cli.labelling import Masks, PagesOption
from toco.service.cli.progress_lines import ProgressLines
from toco.service.cli.service_options import JobArgument, Key, Url, connected
from toco.service.cli.words import OpenPhotos, UnknownWords, check_lines, missing, read_word_map
from toco.service.client.client import Client

app = typer.Typer(
    add_completion=False,
    cls=ReportingGroup,
    help="Label folders on a running service, follow and export jobs.",
    no_args_is_help=True,
)

app.add_typer(corrections.app)
app.add_typer(relearning.app)
app.add_typer(audits.app)
app.add_typer(masks_back.app)
app.add_typer(reports.app)


@app.command("submit")
def submit(
    context: typer.Context,
    folder: Photos,
    tags: Annotated[Path | None, typer.Option(help="Table, JSON or COCO file, or folder of VOC XML.")] = None,
    masks: Masks = None,
    pages: PagesOption = "first",
    model: Annotated[str, typer.Option(help="Empty: the default.")] = "",
    preset: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "balanced",
    unknown_tags: UnknownWords = "learn",
    word_map: Annotated[
        str, typer.Option("--map", help="CSV of word,class, or the name of a mapping that the service keeps.")
    ] = "",
    untagged: Annotated[
        Literal["refuse", "model", "skip", "background"] | None,
        typer.Option(help="Photos that no row lists. Default: refuse; the classifier tags all if there are no tags."),
    ] = None,
    learn_as: Annotated[
        str, typer.Option(help="Name of the model of words that are learnt; empty: the job's own.")
    ] = "",
    wait: Annotated[bool, typer.Option(help="Wait for the end and show progress.")] = True,
    url: Url = "",
    key: Key = "",
) -> None:
    """Send a folder of photos and label them."""
    mapping = read_word_map(Path(word_map)) if Path(word_map).is_file() else word_map
    wanted: dict[str, Any] = {"model": model, "mapping": mapping, "unknown_tags": unknown_tags, "pages": pages}
    if learn_as:
        wanted["learn_as"] = learn_as
    if untagged:
        wanted["untagged"] = untagged
    photos = incoming(context, folder)
    with connected(url, key) as client:
        job = client.label_folder(photos, tags=tags, masks=masks, on_check=_show_check, preset=preset, **wanted)
        for note in job["notes"]:
            typer.echo(note, err=True)
        typer.echo(job["id"])
        if wait:
            ended = _follow(client, job["id"], Console(stderr=True))
            for note in ended["notes"] if ended["learning"] else ():
                typer.echo(note, err=True)
            _finish(ended)


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids alone, one a line.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """List jobs, the newest first."""
    table = Table(Column("id", no_wrap=True, min_width=26), "name", "state", "done", "failed", "total")
    with connected(url, key) as client:
        for number, job in enumerate(client.jobs(limit=min(limit, 200))):
            if number >= limit:
                break
            if ids:
                typer.echo(job["id"])
                continue
            counts = job["counts"]
            table.add_row(
                job["id"],
                job["name"],
                job["state"],
                *(str(n) for n in (counts["done"], counts["failed"], job["total"])),
            )
    if not ids:
        Console().print(table)


@app.command("show")
def show(job: JobArgument, url: Url = "", key: Key = "") -> None:
    """Show a job and why items failed."""
    console = Console()
    with connected(url, key) as client:
        console.print_json(data=client.job(job))
        for item in client.items(job, state="failed"):
            error = item["error"] or {}
            console.print(f"{item['name']}: {error.get('detail', '')}", soft_wrap=True)


@app.command("wait")
def wait_for(job: JobArgument, url: Url = "", key: Key = "") -> None:
    """Wait for a job to end; fails if some of it failed."""
    with connected(url, key) as client:
        _finish(_follow(client, job, Console(stderr=True)))


@app.command("cancel")
def cancel(job: JobArgument, url: Url = "", key: Key = "") -> None:
    """Cancel what has not begun."""
    with connected(url, key) as client:
        typer.echo(f"{client.cancel(job)['items']} items cancelled")


@app.command("retry")
def retry(job: JobArgument, url: Url = "", key: Key = "") -> None:
    """Try failed items again."""
    with connected(url, key) as client:
        typer.echo(f"{client.retry(job)['items']} items queued again")


@app.command("delete")
def delete(job: JobArgument, url: Url = "", key: Key = "") -> None:
    """Delete a job and all that it made."""
    with connected(url, key) as client:
        client.delete(job)


@app.command("export")
def export(
    context: typer.Context,
    job: JobArgument,
    out: Zip = "labels.zip",
    formats: Annotated[
        str, typer.Option("--format", help="Export formats with commas between; of several, each has a folder.")
    ] = "voc",
    decisions: Annotated[str, typer.Option(help="all, accepted or not_rejected.")] = "all",
    split: SplitAsked = "table",
    seed: Seed = 0,
    export_settings: ExportSettings = None,
    open_photos: OpenPhotos = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Export a job and download the zip. Exit code 1: some photos could not be exported."""
    ended: dict[str, Any] = {}
    options = make_export_options(export_settings, split=split, seed=seed, open_photos=open_photos)
    names = [name.strip() for name in formats.split(",")]
    file = OutgoingFile(context, out)
    with connected(url, key) as client:
        client.export(
            job,
            names,
            file.path,
            decisions=decisions,
            options=options.model_dump(),
            progress=ended.update,
        )
    file.deliver()
    typer.echo(file.place)
    for entry in ended["left_out"]:
        typer.echo(f"left out of {', '.join(entry['formats'])}: {entry['name']}: {entry['detail']}", err=True)
    if ended["skipped"]:
        typer.echo(f"{ended['skipped']} photos are left out; left_out.jsonl in the zip names them all", err=True)
        raise typer.Exit(SOME_FAILED)


def label_folder(url: str, folder: Path, *, tags: Path | None, console: Console, key: str = "") -> str:
    """Label a folder, showing progress as lines; return the id of the job."""
    with connected(url, key) as client:
        job = client.label_folder(folder, tags=tags)
        for note in job["notes"]:
            console.print(note, soft_wrap=True, highlight=False)
        lines = ProgressLines("labelled", job["total"])
        ended = client.wait(job["id"], progress=lambda found: lines.show(_ended(found)))
        for item in client.items(job["id"]):
            console.print(_line(item, url), soft_wrap=True, highlight=False)
        return str(ended["id"])


def _show_check(found: dict[str, Any]) -> None:
    """Say on stderr, before anything is sent, what tags were understood as."""
    check = TagCheck.model_validate({name: found[name] for name in TagCheck.model_fields})
    for line in check_lines(check):
        typer.echo(line, err=True)


def _line(item: dict[str, Any], url: str) -> str:
    summary = item["summary"]
    if not summary:
        return f"{item['name']}: {(item['error'] or {}).get('detail', item['state'])}"
    mask = next((url + part["url"] for part in item["artifacts"] if part["name"] == "pseudo_mask.png"), "")
    shares = f"ignored {summary['ignore_ratio']:.2f}, score {summary['score']:.2f}"
    told = "; ".join([shares, *missing(summary["open_tags"], summary["empty_tags"])])
    return f"{item['name']}: {', '.join(summary['tags']) or 'no tag'}; {told}  {mask}"


def _follow(client: Client, job: str, console: Console) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("labelling", total=None)

        def show_progress(found: dict[str, Any]) -> None:
            learning = found["learning"]
            if found["state"] == "learning":
                read = learning["photos_read"] + learning["photos_left_out"]
                bar.update(task, total=learning["photos"], completed=read, description=f"learning: {learning['state']}")
                return
            bar.update(task, total=found["total"], completed=_ended(found), description=found["state"])

        return client.wait(job, progress=show_progress)


def _ended(job: dict[str, Any]) -> int:
    """Return how many photos of a job will not change any more."""
    counts = job["counts"]
    return int(counts["done"] + counts["failed"] + counts["cancelled"])


def _finish(job: dict[str, Any]) -> None:
    if job["state"] != "succeeded":
        raise typer.Exit(SOME_FAILED)
