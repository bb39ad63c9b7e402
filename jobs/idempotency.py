"""`Idempotency-Key`: the same request sent twice makes one job.

References:
    IETF draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from toco.jobs.keys import idempotency_record
from toco.jobs.records import Records
from toco.model.errors import TocoError

_KEPT_SECONDS: Final = 86_400
_PENDING_SECONDS: Final = 120  # a request that died in between frees its key after this time


class IdempotencyConflict(TocoError):
    """The key was used for another request, or that request is still on its way."""

    code = "idempotency_conflict"
    kind = "conflict"


class Reservation:
    """An idempotency key in use, or nothing where the request has none.

    Attributes:
        earlier_job: the job that the key made before, or empty.
    """

    def __init__(self, redis: Any, name: str, value: str, *, earlier_job: str = "") -> None:
        self._redis = redis
        self._name = name
        self._value = value
        self.earlier_job = earlier_job

    def settle(self) -> None:
        """Note that the job is there."""
        if self._name:
            self._redis.set(self._name, self._value, ex=_KEPT_SECONDS)

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Free the key if the block fails: the client may try again at once."""
        try:
            yield
        except BaseException:
            if self._name:
                self._redis.delete(self._name)
            raise


def reserve(records: Records, *, owner: str, key: str, job: str, fingerprint: str) -> Reservation:
    """Take an idempotency key for a job about to be made.

    Args:
        records: where keys are kept.
        owner: id of the API key: two users may use the same text.
        key: as the client sent it; empty reserves nothing.
        job: id of the new job.
        fingerprint: of everything that the request says.

    Raises:
        IdempotencyConflict
    """
    if not key:
        return Reservation(records.redis, "", "")
    name = idempotency_record(owner, hashlib.sha256(key.encode()).hexdigest())
    settled = json.dumps({"job": job, "fingerprint": fingerprint, "settled": True})
    pending = json.dumps({"job": job, "fingerprint": fingerprint, "settled": False})
    if records.redis.set(name, pending, nx=True, ex=_PENDING_SECONDS):
        return Reservation(records.redis, name, settled)
    found = json.loads(records.redis.get(name) or "{}")
    if found.get("fingerprint") != fingerprint:
        raise IdempotencyConflict(
            "The Idempotency-Key was used for another request.", fix="Use a new key for a new request."
        )
    if not found["settled"]:
        raise IdempotencyConflict("The first request with this Idempotency-Key is still on its way.", fix="Try again.")
    return Reservation(records.redis, name, settled, earlier_job=found["job"])
