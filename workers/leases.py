"""Keeping leases alive while a worker process works on their items."""

import threading
import time

from toco.jobs.records import Lease, Records
from toco.jobs.retries import seconds_until_retry
from toco.jobs.settings import Settings
from toco.model.errors import TocoError


def give_back(records: Records, settings: Settings, lease: Lease, error: TocoError) -> str:
    """Fail an item, or put it off if its error may pass and it has attempts left.

    Returns:
        The state it is in then; `stale` or `gone` if it was lost meanwhile.
    """
    seconds = seconds_until_retry(
        error, lease.attempt, max_attempts=settings.max_attempts, delay_seconds=settings.retry_delay_seconds
    )
    return records.fail(lease, error) if seconds is None else records.release(lease, error, seconds=seconds)


class LeaseKeeper:
    """The leases that this process holds; a heartbeat renews them all."""

    def __init__(self, records: Records, *, seconds: float) -> None:
        self._records = records
        self._seconds = seconds
        self._held: dict[tuple[str, str], Lease] = {}
        self._lock = threading.Lock()
        self.changed_at = 0.0  # seconds since 1970 when work on an item last began or ended

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._lock:
            self._held[lease.job, lease.item] = lease
            self.changed_at = time.time()

    def drop(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        with self._lock:
            self._held.pop((lease.job, lease.item), None)
            self.changed_at = time.time()

    def drop_all(self) -> None:
        """Stop renewing every lease: however a task ended, nobody works on its items any more."""
        with self._lock:
            self._held.clear()

    def renew_all(self) -> None:
        """Renew every lease; one that was lost is dropped, and its work will be refused when it is handed in."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            if not self._records.renew(lease, seconds=self._seconds):
                self.drop(lease)
