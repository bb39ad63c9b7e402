"""`toco models`: the models that can be asked for, and those that jobs and trainings made."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from toco.jobs.model_catalogue import find_models
from toco.model.learning.learnt_spec import WordReport, report_lines
from toco.model.spec import DEFAULT_MODEL
from toco.service.cli.error_report import ReportingGroup
from toco.service.cli.service_options import Key, Url, connected
from toco.service.one_machine.running import local_settings

app = typer.Typer(
    cls=ReportingGroup,
    help="List models; show, compare, promote, download and delete those that a service made.",
    invoke_without_command=True,
)

Name = Annotated[str, typer.Argument(help="Name of a model.")]
VersionNumber = Annotated[int, typer.Argument(help="Number of a version.")]
MaybeNumber = Annotated[int | None, typer.Option("--version", help="Number of a version.")]


@app.callback()
def models(context: typer.Context) -> None:
    """List the model that ships and those in TOCO_MODELS_DIR; folders that cannot be used are named with the reason.

    The further commands speak to a service, whose jobs and trainings publish models of their own.
    """
    if context.invoked_subcommand is None:
        _list_folders()


@app.command("list")
def list_models(url: Url = "", key: Key = "") -> None:
    """List all models of a service: those in folders, and those that its jobs and trainings made."""
    table = Table(Column("name", no_wrap=True), "version", "kind", "classes", "left open")
    with connected(url, key) as client:
        found = client.models()
    for model in found["models"]:
        open_words = [word["word"] for word in model["words"] if word["standing"] != "learnt"]
        name = f"{model['name']}{' (default)' if model['default'] else ''}"
        number = f"{model['number']} of {model['versions']}" if model["published"] else model["version"]
        table.add_row(name, number, model["kind"], str(len(model["classes"])), ", ".join(open_words))
    console = Console()
    console.print(table)
    for broken in found["broken"]:
        console.print(f"[red]Broken:[/red] {escape(broken['name'])}: {escape(broken['reason'])}", soft_wrap=True)


@app.command("show")
def show(name: Name, url: Url = "", key: Key = "") -> None:
    """Show a model: its versions, and of learnt words how well each was learnt."""
    with connected(url, key) as client:
        model = client.model(name)
        versions = client.model_versions(name) if model["published"] else None
    typer.echo(f"{model['name']} {model['version']}: {len(model['classes'])} classes, {model['kind']}")
    for line in _report(model["words"]):
        typer.echo(f"  {line}")
    if versions:
        _print_versions(versions)


@app.command("compare")
def compare(name: Name, first: VersionNumber, second: VersionNumber, url: Url = "", key: Key = "") -> None:
    """Show what was measured of two versions of a model, side by side."""
    with connected(url, key) as client:
        found = client.compare_models(name, first, second)
    table = Table("", f"version {first}", f"version {second}")
    for word in found["words"]:
        table.add_row(word["word"], *(_standing(word[side]) for side in ("first", "second")))
    for figure, values in found["figures"].items():
        table.add_row(figure, *map(str, values))
    Console().print(table)


@app.command("promote")
def promote(name: Name, number: VersionNumber, url: Url = "", key: Key = "") -> None:
    """Let a model's name stand for another of its versions."""
    with connected(url, key) as client:
        _print_versions(client.promote_model(name, number))


@app.command("rollback")
def rollback(name: Name, url: Url = "", key: Key = "") -> None:
    """Let a model's name stand for the version again that it stood for before."""
    with connected(url, key) as client:
        _print_versions(client.roll_back_model(name))


@app.command("download")
def download(
    name: Name,
    out: Annotated[Path, typer.Option(help="Zip to write; unpack it into TOCO_MODELS_DIR.")],
    version: MaybeNumber = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Download a model that was made here."""
    with connected(url, key) as client:
        typer.echo(str(client.download_model(name, out, version)))


@app.command("delete")
def delete(name: Name, version: MaybeNumber = None, url: Url = "", key: Key = "") -> None:
    """Delete a model that was made here, or one version of it."""
    with connected(url, key) as client:
        client.delete_model(name, version)


def _list_folders() -> None:
    table = Table(Column("name", no_wrap=True), "version", "classes", "licence", "folder")
    found = find_models(local_settings().models_dir)
    for known in found.known.values():
        spec = known.spec
        where = "ships with toco" if known.folder == DEFAULT_MODEL else str(known.folder)
        table.add_row(spec.name, spec.version, str(len(spec.classes)), spec.licence, where)
    console = Console()
    console.print(table)
    for broken in found.broken:
        console.print(f"[red]Broken:[/red] {escape(str(broken.folder))}: {escape(broken.reason)}", soft_wrap=True)


def _report(words: list[dict[str, Any]]) -> list[str]:
    return report_lines([WordReport.model_validate(word) for word in words])


def _standing(word: dict[str, Any] | None) -> str:
    if word is None:
        return "-"
    standing = word["standing"]
    said = {"learnt": "learnt", "weak": "learnt weakly"}.get(standing, f"left open ({standing})")
    return f"{said}, {word['photos']} photos, recognised {word['recognised']:.0%}"


def _print_versions(found: dict[str, Any]) -> None:
    for version in found["versions"]:
        mark = "*" if version["current"] else " "
        words = f", {len(version['words'])} words" if version["words"] else ""
        made = f"from job {version['job']}" if version["job"] else "sent"
        typer.echo(f"{mark} {version['number']}: {version['version']}, {version['created_at'][:19]}{words}, {made}")
