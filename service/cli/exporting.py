"""What the commands that export share: their options, and the settings that they make."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from toco.service.cli.labelling import parse_settings

if TYPE_CHECKING:
    from toco.model.formats.writer import ExportOptions

FORMAT_NAMES = "voc, coco, coco-polygons, yolo-seg, yolo, voc-boxes, label-studio, cvat, huggingface, npz"

SplitAsked = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="80/10/10",
        help="Train/val/test in percent, by class, photos that look alike together; `table`: the parts that the "
        "table's column `split` names; `none`: one part.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Another number is another split of the same shares.")]
ExportSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--export-set",
        metavar="NAME=JSON",
        help="Change one setting of the export, such as min_region=50, fill_holes=50, tolerance=0.5, components=true.",
    ),
]


def make_export_options(settings: Sequence[str] | None, **given: object) -> "ExportOptions":
    """Return the options of an export; `--export-set` goes before the options of their own. Raises InvalidOption."""
    from toco.model.formats.writer import export_options

    return export_options(**parse_settings(settings, given))
