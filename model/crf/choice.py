"""Which dense CRF backend computes: ours, or the reference, whichever is installed."""

from functools import cache
from typing import Literal

from toco.model.crf.backend import CrfBackend
from toco.model.crf.errors import CrfBackendMissing

BackendName = Literal["auto", "lattice", "pydensecrf"]


@cache
def crf_backend(name: BackendName = "auto") -> CrfBackend:
    """The backend of that name, one a process.

    Args:
        name: `lattice` is our own kernel (numba); `pydensecrf` the reference; `auto` takes the first that is installed,
            in this order. Both give the same result.

    Raises:
        CrfBackendMissing: it is not installed.
    """
    errors = []
    for candidate in ("lattice", "pydensecrf") if name == "auto" else (name,):
        try:
            return _load(candidate)
        except ImportError as error:
            errors.append(f"{candidate}: {error}")
    raise CrfBackendMissing(
        f"No dense CRF backend loads ({'; '.join(errors)}).",
        fix="Install numba for the lattice: `pip install toco-labeler` has it.",
    )


def _load(name: str) -> CrfBackend:
    if name == "lattice":
        from toco.model.crf.lattice_backend import LatticeBackend  # noqa: PLC0415 - numba is optional and slow to import

        return LatticeBackend()
    from toco.model.crf.pydensecrf_backend import PydensecrfBackend  # noqa: PLC0415 - optional

    return PydensecrfBackend()
