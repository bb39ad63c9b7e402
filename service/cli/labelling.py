"""What the commands that label share: their options, the settings they make, the model, the tags and the progress."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from toco.model.cost import TooCostly, photo_cost, require_affordable
from toco.model.errors import InvalidOption
from toco.model.options import PRESETS, LabelOptions
from toco.model.photos.pages import Pages
from toco.model.runtimes import AskedRuntime
from toco.model.spec import DEFAULT_MODEL, ModelSpec
from toco.service.cli.progress_lines import ProgressLines

if TYPE_CHECKING:
    from toco.jobs.model_catalogue import KnownModel
    from toco.model.formats.mask_files import FoundMasks
    from toco.model.labelling.labeler import Labeler
    from toco.model.photos.assignment import Assignment
    from toco.model.photos.collection import Collection

Model = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of a model, or of learnt words. Default: the model in the package."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Runtime = Annotated[
    AskedRuntime | None,
    typer.Option(help="What the encoder runs on; default: TOCO_RUNTIME, or else the fastest here."),
]
Preset = Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=JSON", help="Change one setting of the preset, such as cam.scales=[1.0,0.5]."),
]
Masks = Annotated[
    Path | None,
    typer.Option(
        help="Folder of masks without classes, made elsewhere: cow.png, cow.json (COCO run lengths) or a folder cow/ "
        "of PNGs for cow.jpg; or one COCO file. Those of a class are merged into the label."
    ),
]
PagesOption = Annotated[Pages, typer.Option("--pages", help="Of a TIFF of many pages, label the first or each.")]
Crf = Annotated[bool, typer.Option("--crf/--no-crf", help="Refine with the dense CRF.")]


def chosen_model(model: Path | None) -> tuple["KnownModel", "KnownModel"]:
    """Return the model of a folder, and the one whose network it labels with, from TOCO_MODELS_DIR or the package.

    Args:
        model: its folder, or that of learnt words; None for the package's own.

    Raises:
        InvalidCheckpoint, InvalidLearntModel: there is no such model.
        ModelBroken: the model on which the words were learnt is not here.
    """
    from toco.jobs.model_catalogue import model_at
    from toco.jobs.settings import load_settings

    return model_at(model or DEFAULT_MODEL, load_settings().models_dir)


def make_options(preset: str, settings: Sequence[str] | None, *, model: Path | None, **changes: object) -> LabelOptions:
    """Return the options of a preset with the changes of the command line.

    Args:
        preset: its name.
        settings: `name=value` pairs; names are dotted paths, values JSON or else plain text.
        model: folder of the model, whose spec completes settings that are given in part; None for the package's own.
        changes: further fields, which the pairs override.

    Raises:
        InvalidOption: a pair does not fit.
        InvalidCheckpoint, InvalidLearntModel, ModelBroken: see `chosen_model`.
        TooCostly: even the smallest photo would take more memory or time than TOCO_MAX_PHOTO_... allow.
    """
    spec = chosen_model(model)[0].spec
    options = spec.label_options(preset, **parse_settings(settings, changes))
    _weigh(spec, options)
    return options


def _weigh(spec: ModelSpec, options: LabelOptions) -> None:
    """Refuse settings that no photo can be labelled with, and warn of those that are too much for a large one."""
    from toco.jobs.settings import load_settings

    limits = load_settings()
    most = {"memory_bytes": limits.max_photo_memory_bytes, "seconds": limits.max_photo_seconds}
    require_affordable(photo_cost(spec, options, tags=1, size=(1, 1)), **most)
    try:
        require_affordable(photo_cost(spec, options, tags=1), **most)
    except TooCostly as error:
        side = options.long_side
        typer.echo(f"toco: warning, for photos of {side} x {side} pixels: {error}", err=True)


def parse_settings(
    settings: Sequence[str] | None, changes: Mapping[str, object] = MappingProxyType({})
) -> dict[str, Any]:
    """Turn `name=value` pairs into nested mappings; names are dotted paths, values JSON or else plain text.

    Args:
        settings: the pairs.
        changes: what the pairs override.

    Raises:
        InvalidOption: a pair does not fit.
    """
    nested: dict[str, Any] = dict(changes)
    for pair in settings or ():
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise InvalidOption(f"--set {pair!r} is no name=value.", fix="Write for example --set long_side=800.")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *parents, last = name.strip().split(".")
        target = nested
        for parent in parents:
            inner = target.get(parent)
            target[parent] = target = dict(inner) if isinstance(inner, dict) else {}
        target[last] = value
    return nested


def format_names(text: str) -> tuple[str, ...]:
    """Read names of export formats with commas between. Raises UnknownFormat."""
    from toco.model.formats.registry import writer_class

    names = tuple(dict.fromkeys(name for name in map(str.strip, text.split(",")) if name))
    for name in names:
        writer_class(name)
    return names


def load_labeler(model: Path | None, device: str, runtime: AskedRuntime | None = None) -> "Labeler":
    """Load a model; this is where torch is imported.

    Args:
        model: its folder, or that of learnt words.
        device: see `Labeler`.
        runtime: what its encoder runs on; None takes that of the settings.

    Raises:
        InvalidCheckpoint, InvalidLearntModel, ModelBroken, DeviceUnavailable
    """
    from toco.jobs.settings import load_settings
    from toco.model.labelling.labeler import Labeler

    chosen = load_settings()
    known, whole = chosen_model(model)
    labeler = Labeler.from_folder(
        whole.folder,
        device=device,
        threads=chosen.threads or None,
        runtime=runtime or chosen.runtime,
        cache=chosen.cache_dir,
    )
    if known.folder is None or not known.encoder:
        return labeler
    from toco.model.learning.label import LearntLabeler
    from toco.model.learning.learnt_model import load_learnt_model
    from toco.model.learning.tokens import ModelTokens

    reader = ModelTokens(labeler.network, labeler.spec, labeler.device)
    return LearntLabeler(reader, load_learnt_model(known.folder), threads=chosen.threads or None)


def photos_under(source: Path, *, but: Iterable[Path | None] = ()) -> "Collection":
    """List what a folder holds; see `read_folder`. Raises InvalidOption if there is no photo, not even a broken one."""
    from toco.model.photos.collection import read_folder

    collection = read_folder(source, but=but)
    if not collection.photos and not collection.refused:
        raise InvalidOption(f"There is no photo in {str(source)!r}.", fix="Name a folder of photos.")
    return collection


def find_tags(
    collection: "Collection", *, table: Path | None, tags: Sequence[str] | None, from_folders: bool
) -> "Assignment":
    """Return the tags of photos from whichever way was chosen, or else from tables that lie among the photos.

    Args:
        collection: what the folder holds.
        table: file or folder for `read_table`.
        tags: the same for all photos.
        from_folders: take the names of the photos' folders.

    Raises:
        InvalidOption: more than one way was chosen.
        InvalidTagFile: the table does not fit.
        NoRowMatches: it names none of the photos.
    """
    from toco.model.photos.assignment import PlacedTable, assign, in_memory, place_tables
    from toco.model.photos.tables.reading import read_table
    from toco.model.photos.tags import tags_from_folders

    if sum((table is not None, bool(tags), from_folders)) > 1:
        raise InvalidOption(
            "Tags are given in more than one way.", fix="Use one of --tags, --tag, --tags-from-folders."
        )
    if table is not None:
        placed = [PlacedTable("", read_table(table))]
    elif from_folders:
        placed = [in_memory(tags_from_folders(map(PurePosixPath, collection.photos)))]
    else:
        placed = [] if tags else place_tables(collection)
    found = assign(collection.photos, placed, others=tags or None)
    found.require_match()
    return found


def find_foreign_masks(root: Path | None, collection: "Collection") -> "FoundMasks | None":
    """Find masks without classes of the photos of a folder.

    Raises:
        InvalidMask: there is no such folder or file.
        NoMaskMatches: it holds masks of none of the photos.
    """
    if root is None:
        return None
    from toco.model.formats.mask_files import find_masks, folder_files

    found = find_masks(folder_files(root), collection.photos)
    found.require_match()
    return found


class _Rate(ProgressColumn):
    """Photos a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} photos/s")


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show progress on stderr: a bar with count, rate and time left on a terminal, or else a line now and then.

    Yields:
        What to call when a photo is finished.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        lines, done = ProgressLines(title, total), count(1)
        yield lambda: lines.show(next(done))
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
