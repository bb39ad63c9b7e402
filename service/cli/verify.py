"""`toco verify`: the reference check."""

from pathlib import Path
from typing import Annotated

import typer

from toco.service.cli.error_report import SOME_FAILED


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds official_layout.pth and expected.npz.")],
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads; found by trial if not given.")] = None,
) -> None:
    """Recompute every reference array and print its largest error against its tolerance.

    Exit code 0: all match; 1: some do not; 2: the folder does not fit.
    """
    from toco.model.reference_check import check_reference

    comparisons = check_reference(folder, heads=heads)
    typer.echo(f"{'array':18} {'error':>10} {'tolerance':>10}")
    for entry in comparisons:
        typer.echo(f"{entry.name:18} {entry.error:10.2e} {entry.tolerance:10.0e}  {'ok' if entry.passed else 'MISS'}")
    missed = sum(not entry.passed for entry in comparisons)
    typer.echo(f"{len(comparisons) - missed} of {len(comparisons)} arrays match.")
    if missed:
        raise typer.Exit(SOME_FAILED)
