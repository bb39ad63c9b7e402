"""The data sheet of an export, `README.md`: what the data set holds, how it was made, and what it cannot be used for.

References:
    Gebru et al., "Datasheets for Datasets" (2021).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from toco.model.formats.splits import NO_SPLIT, TABLE
from toco.model.formats.statistics import DOUBTFUL, ClassStatistics, Statistics
from toco.model.formats.writer import PHOTO_LIST, ExportOptions, ExportWriter

STATISTICS: Final = "statistics.json"
DATA_SHEET: Final = "README.md"

_LIMITS: Final = (
    "Masks that no person drew or corrected were made by a model from image-level tags; they err most at edges.",
    "A class that no tag named is not in a mask, even where the photo shows it.",
    "Of open pixels (255) nothing is known: they are not background, though formats without them count them so.",
    "Regions are no objects: two objects that touch are one region, an object behind a pole may be two.",
    "Judge a model that was trained on these masks by masks that people drew.",
)


def data_sheet(
    statistics: Statistics,
    writer: ExportWriter,
    *,
    label_options: Mapping[str, str],
    about: Sequence[str] = (),
    audit: Sequence[str] = (),
) -> str:
    """Return the data sheet of one format of an export, as Markdown. It depends on nothing but what is exported.

    Args:
        statistics: of the data set.
        writer: of the format.
        label_options: of the labels, as JSON, with their digest; two where there are several.
        about: what else is known of the data set: its name, its job, which photos were chosen.
        audit: what people who looked at a sample found; empty where nobody did.
    """
    lines = [
        f"# Data sheet: {statistics.photos} photos, {sum(entry.photos > 0 for entry in statistics.classes)} classes",
        "",
        f"Format `{writer.name}`: {writer.description}.",
        f"`{STATISTICS}` has these figures for programs, `{PHOTO_LIST}` the photos' own names, files and parts.",
        "",
        *(f"- {line}" for line in about),
        *_contents(statistics),
        "",
        *_classes(statistics),
        "",
        "## How the masks were made",
        "",
        *(f"- Model `{model}`: {photos} photos." for model, photos in statistics.models.items()),
        *_label_options(label_options),
        f"- Export: {_changed(writer.options)}.",
        *_outlines(statistics),
        "",
        "## Audit",
        "",
        *(audit or ("Nobody checked a sample of these masks against what the photos show.",)),
        "",
        "## Limits",
        "",
        *(f"- {line}" for line in _LIMITS),
    ]
    return writer.card_head + "\n".join([*lines, ""])


def _contents(found: Statistics) -> Iterator[str]:
    parts = ", ".join(f"{part} {photos}" for part, photos in found.parts.items())
    how = {TABLE: "as the table of tags names them", NO_SPLIT: "one part"}.get(
        found.split, f"{found.split} by class, seed {found.seed}, photos that look alike together"
    )
    yield f"- Parts: {parts or 'none'} ({how})."
    if found.alike:
        yield f"- Photos that look like another one: {found.alike}; with a double in another part: {found.torn}."
    yield f"- Open pixels (255): {_percent(found.open_share)} of all."
    yield f"- Doubt: {found.doubt:.2f} on average; photos of more than {DOUBTFUL}: {found.doubtful_photos}."
    yield f"- Photos that show no class: {found.empty_photos}."
    yield f"- Photos whose mask a person drew or corrected: {found.by_person}."
    if found.tagged_by_model:
        yield f"- Photos whose tags the classifier chose, not a person: {found.tagged_by_model}."
    if found.open_tags:
        words = ", ".join(f"{word} ({photos})" for word, photos in found.open_tags.items())
        yield f"- Words that were not understood, and what they may own left open: {words}."


def _classes(found: Statistics) -> Iterator[str]:
    parts = list(found.parts)
    columns = ["class", "index", "tagged", "photos", *parts, "pixels", "regions", "specks"]
    yield f"| {' | '.join(columns)} |"
    yield "|---|" + "---:|" * (6 + len(parts))
    for entry in found.classes:
        yield _row(entry, parts, found.pixels)
    yield ""
    yield f"Specks are regions of fewer than {found.min_area} pixels; outlines and boxes leave them out."


def _row(entry: ClassStatistics, parts: Sequence[str], pixels: int) -> str:
    name = entry.name.replace("|", "\\|")
    of_parts = "".join(f"{entry.parts.get(part, 0)} | " for part in parts)
    share = _percent(entry.pixels / pixels if pixels else 0.0)
    counts = f"{of_parts}{share} | {entry.regions} | {entry.specks}"
    return f"| {name} | {entry.index} | {entry.tagged} | {entry.photos} | {counts} |"


def _label_options(found: Mapping[str, str]) -> Iterator[str]:
    if len(found) == 1:
        ((options, digest),) = found.items()
        yield f"- Options of the labels ({digest}): `{options}`."
    elif found:
        yield "- The photos were labelled with several sets of options; each photo's `result.json` has its own."


def _outlines(found: Statistics) -> Iterator[str]:
    if found.tidied_pixels:
        yield f"- Small regions left open and small holes filled: {found.tidied_pixels} pixels."
    if found.outline_iou is not None:
        compared = [(entry.outline_iou, entry.name) for entry in found.classes if entry.outline_iou is not None]
        least, name = min(compared)
        yield (
            f"- What outlines cost: the polygons have an IoU of {found.outline_iou:.4f} with the masks; "
            f"least {least:.4f}, {name}."
        )


def _changed(options: ExportOptions) -> str:
    changed = options.model_dump(exclude_defaults=True)
    listed = ", ".join(f"`{name}` {value}" for name, value in changed.items())
    return f"mask `{options.mask}`; " + (f"options other than the usual: {listed}" if listed else "the usual options")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
