"""What the client does with data sets: items of several jobs under one name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

JsonObject = dict[str, Any]


class DataSetCalls(ABC):
    """The part of `Client` that keeps and exports data sets; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    @abstractmethod
    def _exported(
        self, path: str, wanted: JsonObject, target: Path, progress: Callable[[JsonObject], None] | None
    ) -> Path:
        """Ask for an export, wait for it and download it; see `Client`."""

    def data_sets(self) -> list[str]:
        """Return the names of the data sets. Raises ServiceError."""
        return list(self._send("GET", "/v1/data_sets").json()["data_sets"])

    def data_set(self, name: str) -> JsonObject:
        """Return a data set: its members, and how many photos each gives now. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/data_sets/{name}").json())

    def keep_data_set(self, name: str, members: Sequence[str | Mapping[str, Any]]) -> JsonObject:
        """Keep a data set under a name.

        Args:
            name: of the data set.
            members: ids of jobs, or `{"job": id, "decisions": "accepted", "items": [ids]}`.

        Raises:
            ServiceError
        """
        listed = [{"job": member} if isinstance(member, str) else dict(member) for member in members]
        return dict(self._send("PUT", f"/v1/data_sets/{name}", json={"members": listed}).json())

    def delete_data_set(self, name: str) -> None:
        """Forget a data set; its jobs stay. Raises ServiceError."""
        self._send("DELETE", f"/v1/data_sets/{name}")

    def export_data_set(
        self,
        name: str,
        formats: str | Sequence[str],
        target: Path | str,
        *,
        options: Mapping[str, Any] | None = None,
        progress: Callable[[JsonObject], None] | None = None,
    ) -> Path:
        """Have a data set exported as one, and download the zip.

        Args:
            name: of the data set.
            formats: as of `Client.export`, and so are the others.
            target: file to write.
            options: settings of the formats.
            progress: called with the export as it goes on.

        Raises:
            ServiceError
        """
        names = [formats] if isinstance(formats, str) else list(formats)
        wanted = {"formats": names, "options": dict(options or {})}
        return self._exported(f"/v1/data_sets/{name}/exports", wanted, Path(target), progress)
