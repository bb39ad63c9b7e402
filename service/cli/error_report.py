"""Errors on the command line: one clean sentence on stderr and an exit code, never a traceback."""

from typing import Any

import typer
from typer.core import TyperGroup

from toco.model.errors import TocoError

SOME_FAILED = 1
BAD_USAGE = 2


class ReportingGroup(TyperGroup):
    """A group of commands that renders typed errors, and what the file system says, as one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except TocoError as error:
            self._report(str(error))
        except OSError as error:
            where = f" {error.filename!r}" if error.filename else ""
            self._report(f"{error.strerror or error}{where}.")
        raise typer.Exit(BAD_USAGE)

    @staticmethod
    def _report(text: str) -> None:
        typer.echo(f"toco: {' '.join(text.split())}", err=True)
