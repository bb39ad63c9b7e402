"""Archives of photos: opened with suspicion, read one entry at a time.

Before an entry is unpacked, its declared size counts; while it is unpacked, its real size does, since headers lie.
All of a packed tar counts, since what is left out of it has to be unpacked too.
"""

import bz2
import gzip
import lzma
import math
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final, cast

from toco.model.errors import TocoError
from toco.model.photos.images import SUFFIXES
from toco.model.photos.names import InvalidName, require_relative

MANIFEST_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
_FREE_BYTES: Final = 16 * 1024 * 1024  # small archives may have any ratio
_OTHER_ENTRIES: Final = 1000  # folders, notes and the like beside the photos
_READ_BYTES: Final = 1024 * 1024
_MAX_HEADER_BYTES: Final = 8 * 1024 * 1024  # of a zip's directory, or of one header of a tar
_UNPACKERS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class InvalidArchive(TocoError):
    """The file is no archive that we read, is damaged, or holds an entry that it must not."""

    code = "invalid_archive"
    kind = "invalid"


class ArchiveTooLarge(TocoError):
    """The archive passes a limit."""

    code = "archive_too_large"
    kind = "too_large"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may hold.

    Attributes:
        files: photos.
        file_bytes: unpacked bytes of one entry.
        ratio: unpacked to packed bytes, over all entries.
    """

    files: int
    file_bytes: int
    ratio: float


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One file of an archive.

    Attributes:
        name: contained relative path.
        content: its bytes.
    """

    name: str
    content: bytes

    @property
    def is_manifest(self) -> bool:
        """Whether the name says that it lists tags."""
        return PurePosixPath(self.name).suffix.lower() in MANIFEST_SUFFIXES


def read_archive(file: IO[bytes], limits: ArchiveLimits) -> Iterator[ArchiveEntry]:
    """Yield the photos and manifests of a zip or tar; hidden files and other kinds of files are left out.

    Args:
        file: seekable.
        limits: how much it may hold.

    Raises:
        InvalidArchive: neither of the two, damaged, encrypted, or an entry is a link or leaves the archive.
        ArchiveTooLarge: over a limit.
    """
    file.seek(0, 2)
    budget = _Budget(limits, packed=file.tell())
    is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    try:
        if is_zip:
            yield from _zip_entries(file, budget)
        else:
            yield from _tar_entries(file, budget)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Send a zip or a tar.") from None
    except RuntimeError as error:  # zipfile's word for "encrypted", and for kinds of packing that it does not know
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Send it without a password.") from None


class _Budget:
    """What is left of the limits."""

    def __init__(self, limits: ArchiveLimits, *, packed: int) -> None:
        self.limits = limits
        self.most = packed * limits.ratio + _FREE_BYTES
        self._unpacked = 0
        self._files = 0
        self._entries = 0

    def count_entry(self, name: str, declared: int) -> bool:
        """Check an entry's name and declared size; say whether it is wanted."""
        self._entries += 1
        if self._entries > self.limits.files + _OTHER_ENTRIES:
            raise ArchiveTooLarge(f"The archive has over {self._entries - 1} entries.", fix="Send several archives.")
        try:
            path = PurePosixPath(require_relative(name))
        except InvalidName:
            raise InvalidArchive(f"The archive has an entry {name!r}.", fix="Use contained relative paths.") from None
        if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            return False
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES and suffix not in MANIFEST_SUFFIXES:
            return False
        if suffix in SUFFIXES:
            self._files += 1
            if self._files > self.limits.files:
                raise ArchiveTooLarge(f"The archive has over {self.limits.files} photos.", fix="Send several archives.")
        self._check_size(name, declared)
        if self._unpacked + declared > self.most:
            raise self.bomb()
        return True

    def read(self, name: str, stream: IO[bytes]) -> bytes:
        """Unpack an entry, counting what really comes out."""
        content = bytearray()
        while piece := stream.read(_READ_BYTES):
            content += piece
            self._unpacked += len(piece)
            self._check_size(name, len(content))
            if self._unpacked > self.most:
                raise self.bomb()
        return bytes(content)

    def _check_size(self, name: str, size: int) -> None:
        manifest = PurePosixPath(name).suffix.lower() in MANIFEST_SUFFIXES
        most = MAX_MANIFEST_BYTES if manifest else self.limits.file_bytes
        if size > most:
            raise ArchiveTooLarge(f"The entry {name!r} has over {most:,} bytes.", fix="Scale the photo down.")

    def bomb(self) -> ArchiveTooLarge:
        """Return the error of an archive that unpacks to too much."""
        return ArchiveTooLarge(
            f"The archive unpacks to over {self.limits.ratio:g} times its size.", fix="Send the photos uncompressed."
        )


class _Guarded:
    """A file for `zipfile` or `tarfile`, which believe what an archive says about the size of its own headers."""

    def __init__(self, file: IO[bytes], most: float, error: Callable[[], TocoError]) -> None:
        self._file = file
        self._most = most
        self._error = error

    def read(self, size: int = -1) -> bytes:
        """Read at most what a header may have. Raises ArchiveTooLarge."""
        if size > _MAX_HEADER_BYTES:
            raise ArchiveTooLarge(f"The archive has a header of {size:,} bytes.", fix="Send several archives.")
        self._reach(self._file.tell() + max(size, 0))
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; in a packed file all bytes up to it are unpacked. Raises ArchiveTooLarge."""
        self._reach(offset if whence == 0 else 0)
        return self._file.seek(offset, whence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _reach(self, position: int) -> None:
        if position > self._most:
            raise self._error()


def _zip_entries(file: IO[bytes], budget: _Budget) -> Iterator[ArchiveEntry]:
    guarded = _Guarded(file, math.inf, budget.bomb)
    with zipfile.ZipFile(cast("IO[bytes]", guarded)) as archive:
        for info in archive.infolist():
            if not info.is_dir() and budget.count_entry(info.filename, info.file_size):
                with archive.open(info) as stream:
                    yield ArchiveEntry(info.filename, budget.read(info.filename, stream))


def _tar_entries(file: IO[bytes], budget: _Budget) -> Iterator[ArchiveEntry]:
    head = file.read(6)
    file.seek(0)
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if head.startswith(magic)), None)
    guarded = _Guarded(unpack(file) if unpack else file, budget.most, budget.bomb)
    with tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:") as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            if info.isdir() or not name:
                continue
            if not info.isreg():
                raise InvalidArchive(f"The entry {info.name!r} is a link or a device.", fix="Send plain files.")
            if budget.count_entry(name, info.size) and (stream := archive.extractfile(info)):
                yield ArchiveEntry(name, budget.read(name, stream))
