"""`toco preview`: a contact sheet of photos and their labels."""

from pathlib import Path
from typing import Annotated

import typer

from toco.model.errors import InvalidOption, TocoError
from toco.service.cli.error_report import SOME_FAILED
from toco.service.cli.labelling import Crf, Device, Model, Preset, Settings, find_tags, load_labeler, make_options
from toco.service.cli.words import missing

_CELL_FACTOR = 2  # photos are decoded at twice the size of a cell: sharp after scaling


def preview(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of photos, or one photo.")],
    *,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("preview.png"),
    tags: Annotated[Path | None, typer.Option(help="Tags of the photos, as for `toco label`.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of every photo; may be repeated.")] = None,
    tags_from_folders: Annotated[bool, typer.Option(help="Each photo's folder is named for its tags.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Show this many photos.")] = 12,
    cell: Annotated[int, typer.Option(min=64, max=1000, help="Width of one picture in pixels.")] = 300,
    preset: Preset = "balanced",
    crf: Crf = True,
    model: Model = None,
    device: Device = "auto",
    settings: Settings = None,
) -> None:
    """Draw photo, class activation maps, pseudo mask and overlay of some photos side by side.

    Photos without tags are tagged by the model; tags that it does not know are left out.
    """
    from toco.model.photos.collection import read_folder

    options = make_options(preset, settings, model=model, segmentation=None, **({} if crf else {"refine": "none"}))
    collection = read_folder(source)
    if not collection.photos:
        raise InvalidOption(f"There is no photo in {str(source)!r}.", fix="Name a folder of photos.")
    assignment = find_tags(collection, table=tags, tags=tag, from_folders=tags_from_folders)
    collection.photos = collection.photos[:limit]
    from PIL import Image

    from toco.model.formats.artifacts import encode_png
    from toco.model.labelling.labeler import LabelRequest
    from toco.model.labelling.plan import plan_photos
    from toco.model.photos.images import read_image
    from toco.model.photos.pictures import SheetRow, contact_sheet

    labeler = load_labeler(model, device)
    plan = plan_photos(source, collection, assignment, untagged="model")
    photos, failures = plan.photos, dict(plan.failures)
    rows = []
    requests = (LabelRequest(photo.path, photo.tags, photo.name) for photo in photos)
    for photo, (_, result) in zip(photos, labeler.label(requests, options), strict=True):
        if isinstance(result, TocoError):
            failures[photo.name] = result
            continue
        pixels = read_image(photo.path, long_side=_CELL_FACTOR * cell).pixels
        notes = [f"ignored {100 * result.ignore_ratio:.0f} %", *(["tagged by the model"] if photo.tags is None else [])]
        note = "; ".join([*notes, *missing(result.open_tags, result.empty_tags)])
        rows.append(SheetRow(photo.name, result.tags, pixels, result.cams, result.pseudo_mask, note))
    if rows:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(encode_png(Image.fromarray(contact_sheet(rows, labeler.vocabulary, cell=cell))))
        typer.echo(f"{len(rows)} photos: {out}")
    for name, error in failures.items():
        typer.echo(f"failed: {name}: {error}", err=True)
    if failures:
        raise typer.Exit(SOME_FAILED)
