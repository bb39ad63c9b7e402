"""What a process does first and last that labels: it comes up fast, and goes at once."""

import atexit
import gc
import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from typing import Final

from toco.model.threads import share_the_processor

OBJECTS_BETWEEN_LOOKS: Final = 50_000
"""How many new objects Python makes before it looks for garbage among them, instead of 700.

The modules of torch and the others make over a million objects, nearly all of which stay: to look through them again
and again takes a twentieth of the time until the first label.
"""


def start_process(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the process come up fast, and its threads yield; before anything large is imported.

    Args:
        environment: of the process; see `share_the_processor`.
    """
    share_the_processor(environment)
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, *gc.get_threshold()[1:])


def end_process(code: int) -> None:
    """End the process, its work being done, without taking torch apart, which lasts nearly a second.

    As at Python's own end, threads that still work are waited for, what was asked to run at the end runs, and what was
    written goes out. Where nobody reads it, this returns, and Python ends the process as it always does.

    Args:
        code: of the exit.
    """
    threading._shutdown()  # type: ignore[attr-defined] # typeshed leaves it out # noqa: SLF001 - Python calls both at its end, which does not come
    atexit._run_exitfuncs()  # noqa: SLF001 - Python calls both at its end, which does not come
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return
    os._exit(code)
