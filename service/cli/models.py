"""`toco models`: the models that can be asked for."""

from rich.console import Console
from rich.table import Column, Table

from service.running import local_settings
from workers.models import SHIPPED_MODEL, known_models


def models() -> None:
    """List the model that ships and those in TOCO_MODELS_DIR."""
    table = Table(Column("name", no_wrap=True), "version", "classes", "licence", "folder")
    for known in known_models(local_settings().models_dir).values():
        spec = known.spec
        where = "ships with toco" if known.folder == SHIPPED_MODEL else str(known.folder)
        table.add_row(spec.name, spec.version, str(len(spec.classes)), spec.licence, where)
    Console().print(table)
