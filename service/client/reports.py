"""What the client does to find out what may be wrong with tags, and what there is of each class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

JsonObject = dict[str, Any]


class Reporting(ABC):
    """The part of `Client` that asks for reports; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    @abstractmethod
    def _built(self, path: str, wanted: JsonObject, progress: Callable[[JsonObject], None] | None) -> JsonObject:
        """Ask for a report and wait for it; see `Client`."""

    def report(
        self,
        job: str,
        kind: str,
        *,
        decisions: str = "all",
        progress: Callable[[JsonObject], None] | None = None,
    ) -> JsonObject:
        """Have a job looked at, and wait for it; read it with `findings` or `statistics`.

        Args:
            job: id.
            kind: `doctor`: what may be wrong with tags and photos; `statistics`: what there is of each class.
            decisions: `all` labelled photos, `accepted` or `not_rejected`.
            progress: called with the report as it goes on.

        Raises:
            ServiceError: also where it could not be made.
        """
        return self._built(f"/v1/jobs/{job}/reports", {"kind": kind, "decisions": decisions}, progress)

    def report_data_set(
        self, name: str, kind: str, *, progress: Callable[[JsonObject], None] | None = None
    ) -> JsonObject:
        """Have a data set looked at as one; its report lies with its first job, as `report["job"]` says.

        Args:
            name: of the data set.
            kind: as of `report`.
            progress: likewise.

        Raises:
            ServiceError
        """
        return self._built(f"/v1/data_sets/{name}/reports", {"kind": kind}, progress)

    def reports(self, job: str) -> list[JsonObject]:
        """Return a job's reports, the newest first. Raises ServiceError."""
        return list(self._send("GET", f"/v1/jobs/{job}/reports").json())

    def findings(self, report: Mapping[str, Any], *, kind: str = "") -> Iterator[JsonObject]:
        """Yield what a doctor found, the surest of each kind first, each with its `photos` and `cures`.

        Args:
            report: what `report` returned.
            kind: only these, such as `wrong_tag`; empty: all.

        Raises:
            ServiceError
        """
        start: int | None = 0
        while start is not None:
            query: dict[str, Any] = {"start": start, "limit": 500} | ({"kind": kind} if kind else {})
            page = self._send("GET", f"{_place(report)}/findings", params=query).json()
            yield from page["findings"]
            start = page["next"]

    def cure(self, cure: Mapping[str, Any]) -> JsonObject:
        """Carry out one of the `cures` of a finding: a change of tags or a verdict.

        Raises:
            ServiceError: among others, where somebody changed the photo meanwhile.
        """
        headers = {"if-match": cure["if_match"]} if cure["if_match"] else {}
        return dict(self._send(cure["method"], cure["path"], json=cure["body"], headers=headers).json())

    def statistics(self, report: Mapping[str, Any]) -> JsonObject:
        """Return what a report of statistics says: photos, pixels, regions and areas by class. Raises ServiceError."""
        return dict(self._send("GET", f"{_place(report)}/statistics").json())


def _place(report: Mapping[str, Any]) -> str:
    return f"/v1/jobs/{report['job']}/reports/{report['id']}"
