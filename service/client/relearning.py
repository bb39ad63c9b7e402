"""What the client does to let a job learn from its corrected labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import httpx

JsonObject = dict[str, Any]


class LearningAgain(ABC):
    """The part of `Client` that learns again; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    def relearn(self, job: str) -> JsonObject:
        """Learn from a job's corrected and accepted labels, and label all others again.

        Returns:
            How far it is; `relearning` says it later.

        Raises:
            ServiceError
        """
        return dict(self._send("POST", f"/v1/jobs/{job}/relearn").json())

    def relearnings(self, job: str) -> list[JsonObject]:
        """Return what a job learnt again, the newest first. Raises ServiceError."""
        return list(self._send("GET", f"/v1/jobs/{job}/relearn").json())

    def relearning(self, job: str, relearning: str) -> JsonObject:
        """Return how far learning again is. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/jobs/{job}/relearn/{relearning}").json())

    def changes(self, job: str, relearning: str) -> Iterator[JsonObject]:
        """Yield what learning again changed, before and after, what changed most first. Raises ServiceError."""
        start: int | None = 0
        while start is not None:
            query = {"start": start}
            page = self._send("GET", f"/v1/jobs/{job}/relearn/{relearning}/changes", params=query).json()
            yield from page["changes"]
            start = page["next"]

    def undo_relearn(self, job: str, relearning: str) -> JsonObject:
        """Take back what was learnt again, but for what people changed since. Raises ServiceError."""
        return dict(self._send("POST", f"/v1/jobs/{job}/relearn/{relearning}/undo").json())
