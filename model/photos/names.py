"""Names of photos: contained relative paths that every list and archive can hold."""

import hashlib
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from toco.model.errors import TocoError

MAX_PART_BYTES: Final = 255
"""The longest name of a file or folder that file systems take, in UTF-8."""

_FORBIDDEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class InvalidName(TocoError):
    """The name of a photo is no contained relative path."""

    code = "invalid_name"
    kind = "invalid"


def require_relative(name: str) -> str:
    """Return a name if it is a contained, relative, normal path with forward slashes.

    Raises:
        InvalidName: it is absolute, leaves its folder, has empty or `.` parts, backslashes or control characters.
    """
    outside = any(part in {"", ".", ".."} for part in name.split("/")) or PureWindowsPath(name).drive
    # Control characters, lone surrogates and line separators would break the lists that formats keep.
    if outside or "\\" in name or any(unicodedata.category(letter) in _FORBIDDEN for letter in name):
        raise InvalidName(f"{name!r} cannot be the name of a photo.", fix="Use a relative path such as 'farm/cow.jpg'.")
    return name


class UniqueNames:
    """Names given once each: a second `a.jpg` becomes `a_2.jpg`. The time does not grow with how many there are."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}  # how many of a name there are

    def take(self, name: str) -> str:
        """Return a name that was not given yet: this one, or this one with a number.

        Args:
            name: relative path with forward slashes.
        """
        path, number = PurePosixPath(name), self._given.get(name, 1)
        unique = name
        while unique in self._given:
            number += 1
            unique = str(path.with_name(f"{path.stem}_{number}{path.suffix}"))
        self._given[unique] = 1
        self._given[name] = number  # so that the next one of this name need not count from the beginning
        return unique


def fitted(name: str, *, room: int = 0) -> str:
    """Return a path whose every part a file system takes: longer ones are cut, and end in a digest of the whole.

    Args:
        name: relative path with forward slashes.
        room: bytes that the last part must leave for what is appended to it.
    """
    *folders, last = name.split("/")
    return "/".join([*(_fitted(folder, MAX_PART_BYTES) for folder in folders), _fitted(last, MAX_PART_BYTES - room)])


def _fitted(part: str, most: int) -> str:
    data = part.encode()
    if len(data) <= most:
        return part
    digest = "~" + hashlib.sha256(data).hexdigest()[:8]
    return data[: most - len(digest)].decode(errors="ignore") + digest
