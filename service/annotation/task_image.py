"""The photo of an annotation tool's task."""

from dataclasses import dataclass

from toco.model.errors import TocoError
from toco.model.photos.images import ImageHeader


@dataclass(frozen=True, slots=True)
class TaskImage:
    """A photo, or why there is none.

    Attributes:
        content: its bytes; empty with `key` or `error`.
        header: what is known of the content already, or None.
        key: of the object store, where it may be labelled in place.
        error: why it cannot be had.
    """

    content: bytes = b""
    key: str = ""
    header: ImageHeader | None = None
    error: TocoError | None = None
