"""Names of photos: contained relative paths that every list and archive can hold."""

import unicodedata
from pathlib import PureWindowsPath
from typing import Final

from toco.model.errors import TocoError

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
