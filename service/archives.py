"""Archives of photos: opened with suspicion, read one entry at a time.

Before an entry is unpacked, its declared size counts; while it is unpacked, its real size does, since headers lie.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Final

from model.errors import TocoError
from model.formats.item import InvalidName, require_relative
from model.images import SUFFIXES

MANIFEST_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
_FREE_BYTES: Final = 16 * 1024 * 1024  # small archives may have any ratio
_OTHER_ENTRIES: Final = 1000  # folders, notes and the like beside the photos
_READ_BYTES: Final = 1024 * 1024


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


def is_archive(file: IO[bytes]) -> bool:
    """Say by its content whether a file is a zip or a tar; its position is reset."""
    file.seek(0)
    found = zipfile.is_zipfile(file)
    if not found:
        file.seek(0)
        found = tarfile.is_tarfile(file)
    file.seek(0)
    return found


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
    file.seek(0)
    try:
        if zipfile.is_zipfile(file):
            file.seek(0)
            yield from _zip_entries(file, budget)
            return
        file.seek(0)
        yield from _tar_entries(file, budget)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, NotImplementedError) as error:
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Send a zip or a tar.") from None
    except RuntimeError as error:  # zipfile's word for "encrypted"
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Send it without a password.") from None


class _Budget:
    """What is left of the limits."""

    def __init__(self, limits: ArchiveLimits, *, packed: int) -> None:
        self.limits = limits
        self._most = packed * limits.ratio + _FREE_BYTES
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
        if self._unpacked + declared > self._most:
            raise self._bomb()
        return True

    def read(self, name: str, stream: IO[bytes]) -> bytes:
        """Unpack an entry, counting what really comes out."""
        content = bytearray()
        while piece := stream.read(_READ_BYTES):
            content += piece
            self._unpacked += len(piece)
            self._check_size(name, len(content))
            if self._unpacked > self._most:
                raise self._bomb()
        return bytes(content)

    def _check_size(self, name: str, size: int) -> None:
        manifest = PurePosixPath(name).suffix.lower() in MANIFEST_SUFFIXES
        most = MAX_MANIFEST_BYTES if manifest else self.limits.file_bytes
        if size > most:
            raise ArchiveTooLarge(f"The entry {name!r} has over {most:,} bytes.", fix="Scale the photo down.")

    def _bomb(self) -> ArchiveTooLarge:
        return ArchiveTooLarge(
            f"The archive unpacks to over {self.limits.ratio:g} times its size.", fix="Send the photos uncompressed."
        )


def _zip_entries(file: IO[bytes], budget: _Budget) -> Iterator[ArchiveEntry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir() and budget.count_entry(info.filename, info.file_size):
                with archive.open(info) as stream:
                    yield ArchiveEntry(info.filename, budget.read(info.filename, stream))


def _tar_entries(file: IO[bytes], budget: _Budget) -> Iterator[ArchiveEntry]:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for info in archive:
            name = info.name.removeprefix("./")
            if info.isdir() or not name:
                continue
            if not info.isreg():
                raise InvalidArchive(f"The entry {info.name!r} is a link or a device.", fix="Send plain files.")
            if budget.count_entry(name, info.size) and (stream := archive.extractfile(info)):
                yield ArchiveEntry(name, budget.read(name, stream))
