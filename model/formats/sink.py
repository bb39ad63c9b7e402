"""Where an export goes: a folder, or a zip that is streamed as it grows."""

import weakref
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self

from toco.model.errors import TocoError
from toco.model.formats.artifacts import ZIP_TIME
from toco.model.photos.names import InvalidName, require_relative
from toco.model.whole_file import whole_file, write_whole


class DuplicateName(TocoError):
    """Two files of one export have the same name."""

    code = "duplicate_name"
    kind = "conflict"


FILE_LIST: Final = ".toco-files"
"""In a folder that holds an export: the files that exports wrote, a line each."""


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

    def abandon(self) -> None:
        """Let go of an export that failed."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


class FolderSink(Sink):
    """Writes an export into a folder; each file appears whole or not at all, and replaces an older one.

    The folder keeps a list of what exports wrote into it (`FILE_LIST`). Closing an export that went well removes the
    files of an earlier one that this one does not have; files that no export wrote stay.

    Args:
        root: the folder; it is made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, None] = {}
        self._list: IO[bytes] | None = None

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """See `Sink.open`."""
        path = self._root / require_relative(name)
        if name in self._names:
            raise DuplicateName(f"The export has {name!r} already.", fix="Give each photo a name of its own.")
        self._note(name)
        with whole_file(path) as file:
            yield file
        self._names[name] = None

    def close(self) -> None:
        """Remove what an earlier export left, and write down what this one wrote."""
        self._close_list()
        path = self._root / FILE_LIST
        known = path.read_text("utf-8").splitlines() if path.is_file() else []
        for name in dict.fromkeys(known):
            if name not in self._names and _is_relative(name):
                (self._root / name).unlink(missing_ok=True)
                self._prune((self._root / name).parent)
        if known:
            write_whole(path, "".join(f"{name}\n" for name in self._names).encode())

    def abandon(self) -> None:
        """Leave everything as it is; the list names the files of both exports, for the next one to tidy up."""
        self._close_list()

    def _note(self, name: str) -> None:
        """Write a name into the list before its file can be there, so that a broken export is tidied up too."""
        if self._list is None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._list = (self._root / FILE_LIST).open("ab", buffering=0)
            weakref.finalize(self, self._list.close)
        self._list.write(f"{name}\n".encode())

    def _close_list(self) -> None:
        if self._list is not None:
            self._list.close()
            self._list = None

    def _prune(self, folder: Path) -> None:
        """Remove folders that became empty, up to the export's own."""
        while folder != self._root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _is_relative(name: str) -> bool:
    """Say whether a line of the list, which anybody may have changed, names a file inside the export."""
    try:
        return bool(require_relative(name))
    except InvalidName:
        return False


class SubfolderSink(Sink):
    """A folder inside another sink, which stays open.

    Args:
        sink: the other one.
        folder: its name.
    """

    def __init__(self, sink: Sink, folder: str) -> None:
        self._sink = sink
        self._folder = folder

    def open(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """See `Sink.open`."""
        return self._sink.open(f"{self._folder}/{name}")

    def write(self, name: str, data: bytes) -> None:
        """See `Sink.write`."""
        self._sink.write(f"{self._folder}/{name}", data)

    def close(self) -> None:
        """Do nothing: the other sink is closed by its owner."""


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
