"""What the client does with trainings."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from toco.jobs.ids import new_id
from toco.model.errors import TocoError

JsonObject = dict[str, Any]
Progress = Callable[[JsonObject], None]

_FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_LOOK_SECONDS: Final = 1.0


class StillTraining(TocoError):
    """A training takes longer than someone wants to wait."""

    code = "still_training"
    kind = "unavailable"


class TrainsModels(ABC):
    """The part of `Client` that trains; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    @abstractmethod
    def _send_folder(
        self,
        folder: Path | str,
        tags: Path | str | Mapping[str, Sequence[str]] | None,
        progress: Progress | None,
        on_words: Callable[[list[tuple[str, ...]]], None],
    ) -> tuple[str, list[str], bool]:
        """Upload photos and their tags; see `Client`."""

    @abstractmethod
    def _pages(self, path: str, field: str, query: Mapping[str, Any]) -> Iterator[JsonObject]:
        """Yield what all pages of a list hold; see `Client`."""

    def train(
        self,
        name: str,
        /,
        *,
        folder: Path | str | None = None,
        tags: Path | str | Mapping[str, Sequence[str]] | None = None,
        job: str = "",
        progress: Progress | None = None,
        **settings: Any,
    ) -> JsonObject:
        """Train a model on a folder of photos with tags, or on the photos of a job.

        Args:
            name: of the model; a new version of it if there is one.
            folder: of photos, searched through and through; None takes the job's.
            tags: as of `label_folder`.
            job: id of a job, whose photos and tags are taken.
            progress: called with `{"sent": bytes, "total": bytes}` while photos are sent.
            settings: `preset` (`quick`, `standard`, `thorough`), `settings` (changes to it: `steps`, `rounds`,
                `learning_rate`, `kept_aside`, `seed`), `classes`, `model` (that it starts from), `mapping`,
                `complete_tags`.

        Returns:
            The training; `wait_for_training`. Its `notes` say what was left out.

        Raises:
            ServiceError, InvalidTagFile, NoRowMatches
        """
        body: JsonObject = {"name": name} | settings
        notes: list[str] = []
        if folder is not None:
            body["upload"], notes, _ = self._send_folder(folder, tags, progress, lambda _: None)
        else:
            body["job"] = job
        headers = {"idempotency-key": new_id()}
        made = dict(self._send("POST", "/v1/models", json=body, headers=headers).json())
        return made | {"notes": [*notes, *made["notes"]]}

    def trainings(self, /, **query: Any) -> Iterator[JsonObject]:
        """Yield trainings, the newest first. Raises ServiceError."""
        yield from self._pages("/v1/trainings", "trainings", query)

    def training(self, training: str) -> JsonObject:
        """Return a training as it stands, with the `history` of its losses. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/trainings/{training}").json())

    def wait_for_training(
        self, training: str, *, progress: Progress | None = None, timeout_seconds: float | None = None
    ) -> JsonObject:
        """Wait for a training to end.

        Args:
            training: id.
            progress: called with the training whenever it was looked at.
            timeout_seconds: None waits for ever.

        Returns:
            The training as it ended; its `figures` compare the model with the one before.

        Raises:
            ServiceError: it is gone.
            StillTraining: the time is up.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            found = self.training(training)
            if progress is not None:
                progress(found)
            if found["state"] in _FINAL:
                return found
            if deadline is not None and time.monotonic() > deadline:
                raise StillTraining(f"Training {training} is still {found['state']}.", fix="Wait longer.")
            time.sleep(_LOOK_SECONDS)

    def cancel_training(self, training: str) -> JsonObject:
        """Stop a training; it can be resumed from its last checkpoint. Raises ServiceError."""
        return self._told(training, "cancel")

    def resume_training(self, training: str) -> JsonObject:
        """Go on with a training that failed or was cancelled. Raises ServiceError."""
        return self._told(training, "resume")

    def promote_training(self, training: str) -> JsonObject:
        """Let the model's name stand for what a training made. Raises ServiceError."""
        return self._told(training, "promote")

    def discard_training(self, training: str) -> JsonObject:
        """Throw away what a training made. Raises ServiceError."""
        return self._told(training, "discard")

    def delete_training(self, training: str) -> None:
        """Delete a training that is over; a model that it published stays. Raises ServiceError."""
        self._send("DELETE", f"/v1/trainings/{training}")

    def _told(self, training: str, what: str) -> JsonObject:
        return dict(self._send("POST", f"/v1/trainings/{training}/{what}").json())
