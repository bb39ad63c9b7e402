"""The commands of `toco`, each in a module that is imported only when it is run or asked for its own help.

What the commands need (a queue, a web client, image codecs) takes most of a second to import; a list of commands, a
typing error or a completed word need none of it.
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand

from toco.service.cli.error_report import ReportingGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A command before its module is imported.

    Attributes:
        help: first sentence of its help, as the list of commands shows it.
        hidden: left out of that list.
        options: further arguments of `Typer.command`.
    """

    help: str
    hidden: bool = False
    options: dict[str, Any] = field(default_factory=dict)


# A name leads to the module of that name beside this file, which has a function of that name or, for a group of
# commands, a `Typer` called `app`.
COMMANDS: Final = {
    "label": Entry(help="Label photos from their tags, and export the masks."),
    "evaluate": Entry(help="Print IoU a class from one confusion matrix over the whole dataset, as a Markdown table."),
    "train": Entry(help="Train from image-level tags; no mask is read but to judge the model by."),
    "preview": Entry(help="Draw photo, class activation maps, pseudo mask and overlay of some photos side by side."),
    "verify": Entry(help="Recompute every reference array and print its largest error against its tolerance."),
    "import-checkpoint": Entry(
        help="Import a published checkpoint. Nothing in the file is executed; what does not fit is said in one "
        "sentence."
    ),
    "bench": Entry(
        help="Measure the CRF, labelling or the service: `toco bench crf --json FILE`; `toco bench NAME --help` lists "
        "options.",
        options={
            "add_help_option": False,
            "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True},
        },
    ),
    "models": Entry(help="List models; show, compare, promote, download and delete those that a service made."),
    "trainings": Entry(help="Train models on a running service, follow them, and decide on what came of it."),
    "up": Entry(help="Start queue, store, worker and API on this machine; their state is kept in TOCO_DATA_DIR."),
    "serve": Entry(help="Serve the REST API; TOCO_REDIS_URL and TOCO_STORE_URL name what it works with."),
    "worker": Entry(help="Run one worker: one process on one device, with warm models."),
    "worker-health": Entry(help="Fail unless a worker of this host sent its heartbeat lately.", hidden=True),
    "openapi": Entry(help="Print the OpenAPI of the service, which docs/openapi.json holds (`make openapi`)."),
    "settings": Entry(help="Print every setting in force as JSON, secrets masked; each is the variable TOCO_NAME."),
    "keys": Entry(help="Make, list and revoke API keys."),
    "jobs": Entry(help="Label folders on a running service, follow and export jobs."),
    "datasets": Entry(help="Keep, count and export data sets: items of several jobs under one name."),
    "tags": Entry(help="Look at tables of tags and their words."),
    "labelstudio": Entry(help="Work with Label Studio."),
}


class LazyGroup(ReportingGroup):
    """The group of all commands: it lists them from the table, and imports the one that is run."""

    def __init__(self, **attributes: Any) -> None:
        listed = {
            name: TyperCommand(name, help=entry.help, hidden=entry.hidden, rich_markup_mode="markdown")
            for name, entry in COMMANDS.items()
        }
        super().__init__(**attributes | {"commands": listed})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and further arguments of a command line, the command with all its options."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else load(name), rest


def load(name: str) -> Any:
    """Import a command of the table and return it as the command line runs it."""
    attribute = name.replace("-", "_")
    module = import_module(f"toco.service.cli.{attribute}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        app.command(name, **COMMANDS[name].options)(getattr(module, attribute))
    return typer.main.get_command(app)
