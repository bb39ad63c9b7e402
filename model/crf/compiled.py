"""Compilation of the CRF's inner loops to machine code.

numba brings its own code generator, so nobody needs a compiler. The machine code is kept on disk: beside the source
or, where the package is installed read-only, in the user's cache folder (numba chooses; `NUMBA_CACHE_DIR` overrides).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call; float operations stay as written. Runs without the GIL, one thread a call."""
    return _compile(function, fastmath=False)


def compiled_loosely(function: Function) -> Function:
    """`compiled`, but sums may be reordered and NaN is not expected, which lets sums and maxima become vectors."""
    return _compile(function, fastmath={"contract", "reassoc", "arcp", "nnan", "ninf", "nsz"})


def _compile(function: Function, *, fastmath: bool | set[str]) -> Function:
    function.__qualname__ = _own_name(function)
    try:
        return _with_numba(function, fastmath=fastmath, cache=True)
    except RuntimeError:  # no folder is writable: compile anew in each process
        return _with_numba(function, fastmath=fastmath, cache=False)


def _own_name(function: Callable[..., Any]) -> str:
    """Return a function's name with the values it encloses: no two that one factory made may share one.

    numba names machine code by the function's name and how many it had named before in its process. Of functions with
    one name that two processes compiled and kept, two may be named alike; a third process that loads both mixes up what
    belongs to them, and the second fails at each call.
    """
    enclosed = [str(cell.cell_contents) for cell in function.__closure__ or ()]
    return "_".join([function.__qualname__, *enclosed])


def _with_numba(function: Function, *, fastmath: bool | set[str], cache: bool) -> Function:
    kernel: Any = njit(nogil=True, error_model="numpy", fastmath=fastmath, cache=cache)(function)
    return cast("Function", kernel)
