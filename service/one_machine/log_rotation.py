"""Logs that do not fill the disk."""

import os
import shutil
from pathlib import Path
from typing import Final

KEPT: Final = 3  # older parts beside the one that is written


def rotate(log: Path, *, most_bytes: int, kept: int = KEPT) -> bool:
    """Put a log aside that has grown too large, and drop the oldest part; return whether it was.

    The log is copied and cut, not renamed: its writers, which append, hold it open and go on with the same file.

    Args:
        log: that programs write to; its older parts are `NAME.1` (the newest), `NAME.2`, ...
        most_bytes: size from which it is put aside.
        kept: number of older parts.
    """
    try:
        if log.stat().st_size < most_bytes:
            return False
    except FileNotFoundError:
        return False
    parts = [log.with_name(f"{log.name}.{number}") for number in range(1, kept + 1)]
    for older, newer in zip(reversed(parts), reversed(parts[:-1]), strict=False):
        if newer.exists():
            newer.replace(older)
    shutil.copyfile(log, parts[0])
    os.truncate(log, 0)
    return True
