"""What the client does to find out how good labels are, and which to look at next."""

from abc import ABC, abstractmethod
from typing import Any

import httpx

JsonObject = dict[str, Any]


class Auditing(ABC):
    """The part of `Client` that audits; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    def draw_audit(self, job: str, *, photos: int = 40, seed: int | None = None) -> JsonObject:
        """Draw photos at random to check: accept each label or correct it, then ask for the `audit` again.

        Args:
            job: id.
            photos: how many.
            seed: the same one draws the same photos; None takes one by chance.

        Raises:
            ServiceError
        """
        body = {"photos": photos, "seed": seed}
        return dict(self._send("POST", f"/v1/jobs/{job}/audits", json=body).json())

    def audits(self, job: str) -> list[JsonObject]:
        """Return a job's audits, the newest first. Raises ServiceError."""
        return list(self._send("GET", f"/v1/jobs/{job}/audits").json())

    def audit(self, job: str, audit: str) -> JsonObject:
        """Return which photos are to be checked, and the `estimate` so far. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/jobs/{job}/audits/{audit}").json())

    def next_items(self, job: str, *, limit: int = 20) -> JsonObject:
        """Return the undecided `items` that teach most, and what is `left`. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/jobs/{job}/next", params={"limit": limit}).json())
