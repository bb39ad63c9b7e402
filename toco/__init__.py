"""ToCo Labeler: photos with image-level tags in; class activation maps, pseudo masks and segmentation maps out.

`Labeler` labels in this process; `Client` and `AsyncClient` talk to a service. They are imported when first used, so
that `import toco` costs nothing: `Labeler` brings torch with it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler
    from toco.service.client.async_client import AsyncClient
    from toco.service.client.client import Client

__all__ = ["AsyncClient", "Client", "Labeler"]

_PLACES = {
    "AsyncClient": "toco.service.client.async_client",
    "Client": "toco.service.client.client",
    "Labeler": "toco.model.labelling.labeler",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only when a name is asked for

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
