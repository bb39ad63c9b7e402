"""Exports of many photos in several formats at once: each photo is read once, and one that cannot go in is left out.

Each format gets `statistics.json` and a data sheet beside its own files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from toco.model.errors import TocoError
from toco.model.formats.data_sheet import DATA_SHEET, STATISTICS, data_sheet
from toco.model.formats.item import LabelledItem, MaskChoice
from toco.model.formats.registry import open_writer
from toco.model.formats.sink import Sink
from toco.model.formats.splits import Split
from toco.model.formats.statistics import Counted, PhotoCounts, Statistics, count_photo
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.options import Frozen
from toco.model.photos.classes import IGNORE, Vocabulary

# Kinds of errors that lie with one photo: the others can be exported all the same.
_OF_A_PHOTO: Final = frozenset({"invalid", "unsupported", "not_found", "too_large", "conflict"})


_OPEN_DETAIL: Final = "Every pixel of its mask is open (255): of what is on the photo nothing is known."
_OPEN_FIX: Final = "Map its tags to classes, or export with open_photos."


class NotExported(Frozen):
    """A photo that could not be exported.

    Attributes:
        name: of the photo.
        formats: that lack it.
        code, detail, fix: of the error, as everywhere.
    """

    name: str
    formats: tuple[str, ...]
    code: str
    detail: str
    fix: str = ""


class ExportReport:
    """How far an export is.

    Attributes:
        written: photos that every format has.
        errors: by name of the photo, for those that some format lacks.
        open_photos: names of those that were left out of all formats, because their whole mask is open.
    """

    def __init__(self, formats: Iterable[str]) -> None:
        self.written = 0
        self.errors: dict[str, TocoError] = {}
        self.open_photos: list[str] = []
        self._lacking: dict[str, list[str]] = {}
        self._formats = tuple(formats)
        self._empty = set(self._formats)

    def count(self, name: str, failed: Mapping[str, TocoError]) -> None:
        """Add a photo.

        Args:
            name: of the photo.
            failed: why it is missing, by format.
        """
        self._empty &= failed.keys()
        if failed:
            self.errors[name] = next(iter(failed.values()))
            self._lacking[name] = list(failed)
        else:
            self.written += 1

    @property
    def left_out(self) -> list[NotExported]:
        """The photos that some format lacks, those first that are wholly open."""
        open_photos = [
            NotExported(name=name, formats=self._formats, code="wholly_open", detail=_OPEN_DETAIL, fix=_OPEN_FIX)
            for name in self.open_photos
        ]
        return open_photos + [
            NotExported(
                name=name, formats=tuple(self._lacking[name]), code=error.code, detail=error.detail, fix=error.fix
            )
            for name, error in self.errors.items()
        ]

    def require_some(self) -> None:
        """Raise the first error if there were photos, and a format could take none of them."""
        for name, error in self.errors.items():
            if self._empty & set(self._lacking[name]):
                raise error


def export_items(
    items: Iterable[LabelledItem],
    sinks: Mapping[str, Sink],
    vocabulary: Vocabulary,
    options: ExportOptions,
    *,
    split: Split | None = None,
    about: Sequence[str] = (),
    audit: Sequence[str] = (),
    on_item: Callable[[LabelledItem, ExportReport], None] = lambda _item, _report: None,
) -> ExportReport:
    """Write photos in several formats, one photo after the other.

    Args:
        items: the photos.
        sinks: where the files go, by format; closing them is up to the caller.
        vocabulary: the classes of the masks.
        options: of all formats.
        split: how the items' parts were made; it is stated, not carried out.
        about: lines of the data sheet, see `data_sheet`.
        audit: lines of the data sheet, see `data_sheet`.
        on_item: called after each photo.

    Returns:
        What was written, and what was left out.

    Raises:
        UnknownFormat: no such format.
        TocoError: what goes wrong is not one photo's fault, or is every photo's.
    """
    report, counted = ExportReport(sinks), {name: Counted(vocabulary, min_area=options.min_area) for name in sinks}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(open_writer(name, sink, vocabulary, options)) for name, sink in sinks.items()
        }
        for item in items:
            if not options.open_photos and _is_wholly_open(item, options):
                report.open_photos.append(item.name)
                on_item(item, report)
                continue
            failed: dict[str, TocoError] = {}
            for name, writer in writers.items():
                try:
                    writer.add(item)
                except TocoError as error:
                    if error.kind not in _OF_A_PHOTO:
                        raise
                    failed[name] = error
            report.count(item.name, failed)
            found = _counts(item, vocabulary, options) if len(failed) < len(writers) else None
            if found:
                for name in writers.keys() - failed.keys():
                    counted[name].add(found)
            on_item(item, report)
        report.require_some()
        for name, writer in writers.items():
            _describe(writer, counted[name], split or Split(), about, audit)
    return report


def count_items(
    items: Iterable[LabelledItem],
    vocabulary: Vocabulary,
    options: ExportOptions,
    *,
    split: Split,
    on_item: Callable[[], None] = lambda: None,
) -> Statistics:
    """Count photos as an export would, without writing any.

    Args:
        items: the photos.
        vocabulary: the classes of the masks.
        options: which masks, and which photos.
        split: how the items' parts were made.
        on_item: called after each photo.

    Raises:
        TocoError: what goes wrong is not one photo's fault.
    """
    counted = Counted(vocabulary, min_area=options.min_area)
    for item in items:
        found = None
        if options.open_photos or not _is_wholly_open(item, options):
            found = _counts(item, vocabulary, options)
        if found:
            counted.add(found)
        on_item()
    return counted.statistics(split)


def _counts(item: LabelledItem, vocabulary: Vocabulary, options: ExportOptions) -> PhotoCounts | None:
    """Count a photo whose mask was exported; raw CAMs alone may have none."""
    try:
        part = item.part or options.subset
        return count_photo(item, options.which, vocabulary, part=part, min_area=options.min_area)
    except TocoError:
        return None


def _describe(writer: ExportWriter, counted: Counted, split: Split, about: Sequence[str], audit: Sequence[str]) -> None:
    """Write the statistics and the data sheet of a format."""
    found = counted.statistics(split, writer.outlines)
    writer.sink.write(STATISTICS, found.model_dump_json(indent=1).encode())
    text = data_sheet(found, writer, about=about, audit=audit, label_options=counted.options)
    writer.sink.write(DATA_SHEET, text.encode())


def _is_wholly_open(item: LabelledItem, options: ExportOptions) -> bool:
    """Say whether the mask that is exported holds nothing but 255; what is wrong with a photo its formats will say."""
    try:
        pixels = item.pixels(MaskChoice(options.mask))
    except TocoError:
        return False
    return bool(pixels[IGNORE] == pixels.sum())
