"""The export formats by name."""

from types import MappingProxyType
from typing import Final

from toco.model.errors import TocoError
from toco.model.formats.coco import CocoPolygonsWriter, CocoWriter
from toco.model.formats.cvat import CvatWriter
from toco.model.formats.huggingface import HuggingFaceWriter
from toco.model.formats.label_studio import LabelStudioWriter
from toco.model.formats.npz import NpzWriter
from toco.model.formats.sink import Sink
from toco.model.formats.voc import VocWriter
from toco.model.formats.voc_boxes import VocBoxesWriter
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.formats.yolo import YoloSegWriter, YoloWriter
from toco.model.photos.classes import Vocabulary


class UnknownFormat(TocoError):
    """There is no export format of that name."""

    code = "unknown_format"
    kind = "unsupported"


FORMATS: Final = MappingProxyType(
    {
        writer.name: writer
        for writer in (
            VocWriter,
            CocoWriter,
            CocoPolygonsWriter,
            YoloSegWriter,
            YoloWriter,
            VocBoxesWriter,
            LabelStudioWriter,
            CvatWriter,
            HuggingFaceWriter,
            NpzWriter,
        )
    }
)
"""Writer class by format name; each has a one-line `description`."""


def open_writer(
    format_name: str, sink: Sink, vocabulary: Vocabulary, options: ExportOptions | None = None
) -> ExportWriter:
    """Start an export.

    Args:
        format_name: a key of `FORMATS`.
        sink: where the files go; closing it is up to the caller.
        vocabulary: the classes of the masks.
        options: settings; the defaults if None.

    Raises:
        UnknownFormat: no such format.
    """
    return writer_class(format_name)(sink, vocabulary, options or ExportOptions())


def writer_class(format_name: str) -> type[ExportWriter]:
    """Return the writer of a format. Raises UnknownFormat if there is none."""
    try:
        return FORMATS[format_name]
    except KeyError:
        raise UnknownFormat(f"Unknown format {format_name!r}.", fix=f"Use one of {', '.join(FORMATS)}.") from None
