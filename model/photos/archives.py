"""Archives of photos: opened with suspicion, listed at once, then read one entry at a time, each unpacked once.

Before an entry is unpacked, its declared size counts; while it is unpacked, its real size does, since headers lie.
All of a packed tar counts: it is unpacked into a temporary file, since its entries can only be reached that way.
"""

import bz2
import contextlib
import gzip
import lzma
import math
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, Final, cast

from toco.model.errors import TocoError
from toco.model.photos.collection import Collection, add_file, finish, is_hidden, kind_of
from toco.model.photos.images import HEAD_BYTES, SUFFIXES, UnreadableImage
from toco.model.photos.names import InvalidName, require_relative

_FREE_BYTES: Final = 16 * 1024 * 1024  # small archives may have any ratio
_OTHER_ENTRIES: Final = 1000  # folders, notes and the like beside the photos, and one more a photo
_READ_BYTES: Final = 256 * 1024
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


class InvalidEntry(TocoError):
    """An entry of an archive is a link or a device."""

    code = "invalid_entry"
    kind = "invalid"


class PhotoArchive:
    """The photos and tables of an archive; see `open_archive`.

    Attributes:
        collection: what it holds.
    """

    def __init__(self, budget: "_Budget") -> None:
        self.collection = Collection()
        self._budget = budget
        self._streams: dict[str, Callable[[], IO[bytes]]] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all plain files that are not the system's own, photos or not."""
        return tuple(self._streams)

    def read(self, name: str) -> bytes:
        """Unpack a file.

        Args:
            name: one of `files`.

        Raises:
            UnreadableImage: this entry is damaged.
            ArchiveTooLarge: over a limit.
        """
        try:
            with self._streams[name]() as stream:
                return self._budget.read(name, stream)
        except (*DAMAGED, RuntimeError) as error:
            raise UnreadableImage(f"The entry {name!r} cannot be unpacked: {error}.", fix="Pack it again.") from None

    def add(self, name: str, size: int, stream: Callable[[], IO[bytes]]) -> None:
        """Note a plain file of the archive.

        Args:
            name: as the archive has it.
            size: as it declares.
            stream: opens its content.
        """
        path = name.removeprefix("./")
        self._budget.count_entry()
        if is_hidden(path):
            self.collection.leave_out(path, "hidden or the system's own")
            return
        kind = kind_of(path, lambda: _head(stream))
        if kind == "photo":
            self._budget.count_photo(path, size)
            try:
                require_relative(path)
            except InvalidName as error:
                self.collection.refused[path] = error
                return
        if path in self._streams:
            self.collection.leave_out(path, "more than once in the archive (the last one counts)")
        else:
            add_file(self.collection, path, kind, size=size, load=partial(self.read, path))
        self._streams[path] = stream

    def refuse(self, name: str) -> None:
        """Note an entry that is a link or a device; one that does not claim to be a photo is only left out."""
        self._budget.count_entry()
        if is_hidden(name) or PurePosixPath(name).suffix.lower() not in SUFFIXES:
            self.collection.leave_out(name, "no plain file")
            return
        self.collection.refused[name] = InvalidEntry(
            f"The entry {name!r} is a link or a device.", fix="Pack the files that links lead to (tar: --dereference)."
        )


@contextmanager
def open_archive(file: IO[bytes], limits: ArchiveLimits) -> Iterator[PhotoArchive]:
    """Open a zip or tar and list what it holds.

    Links, devices and names that leave the archive refuse only themselves. Names of zips made on Windows may have
    backslashes; those without a mark of their encoding are read as UTF-8 where they are.

    Args:
        file: seekable.
        limits: how much it may hold.

    Raises:
        InvalidArchive: neither of the two, damaged, or encrypted.
        ArchiveTooLarge: over a limit.
    """
    file.seek(0, 2)
    budget = _Budget(limits, packed=file.tell())
    with TemporaryFile() as spool:
        with _damage_told():
            archive = _listed_zip(file, budget) if zipfile.is_zipfile(file) else _listed_tar(file, spool, budget)
        finish(archive.collection)
        yield archive


