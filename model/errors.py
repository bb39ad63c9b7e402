"""The one error base of the project.

Every error that a user can cause is a `TocoError`: it names the offending value (`detail`) and the way out (`fix`).
`code` is stable and machine-readable; `kind` is the family, which each entry point renders its own way (an HTTP
status, an exit code, a line of a report). Both stand in the class, save where another process's error is passed on.
Subclasses live beside the code that raises them.
"""

from typing import Literal

Kind = Literal[
    "invalid",  # the request or file is wrong as it stands
    "unsupported",  # understood, but not a kind that we read or write
    "too_large",  # over a limit that is checked before any work
    "not_found",
    "conflict",
    "outdated",  # what the request builds on is no longer the newest: look again
    "unauthorized",
    "forbidden",
    "limited",  # a rate or quota is used up: try again later
    "unavailable",  # a part that we depend on does not answer: try again later
    "internal",
]

_SHOWN_CHARACTERS = 200


class TocoError(Exception):
    """Base of all typed errors.

    Args:
        detail: one sentence that names the offending value.
        fix: one sentence that says what to do about it; may be empty where nothing can be done.
    """

    code: str = "error"
    kind: Kind = "internal"

    def __init__(self, detail: str, *, fix: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.detail} {self.fix}".rstrip()

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (data loaders, queue workers): rebuild without the subclass's own arguments.
        return (_rebuild, (type(self), self.detail), self.__dict__)


def _rebuild(kind: type[TocoError], detail: str) -> TocoError:
    return kind.__new__(kind, detail)


class InvalidOption(TocoError):
    """A setting is outside its range or contradicts another."""

    code = "invalid_option"
    kind = "invalid"


class InvalidArray(TocoError):
    """An array has the wrong shape, dtype or range."""

    code = "invalid_array"
    kind = "invalid"


def shown(value: object) -> str:
    """Return a value that a user sent as a message may show it: cut, and whatever it is, printable."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
