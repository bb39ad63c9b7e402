"""What the client does with the models that jobs and trainings made."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import httpx

JsonObject = dict[str, Any]


class OwnModels(ABC):
    """The part of `Client` that looks after models; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    @abstractmethod
    def _download(self, path: str, target: Path, **arguments: Any) -> Path:
        """Write what an address answers with to a file; see `Client`."""

    def models(self) -> JsonObject:
        """Return the models and which of them is the default. Raises ServiceError."""
        return dict(self._send("GET", "/v1/models").json())

    def model(self, name: str) -> JsonObject:
        """Return a model: its classes and figures; of learnt words, how well each was learnt. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/models/{name}").json())

    def model_versions(self, name: str) -> JsonObject:
        """Return the versions of a model that was made here, and which is current. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/models/{name}/versions").json())

    def compare_models(self, name: str, first: int, second: int) -> JsonObject:
        """Return what was measured of two versions of a model, side by side. Raises ServiceError."""
        query = {"first": first, "second": second}
        return dict(self._send("GET", f"/v1/models/{name}/compare", params=query).json())

    def promote_model(self, name: str, number: int) -> JsonObject:
        """Let a model's name stand for another of its versions. Raises ServiceError."""
        return dict(self._send("POST", f"/v1/models/{name}/promote", json={"number": number}).json())

    def roll_back_model(self, name: str) -> JsonObject:
        """Let a model's name stand for the version again that it stood for before. Raises ServiceError."""
        return dict(self._send("POST", f"/v1/models/{name}/rollback").json())

    def delete_model(self, name: str, number: int | None = None) -> None:
        """Delete a model that was made here, or one version of it. Raises ServiceError."""
        self._send("DELETE", f"/v1/models/{name}" + ("" if number is None else f"/versions/{number}"))

    def download_model(self, name: str, target: Path | str, number: int | None = None) -> Path:
        """Download a model as a zip, which unpacked into a models folder is that model.

        Args:
            name: of the model.
            target: file to write; it appears whole or not at all.
            number: of the version; None takes the current one.

        Raises:
            ServiceError
        """
        query = {} if number is None else {"version": number}
        return self._download(f"/v1/models/{name}/download", Path(target), params=query)
