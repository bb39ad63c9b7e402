"""What the client does with revisions of labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

JsonObject = dict[str, Any]


class Corrections(ABC):
    """The part of `Client` that corrects labels; see there."""

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; see `Client`."""

    def revisions(self, job: str, item: str) -> Iterator[JsonObject]:
        """Yield what an item's label was and is, the newest first; `current` marks the one that counts.

        Raises:
            ServiceError
        """
        before = None
        while True:
            query: JsonObject = {"before": before} if before else {}
            page = self._send("GET", f"/v1/jobs/{job}/items/{item}/revisions", params=query).json()
            yield from page["revisions"]
            before = page["next"]
            if before is None:
                return

    def mask(self, job: str, item: str, revision: int | None = None) -> bytes:
        """Return the mask of an item as a palette PNG: that of a revision, or the current one. Raises ServiceError."""
        here = f"/v1/jobs/{job}/items/{item}"
        path = "artifacts/pseudo_mask.png" if revision is None else f"revisions/{revision}/mask.png"
        return self._send("GET", f"{here}/{path}").content

    def put_mask(
        self,
        job: str,
        item: str,
        mask: Path | str | bytes,
        *,
        how: str = "upload",
        expected: int | None = None,
        tags: Sequence[str] | None = None,
        accept: bool = False,
    ) -> JsonObject:
        """Make a mask the current revision of an item.

        Args:
            job: id.
            item: id.
            mask: a palette or 8-bit grey PNG of class indices (0 background, 255 open), or COCO run lengths as JSON:
                a file, or its bytes.
            how: `upload`, `brush`, `label_studio` or `cvat`.
            expected: the revision that must be current; then the request may be sent again when the service is away.
            tags: all classes on the photo; None: as before. What the mask shows is added.
            accept: whether the label is accepted as well.

        Returns:
            The revision.

        Raises:
            ServiceError: `revision_outdated` if another is current by now, `invalid_mask` if it does not fit.
        """
        content = mask if isinstance(mask, bytes) else Path(mask).read_bytes()
        query: JsonObject = {"how": how, "accept": accept} | ({} if tags is None else {"tag": list(tags)})
        headers = {"content-type": "image/png" if content.startswith(b"\x89PNG") else "application/json"}
        answer = self._send(
            "PUT",
            f"/v1/jobs/{job}/items/{item}/mask",
            params=query,
            content=content,
            headers=headers | _if_match(expected),
        )
        return dict(answer.json())

    def revise(
        self,
        job: str,
        item: str,
        *,
        preset: str = "",
        options: Mapping[str, Any] | None = None,
        expected: int | None = None,
    ) -> JsonObject:
        """Have an item labelled again with other settings; the label becomes its next revision.

        Args:
            job: id.
            item: id.
            preset: empty takes the job's.
            options: changes to the preset.
            expected: the revision that must be current.

        Returns:
            The job that does it: `wait` for it, then look at the item.

        Raises:
            ServiceError
        """
        body = {"preset": preset, "options": dict(options or {})}
        path = f"/v1/jobs/{job}/items/{item}/revisions"
        return dict(self._send("POST", path, json=body, headers=_if_match(expected)).json())

    def change_tags(self, job: str, item: str, tags: Sequence[str], *, expected: int | None = None) -> JsonObject:
        """Have an item labelled again with other tags, any words; see `revise`. Raises ServiceError."""
        path = f"/v1/jobs/{job}/items/{item}/tags"
        return dict(self._send("PATCH", path, json={"tags": list(tags)}, headers=_if_match(expected)).json())

    def choose_revision(self, job: str, item: str, number: int, *, expected: int | None = None) -> JsonObject:
        """Make a revision the current one; the others stay. Raises ServiceError as `put_mask` does."""
        path = f"/v1/jobs/{job}/items/{item}/revisions/{number}/current"
        return dict(self._send("POST", path, headers=_if_match(expected)).json())

    def pull_label_studio(self, project: int, *, job: str = "") -> JsonObject:
        """Have the service fetch a project's annotations from its Label Studio; each becomes a revision.

        Args:
            project: id in Label Studio.
            job: whose items are meant by tasks that were imported from an export, by the names of their photos.

        Raises:
            ServiceError
        """
        return dict(self._send("POST", "/labelstudio/pull", json={"project": project, "job": job}).json())


def _if_match(expected: int | None) -> dict[str, str]:
    return {} if expected is None else {"if-match": f'"{expected}"'}
