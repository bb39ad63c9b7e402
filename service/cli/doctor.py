"""`toco tags doctor`: what may be wrong with tags and photos, before anything is labelled."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from toco.service.cli.labelling import Device, Model, chosen_model, find_tags, load_labeler, progress
from toco.service.cli.words import WordMap, read_word_map

if TYPE_CHECKING:
    from toco.model.photos.tag_doctor import Finding

SHOWN: Final = 20
TITLES: Final = {
    "wrong_tag": "Tags that the photo does not seem to show",
    "missing_tag": "Classes that the photo seems to show, without a tag",
    "looks_alike": "Photos that look alike",
    "too_dark": "Dark photos",
    "too_small": "Small photos",
    "always_together": "Words that always come together",
    "too_few": "Words on few photos",
    "not_checked": "Words whose tags were not checked",
}

app = typer.Typer()


@app.command("doctor")
def doctor(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of photos.")],
    tags: Annotated[
        Path | None,
        typer.Option(help="Table, JSON or COCO file, or folder of VOC XML. Default: those among the photos."),
    ] = None,
    tags_from_folders: Annotated[bool, typer.Option(help="Each photo's folder is named for its tags.")] = False,
    word_map: WordMap = None,
    model: Model = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every finding.")] = False,
) -> None:
    """Say which tags and photos deserve a look, and how sure that is. Nothing is changed.

    The model's own classes are judged by its classifier, other words by what the other photos teach of them. A model
    that was trained on these very tags believes them, right or wrong.
    """
    from toco.model.errors import InvalidOption, TocoError
    from toco.model.labelling.tag_scores import examined
    from toco.model.photos.collection import read_folder
    from toco.model.photos.images import read_image
    from toco.model.photos.tag_doctor import examine
    from toco.model.photos.understanding import understand_all

    collection = read_folder(source)
    assignment = find_tags(collection, table=tags, tags=None, from_folders=tags_from_folders)
    if not assignment.tagged:
        raise InvalidOption("There are no tags to look at.", fix="Use --tags FILE, or a table beside the photos.")
    for line in (*assignment.lines(), *collection.notes()):
        typer.echo(line, err=True)
    mapping, labeler = read_word_map(word_map), load_labeler(chosen_model(model)[1].folder, device)
    photos, broken = [], 0
    with progress("Looking", len(assignment.tagged)) as finished:
        for name, tagged in assignment.tagged.items():
            try:
                path = source if source.is_file() else source / name
                photo = read_image(path.read_bytes(), long_side=labeler.spec.input_size)
            except (OSError, TocoError) as error:
                typer.echo(f"{name}: {error}", err=True)
                broken += 1
            else:
                words = understand_all(tagged.tags, labeler.vocabulary, mapping)
                meant = frozenset(word.understood or word.written for word in words if word.understood or word.is_open)
                photos.append(examined(labeler, photo, name, meant, complete=tagged.complete))
            finished()
    found = examine(photos, labeler.vocabulary.names)
    if as_json:
        listed = [finding.model_dump(mode="json") for finding in found]
        report = {"photos": len(photos), "unreadable": broken, "model": labeler.spec.version, "findings": listed}
        typer.echo(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        _print(found)
        typer.echo(f"{len(photos)} photos looked at, {broken} unreadable; {len(found)} findings")


def _print(found: "list[Finding]") -> None:
    listed = [(finding.kind, finding.score, finding.detail, finding.photos, "") for finding in found]
    for line in finding_lines(listed):
        typer.echo(line)


def finding_lines(found: Sequence[tuple[str, float, str, Sequence[str], str]]) -> Iterator[str]:
    """Yield findings as lines of text, kind by kind, the first of each.

    Args:
        found: kind, score, detail, photos and what would mend it, in order.
    """
    count = Counter(kind for kind, *_ in found)
    for kind, number in count.items():
        yield f"{TITLES[kind]}: {number}"
        shown = [entry for entry in found if entry[0] == kind][:SHOWN]
        for _, score, detail, photos, cure in shown:
            names = f" ({', '.join(photos[:3])})" if kind == "looks_alike" else ""
            yield f"  {score:.2f}  {detail}{names}"
            if cure:
                yield f"        {cure}"
        if number > len(shown):
            yield f"  ... {number - len(shown)} more; --json lists all"
