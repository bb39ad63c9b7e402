"""Processes that end with the one that started them."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(how: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends, however that ends (Linux only).

    May run between fork and exec; `exec` keeps it, a further fork does not.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, how)
