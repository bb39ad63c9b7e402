"""`toco jobs import`: masks that were corrected in another tool come back."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from toco.model.errors import InvalidOption
from toco.service.cli.error_report import SOME_FAILED
from toco.service.cli.service_options import JobArgument, Key, Url, connected
from toco.service.cvat.task_export import export_task

app = typer.Typer()


@app.command("import")
def import_masks(
    job: JobArgument,
    file: Annotated[Path | None, typer.Argument(help="Zip that CVAT exported.", exists=True)] = None,
    cvat: Annotated[str, typer.Option(help="Or the address of CVAT, to fetch a task's annotations itself.")] = "",
    task: Annotated[int | None, typer.Option(min=1, help="Number of the task there.")] = None,
    token: Annotated[
        str, typer.Option(envvar="CVAT_ACCESS_TOKEN", help="A personal access token of CVAT.", show_envvar=True)
    ] = "",
    accept: Annotated[bool, typer.Option(help="Accept the labels as well.")] = False,
    url: Url = "",
    key: Key = "",
) -> None:
    """Make revisions of the masks in a CVAT export (Segmentation mask 1.1, CVAT for images 1.1), by photo names.

    Exit code 1: some masks cannot be taken.
    """
    with tempfile.TemporaryDirectory() as folder:
        if file is None:
            if not (cvat and task and token):
                raise InvalidOption("No masks are named.", fix="Give a zip, or --cvat, --task and --token.")
            file = Path(folder) / "task.zip"
            export_task(cvat, token, task, file)
        with connected(url, key) as client:
            found = client.import_masks(job, file, accept=accept)
    typer.echo(f"{found['revisions']} revisions; {found['same']} masks are what the labels are already")
    if found["unknown_labels"]:
        typer.echo(f"labels that are no class, left open: {', '.join(found['unknown_labels'])}", err=True)
    for name, why in found["refused"].items():
        typer.echo(f"{name}: {why}", err=True)
    if found["refused"]:
        raise typer.Exit(SOME_FAILED)
