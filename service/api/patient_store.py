"""The object store with a time limit on every operation: a network drive, or a server, may hang for ever."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from toco.jobs.settings import Settings
from toco.jobs.store import StorageUnavailable, Store

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 64  # operations that may be in hand, or hang, at once


class PatientStore(Store):
    """A store whose operations end in time.

    What hangs keeps one of a bounded number of threads until it ends by itself; while all of them hang, every
    operation is refused after the time limit.

    Args:
        settings: name the store and the time limit.

    Raises:
        InvalidSettings: as `object_store`.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._seconds = settings.store_timeout_seconds
        self._threads = _threads()

    def close(self) -> None:
        """Leave operations that hang behind; an application that is started again finds new threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = _threads()

    def _do(self, operation: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        future = self._threads.submit(operation, *arguments, **named)
        try:
            return future.result(self._seconds)
        except TimeoutError:
            future.cancel()
            raise StorageUnavailable(
                f"The object store did not answer within {self._seconds:g} s.", fix="Try again later."
            ) from None


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="object-store")
