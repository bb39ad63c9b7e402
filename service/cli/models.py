"""`toco models`: the models that can be asked for."""

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from toco.jobs.model_catalogue import find_models
from toco.model.spec import DEFAULT_MODEL
from toco.service.one_machine.running import local_settings


def models() -> None:
    """List the model that ships and those in TOCO_MODELS_DIR; folders that cannot be used are named with the reason."""
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
