"""Lists that may be too long for memory, kept in a temporary file from some length on until the export is closed."""

import json
import shutil
import tempfile
from typing import IO, Any, Final

_IN_MEMORY: Final = 64 * 1024  # bytes of a spool


def compact_json(value: Any) -> bytes:
    """Encode a value as JSON in one line, keys in their given order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Spool:
    """Bytes that grow on disk once there are many."""

    def __init__(self) -> None:
        # A data set may have hundreds of parts, each with spools of its own: small ones take no open file.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as the spool
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, data: bytes) -> None:
        """Append one element as it is."""
        self._file.write(data)
        self._count += 1

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all elements to a file."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)

    def close(self) -> None:
        """Drop the temporary file."""
        self._file.close()


class LineSpool(Spool):
    """Lines of text."""

    def add(self, line: str) -> None:
        """Append one line."""
        self.append(f"{line}\n".encode())


class JsonSpool(Spool):
    """The elements of a JSON array, a line each."""

    def add(self, value: Any) -> None:
        """Append one element."""
        self.append((b",\n" if len(self) else b"\n") + compact_json(value))

    def copy_to(self, file: IO[bytes]) -> None:
        """Write the whole array, brackets included."""
        file.write(b"[")
        super().copy_to(file)
        file.write(b"\n]")
