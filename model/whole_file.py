"""Files that appear whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY_SUFFIX = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its place when the block ends well, replacing an older one; else nothing changes.

    Its folder is made. The temporary name beside it is short whatever the name, which may be as long as the file
    system allows.

    Args:
        path: the file.

    Raises:
        OSError: the folder cannot be written to.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    part = path.with_name(f".{digest}{TEMPORARY_SUFFIX}")
    try:
        with _created(part) as file:
            yield file
        os.replace(part, path)  # noqa: PTH105 - Path.replace would hide that this is the atomic call
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _created(path: Path) -> IO[bytes]:
    """Open a new file; its folder is there already, as a rule."""
    try:
        return path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file at once; see `whole_file`."""
    with whole_file(path) as file:
        file.write(data)
