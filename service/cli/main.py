"""`toco`: the entry point.

Exit codes: 0 all is done; 1 some of it failed (photos, reference arrays); 2 it was asked for wrongly, nothing was done;
128 and the number of a signal: it was told to stop, and can be started again.
"""

import sys

import typer

from toco.model.starting import end_process, start_process
from toco.service.cli.commands import LazyGroup

app = typer.Typer(
    name="toco",
    cls=LazyGroup,
    help="Label photos from their tags: class activation maps, pseudo masks and segmentation maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def toco() -> None:
    """Hold the commands of `commands.COMMANDS`."""


def main() -> None:
    """Run the command line."""
    start_process()
    try:
        app()
    except SystemExit as end:
        if "torch" in sys.modules and isinstance(end.code, int):
            end_process(end.code)
        raise


if __name__ == "__main__":
    main()
