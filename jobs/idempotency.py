"""`Idempotency-Key`: the same request sent twice makes one job.

The promise is kept by the transaction that makes the job visible (`Records.create_job`): of two requests under way at
once, or one whose process died and its repetition, the first to come so far makes the job, and the other finds it.

References:
    IETF draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from toco.jobs.keys import idempotency_record
from toco.model.errors import TocoError

KEPT_SECONDS: Final = 86_400


class IdempotencyConflict(TocoError):
    """The key was used for another request."""

    code = "idempotency_conflict"
    kind = "conflict"


@dataclass(frozen=True, slots=True)
class Promise:
    """What an Idempotency-Key stands for.

    Attributes:
        owner: id of the API key: two users may use the same text.
        key: as the client sent it.
        fingerprint: of everything that the request says.
    """

    owner: str
    key: str
    fingerprint: str

    @property
    def record(self) -> str:
        """Key of the record."""
        return idempotency_record(self.owner, hashlib.sha256(self.key.encode()).hexdigest())

    def of(self, job: str) -> str:
        """Return the record that promises a job."""
        return json.dumps({"job": job, "fingerprint": self.fingerprint})

    def kept_by(self, record: str) -> str:
        """Return the job that an earlier record promises.

        Raises:
            IdempotencyConflict: to another request.
        """
        found = json.loads(record)
        if found["fingerprint"] != self.fingerprint:
            raise IdempotencyConflict(
                "The Idempotency-Key was used for another request.", fix="Use a new key for a new request."
            )
        return str(found["job"])
