"""Names that models can be published under."""

from typing import Final

from toco.model.errors import InvalidOption
from toco.model.spec import checked_model_name

RESERVED_NAMES: Final = frozenset({"default"})  # `PUT /v1/models/default` is a route of its own


def require_name(name: str) -> str:
    """Return a name that a model can be published under. Raises InvalidOption."""
    if name in RESERVED_NAMES:
        raise InvalidOption(f"No published model can be called {name!r}.", fix="Choose another name.")
    return checked_model_name(name)
