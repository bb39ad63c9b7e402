"""`toco import-checkpoint`: turn a published ToCo checkpoint into a model folder."""

from pathlib import Path
from typing import Annotated

import typer


def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published ToCo .pth file.")],
    *,
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: the file's name.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes with commas between. Default: VOC's 20 or COCO's 80.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads. Default: one for each 64 channels.")
    ] = None,
    half: Annotated[bool, typer.Option(help="Store half-precision weights: half the size.")] = False,
) -> None:
    """Import a published checkpoint. Nothing in the file is executed; what does not fit is said in one sentence."""
    from toco.model.weights_io.published_checkpoint import import_published

    names = None if classes is None else [entry.strip() for entry in classes.split(",")]
    spec = import_published(file, out, name=name, names=names, heads=heads, half=half)
    typer.echo(f"{spec.version}: {len(spec.classes)} classes, {spec.backbone.name} {spec.backbone.arguments}, in {out}")
