"""The photo of an annotation tool's task."""

from dataclasses import dataclass

from toco.model.errors import TocoError


@dataclass(frozen=True, slots=True)
class TaskImage:
    """A photo, or why there is none.

    Attributes:
        content: its bytes; empty with `key` or `error`.
        key: of the object store, where it may be labelled in place.
        error: why it cannot be had.
    """

    content: bytes = b""
    key: str = ""
    error: TocoError | None = None
