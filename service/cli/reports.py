"""`toco jobs doctor` and `statistics`, and those of `toco datasets`: what a job's tags and masks look like."""

import json
import shlex
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from toco.service.cli.doctor import finding_lines
from toco.service.cli.service_options import JobArgument, Key, Url, connected
from toco.service.client.client import Client

app = typer.Typer()
data_sets = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with everything.")]
Name = Annotated[str, typer.Argument(help="Name of the data set.")]
Ask = Callable[[Client, str], dict[str, Any]]


@app.command("doctor")
def doctor_of_job(job: JobArgument, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Say which tags and photos of a job deserve a look, and the command that would mend it. Nothing is changed."""
    _doctor(lambda client, kind: client.report(job, kind), url, key, as_json=as_json)


@app.command("statistics")
def statistics_of_job(job: JobArgument, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Count photos, pixels, regions and areas by class, and which classes come together."""
    _statistics(lambda client, kind: client.report(job, kind), url, key, as_json=as_json)


@data_sets.command("doctor")
def doctor_of_data_set(name: Name, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Say which tags and photos of a data set deserve a look; photos that look alike are found across jobs."""
    _doctor(lambda client, kind: client.report_data_set(name, kind), url, key, as_json=as_json)


@data_sets.command("statistics")
def statistics_of_data_set(name: Name, as_json: AsJson = False, url: Url = "", key: Key = "") -> None:
    """Count photos, pixels, regions and areas of a data set by class, and which classes come together."""
    _statistics(lambda client, kind: client.report_data_set(name, kind), url, key, as_json=as_json)


def _doctor(ask: Ask, url: str, key: str, *, as_json: bool) -> None:
    with connected(url, key) as client:
        report = ask(client, "doctor")
        found = list(client.findings(report))
    if as_json:
        typer.echo(json.dumps({"report": report, "findings": found}, indent=1, ensure_ascii=False))
        return
    listed = [
        (one["kind"], one["score"], one["detail"], [photo["name"] for photo in one["photos"]], _command(one))
        for one in found
    ]
    for line in finding_lines(listed):
        typer.echo(line)
    typer.echo(f"{report['photos']} photos looked at, {report['unreadable']} unreadable; {len(found)} findings")


def _command(finding: dict[str, Any]) -> str:
    """Return the command that carries out the first cure of a finding; empty where there is none."""
    if finding["settled"]:
        return "(settled since)"
    for cure in finding["cures"]:
        _, _, _, job, _, item, *_ = cure["path"].split("/")
        if "tags" in cure["body"]:
            return f"toco jobs revise {job} {item} --tags {shlex.quote(','.join(cure['body']['tags']))}"
        return f"toco jobs decide {job} {item} {cure['body']['decision']}"
    return ""


def _statistics(ask: Ask, url: str, key: str, *, as_json: bool) -> None:
    with connected(url, key) as client:
        found = client.statistics(ask(client, "statistics"))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    pixels = max(1, found["pixels"])
    typer.echo(
        f"{found['photos']} photos; {100 * found['background_pixels'] / pixels:.1f} % of the pixels background, "
        f"{100 * found['open_pixels'] / pixels:.1f} % open; {found['empty_photos']} photos show no class"
    )
    bounds = "/".join(f"{100 * bound:g}" for bound in found["area_bounds"])
    name, areas = Column("class", no_wrap=True), Column(f"photos by area, to {bounds} %")
    table = Table(name, "tagged", "shown", "% of pixels", "regions", "specks", areas)
    for row in found["classes"]:
        share = f"{100 * row['pixels'] / pixels:.2f}"
        figures = [row["tagged"], row["photos"], share, row["regions"], row["specks"]]
        table.add_row(row["name"], *map(str, figures), "/".join(map(str, row["areas"])))
    Console().print(table)
    pairs = [(one, other, n) for one, row in found["together"].items() for other, n in row.items()]
    for one, other, photos in sorted(pairs, key=lambda pair: -pair[2]):
        typer.echo(f"{one} and {other}: {photos} photo{'' if photos == 1 else 's'}")
