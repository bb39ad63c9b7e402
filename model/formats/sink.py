"""Where an export goes: a folder, or a zip that is streamed as it grows."""

import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self

from toco.model.errors import TocoError
from toco.model.formats.artifacts import ZIP_TIME
from toco.model.photos.names import require_relative


class DuplicateName(TocoError):
    """Two files of one export have the same name."""

    code = "duplicate_name"
    kind = "conflict"


class ByteStream(Protocol):
    """Anything that takes bytes in order; it need not seek or tell."""

    def write(self, data: bytes, /) -> int:
        """Take bytes; return their number."""
        ...


class Sink(ABC):
    """Takes the files of an export, one at a time."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open one file to write; nothing else may be written before it is closed.

        Args:
            name: relative path with forward slashes.

        Raises:
            InvalidName: `name` leaves the export.
            DuplicateName: the export has that file already.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write one whole file. Raises like `open`."""
        with self.open(name) as file:
            file.write(data)

    @abstractmethod
    def close(self) -> None:
        """Finish the export."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderSink(Sink):
    """Writes an export into a folder; each file appears whole or not at all, and replaces an older one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: set[str] = set()

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """See `Sink.open`."""
        path = self._root / require_relative(name)
        if name in self._names:
            raise DuplicateName(f"The export has {name!r} already.", fix="Give each photo a name of its own.")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            with part.open("wb") as file:
                yield file
            os.replace(part, path)  # noqa: PTH105 - Path.replace would hide that this is the atomic call
        finally:
            part.unlink(missing_ok=True)
        self._names.add(name)

    def close(self) -> None:
        """Do nothing: every file is whole already."""


_STORED: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".npz"})


class ZipSink(Sink):
    """Writes an export as a zip into a stream.

    Only the list of the names is held in memory until the end (about half a kilobyte a file).

    Args:
        stream: where the bytes go; it is left open.
    """

    def __init__(self, stream: ByteStream) -> None:
        # Without `tell`, zipfile takes the stream for one that cannot seek, and never looks back.
        self._zip = zipfile.ZipFile(_Forward(stream), "w")

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """See `Sink.open`."""
        with self._zip.open(self._entry(name), "w", force_zip64=True) as file:
            yield file

    def write(self, name: str, data: bytes) -> None:
        """See `Sink.write`."""
        self._zip.writestr(self._entry(name), data)

    def close(self) -> None:
        """Write the list of files."""
        self._zip.close()

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(require_relative(name), ZIP_TIME)
        if name in self._zip.NameToInfo:
            raise DuplicateName(f"The export has {name!r} already.", fix="Give each photo a name of its own.")
        compressed = Path(name).suffix.lower() in _STORED
        entry.compress_type = zipfile.ZIP_STORED if compressed else zipfile.ZIP_DEFLATED
        entry.create_system = 3  # Unix, on every system: the bytes must not depend on where they are made
        entry.external_attr = 0o644 << 16
        return entry


class _Forward:
    """The part of a stream that goes forward only."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def write(self, data: bytes, /) -> int:
        return self._stream.write(data)

    def flush(self) -> None:
        """The owner of the stream flushes it."""

    def close(self) -> None:
        """The owner of the stream closes it."""