DAMAGED: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""What reading an archive raises where it is damaged; `zipfile` raises RuntimeError as well, see `_damage_told`."""


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Send a zip or a tar.") from None
    except RuntimeError as error:  # zipfile's word for kinds of packing that it does not know
        raise InvalidArchive(f"The archive cannot be read: {error}.", fix="Pack it anew.") from None


class _Budget:
    """What is left of the limits."""

    def __init__(self, limits: ArchiveLimits, *, packed: int) -> None:
        self.limits = limits
        self.most = packed * limits.ratio + _FREE_BYTES
        self._declared = 0
        self._unpacked: dict[str, int] = {}  # bytes of each entry: what is read again was counted
        self._total = 0
        self._photos = 0
        self._entries = 0

    def count_entry(self) -> None:
        """Count an entry of any kind. Raises ArchiveTooLarge."""
        self._entries += 1
        if self._entries > 2 * self.limits.files + _OTHER_ENTRIES:
            raise ArchiveTooLarge(f"The archive has over {self._entries - 1} entries.", fix="Send several archives.")

    def count_photo(self, name: str, declared: int) -> None:
        """Count a photo and its declared size. Raises ArchiveTooLarge."""
        self._photos += 1
        if self._photos > self.limits.files:
            raise ArchiveTooLarge(f"The archive has over {self.limits.files} photos.", fix="Send several archives.")
        self._check_size(name, declared)
        self._declared += declared
        if self._declared > self.most:
            raise self.bomb()

    def read(self, name: str, stream: IO[bytes]) -> bytes:
        """Unpack an entry, counting what really comes out, once however often it is read."""
        content = bytearray()
        while piece := stream.read(_READ_BYTES):
            content += piece
            self._check_size(name, len(content))
            more = len(content) - self._unpacked.get(name, 0)
            if more > 0:
                self._unpacked[name] = len(content)
                self._total += more
            if self._total > self.most:
                raise self.bomb()
        return bytes(content)

    def _check_size(self, name: str, size: int) -> None:
        if size > self.limits.file_bytes:
            raise ArchiveTooLarge(
                f"The entry {name!r} has over {self.limits.file_bytes:,} bytes.", fix="Scale the photo down."
            )

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


def _head(stream: Callable[[], IO[bytes]]) -> bytes:
    """Return the first bytes of an entry; of a damaged one none, so that it counts as no photo."""
    try:
        with stream() as opened:
            return opened.read(HEAD_BYTES)
    except (*DAMAGED, RuntimeError):
        return b""


def _listed_zip(file: IO[bytes], budget: _Budget) -> PhotoArchive:
    found = PhotoArchive(budget)
    guarded = _Guarded(file, math.inf, budget.bomb)
    archive = zipfile.ZipFile(cast("IO[bytes]", guarded))
    for info in archive.infolist():
        name = _zip_name(info)
        if info.flag_bits & 1:
            raise InvalidArchive(f"The entry {name!r} is encrypted.", fix="Send it without a password.")
        if stat.S_ISLNK(info.external_attr >> 16):
            found.refuse(name)
        elif not name.endswith("/"):
            found.add(name, info.file_size, partial(cast("Callable[..., IO[bytes]]", archive.open), info))
    return found


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry: some tools on Windows write backslashes, and many write UTF-8 without saying so."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.partition("\0")[0].replace("\\", "/")


def _listed_tar(file: IO[bytes], spool: IO[bytes], budget: _Budget) -> PhotoArchive:
    found = PhotoArchive(budget)
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if head.startswith(magic)), None)
    if unpack is not None:
        packed = unpack(file)
        while piece := packed.read(_READ_BYTES):
            if spool.tell() + len(piece) > budget.most:
                raise budget.bomb()
            spool.write(piece)
        spool.seek(0)
    guarded = _Guarded(spool if unpack else file, math.inf, budget.bomb)
    archive = tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:")  # noqa: SIM115 - `file` is the caller's
    for info in archive:
        name = info.name.removeprefix("./")
        if info.isdir() or not name:
            continue
        if info.isreg():
            found.add(name, info.size, partial(_tar_stream, archive, info))
        else:
            found.refuse(name)
    return found


def _tar_stream(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast("IO[bytes]", archive.extractfile(info))  # of a plain file never None
