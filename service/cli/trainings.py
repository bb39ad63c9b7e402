"""`toco trainings`: models trained by a running service."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from toco.model.training.recipes import RECIPE_TEXTS
from toco.service.cli.error_report import SOME_FAILED, ReportingGroup
from toco.service.cli.labelling import parse_settings
from toco.service.cli.progress_lines import ProgressLines
from toco.service.cli.service_options import Key, Url, connected
from toco.service.cli.words import read_word_map
from toco.service.client.client import Client

app = typer.Typer(
    add_completion=False,
    cls=ReportingGroup,
    help="Train models on a running service, follow them, and decide on what came of it.",
    no_args_is_help=True,
)

Training = Annotated[str, typer.Argument(help="Id of the training.")]


@app.command("start")
def start(
    name: Annotated[str, typer.Argument(help="Of the model; a new version of it if there is one.")],
    folder: Annotated[Path | None, typer.Argument(help="Photos. Left out: those of --job.")] = None,
    tags: Annotated[Path | None, typer.Option(help="Table, JSON or COCO file, or folder of VOC XML.")] = None,
    job: Annotated[str, typer.Option(help="Id of a job whose photos and tags are taken.")] = "",
    preset: Annotated[str, typer.Option(help=", ".join(f"{name}: {text}" for name, text in RECIPE_TEXTS.items()))] = (
        "quick"
    ),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=JSON", help="Change one setting, such as steps=300.")
    ] = None,
    classes: Annotated[str, typer.Option(help="Of the model, between commas. Left out: every word of the tags.")] = "",
    model: Annotated[str, typer.Option(help="That it starts from. Empty: the default.")] = "",
    word_map: Annotated[
        str, typer.Option("--map", help="CSV of word,class, or the name of a mapping that the service keeps.")
    ] = "",
    complete_tags: Annotated[
        bool, typer.Option("--complete-tags/--incomplete-tags", help="Whether tags name all that a photo shows.")
    ] = True,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show progress.")] = True,
    url: Url = "",
    key: Key = "",
) -> None:
    """Train a model on a folder of photos with tags, or on the photos of a job."""
    wanted: dict[str, Any] = {
        "preset": preset,
        "settings": parse_settings(settings),
        "classes": [word.strip() for word in classes.split(",") if word.strip()],
        "model": model,
        "mapping": read_word_map(Path(word_map)) if Path(word_map).is_file() else word_map,
        "complete_tags": complete_tags,
    }
    with connected(url, key) as client:
        made = client.train(name, folder=folder, tags=tags, job=job, **wanted)
        for note in made["notes"]:
            typer.echo(note, err=True)
        typer.echo(made["id"])
        if wait:
            _finish(_follow(client, made["id"]))


@app.command("list")
def list_trainings(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20, url: Url = "", key: Key = ""
) -> None:
    """List trainings, the newest first."""
    table = Table(Column("id", no_wrap=True, min_width=26), "model", "state", "stage", "step", "decision")
    with connected(url, key) as client:
        for number, one in enumerate(client.trainings(limit=min(limit, 200))):
            if number >= limit:
                break
            step = f"{one['step']}/{one['of']}" if one["stage"] else ""
            table.add_row(one["id"], one["name"], one["state"], one["stage"], step, one["decision"] or "")
    Console().print(table)


@app.command("show")
def show(training: Training, url: Url = "", key: Key = "") -> None:
    """Show a training with its losses and figures."""
    with connected(url, key) as client:
        typer.echo(json.dumps(client.training(training), indent=2))


@app.command("wait")
def wait_for(training: Training, url: Url = "", key: Key = "") -> None:
    """Wait for a training to end; fails if it did."""
    with connected(url, key) as client:
        _finish(_follow(client, training))


@app.command("cancel")
def cancel(training: Training, url: Url = "", key: Key = "") -> None:
    """Stop a training; it can be resumed from its last checkpoint."""
    with connected(url, key) as client:
        client.cancel_training(training)


@app.command("resume")
def resume(training: Training, url: Url = "", key: Key = "") -> None:
    """Go on with a training that failed or was cancelled."""
    with connected(url, key) as client:
        client.resume_training(training)


@app.command("promote")
def promote(training: Training, url: Url = "", key: Key = "") -> None:
    """Let the model's name stand for what this training made."""
    with connected(url, key) as client:
        found = client.promote_training(training)
        typer.echo(f"{found['name']} is version {found['version']} now")


@app.command("discard")
def discard(training: Training, url: Url = "", key: Key = "") -> None:
    """Throw away what this training made."""
    with connected(url, key) as client:
        client.discard_training(training)


@app.command("delete")
def delete(training: Training, url: Url = "", key: Key = "") -> None:
    """Delete a training that is over; a model that it published stays."""
    with connected(url, key) as client:
        client.delete_training(training)


def _follow(client: Client, training: str) -> dict[str, Any]:
    """Wait for the end; a line now and then says how far it is."""
    stages: dict[str, ProgressLines] = {}

    def tell(found: dict[str, Any]) -> None:
        stage = found["stage"]
        if not stage:
            return
        if stage not in stages:
            stages[stage] = ProgressLines(stage, found["of"])
            typer.echo(f"{stage}: {found['of']} to do", err=True)
        losses = "  ".join(f"{name} {value:.3f}" for name, value in found["losses"].items())
        stages[stage].show(found["step"], losses, seconds_left=found["seconds_left"])

    return client.wait_for_training(training, progress=tell)


def _finish(found: dict[str, Any]) -> None:
    """Print what came of a training."""
    if found["state"] != "succeeded":
        error = found["error"] or {}
        typer.echo(f"{found['state']}: {error.get('detail', '')} {error.get('fix', '')}".rstrip(), err=True)
        raise typer.Exit(SOME_FAILED)
    figures = found["figures"]
    table = Table(
        "class", "photos", "recognised before", "after", "shown in masks before", "after", "IoU before", "after",
        title=f"{figures['photos']} photos kept aside: {figures['before']['model']}, {figures['after']['model']}",
    )  # fmt: skip
    for row in figures["classes"]:
        shares = (row[f"{what}_{when}"] for what in ("recognised", "shown", "iou") for when in ("before", "after"))
        table.add_row(row["name"], str(row["photos"]), *("-" if share is None else f"{share:.2f}" for share in shares))
    Console().print(table)
    typer.echo(f"Published as version {found['version']} of {found['name']}.")
