"""The Python client: `Client` for scripts; `async_client.AsyncClient` has the same methods to await.

with Client("http://127.0.0.1:8000") as client:
    job = client.label_folder("photos", tags="tags.csv", preset="fast")
    client.wait(job["id"])
    client.export(job["id"], "voc", "labels.zip")
"""

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Final, Self

import httpx

from toco.jobs.ids import new_id
from toco.model.errors import TocoError
from toco.model.photos.collection import read_folder
from toco.model.whole_file import whole_file
from toco.service.client.audits import Auditing
from toco.service.client.corrections import JsonObject
from toco.service.client.data_sets import DataSetCalls
from toco.service.client.masks_back import MasksBack
from toco.service.client.own_models import OwnModels
from toco.service.client.packing import assigned, pack, pack_files
from toco.service.client.relearning import LearningAgain
from toco.service.client.reports import Reporting
from toco.service.client.trainings import TrainsModels

Progress = Callable[[JsonObject], None]

_PIECE_BYTES: Final = 8 * 1024 * 1024
_ATTEMPTS: Final = 5
UPLOAD_PATIENCE_SECONDS: Final = 30.0  # without a byte taken; longer than a server that died keeps others out
_FINAL_STATES: Final = frozenset({"succeeded", "partly_failed", "failed", "cancelled"})
_REPEATABLE: Final = frozenset({"idempotency-key", "if-match"})  # a request with one of them may be sent twice
_PASSING: Final = frozenset({429, 502, 503, 504})


class ServiceError(TocoError):
    """The service refused a request, or does not answer; `code` is that of the problem, if there is one.

    Args:
        detail: what the service said.
        fix: what it said to do.
        status: HTTP status; 0 if there was no answer.
        problem: the answer's whole body.
    """

    code = "service_error"
    kind = "unavailable"

    def __init__(
        self, detail: str, *, fix: str = "", status: int = 0, problem: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, fix=fix)
        self.status = status
        self.problem = dict(problem or {})
        self.code = str(self.problem.get("code") or type(self).code)


class Client(LearningAgain, Auditing, DataSetCalls, Reporting, OwnModels, TrainsModels, MasksBack):
    """Talks to a running service. Safe to use from several threads.

    Requests that change nothing, and those with an idempotency key or an expected revision, are sent again when the
    service is away for a moment; so are resumable uploads, from where they stand.

    Args:
        url: of the service.
        key: API key, or empty where none is needed.
        timeout_seconds: of one request.
    """

    def __init__(self, url: str, *, key: str = "", timeout_seconds: float = 60.0) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(timeout_seconds, connect=5.0)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def label(self, /, image: Path | str | bytes, tags: Sequence[str] | None = None, **settings: Any) -> JsonObject:
        """Label one image and wait for it.

        Args:
            image: file, or its bytes.
            tags: what is on it; None lets the classifier find out.
            settings: `model`, `preset`, `options` (a mapping), `outputs`, `unknown_tags` (`open` if not given), and
                `mapping`: own words and their classes, or the name of a kept mapping.

        Returns:
            `{"job": ..., "item": ...}`, the item done.

        Raises:
            ServiceError
        """
        name, content = ("image", image) if isinstance(image, bytes) else (Path(image).name, Path(image).read_bytes())
        form = _form(settings) | ({"tags": list(tags)} if tags else {})
        answer = self._send(
            "POST", "/v1/label", data=form, files={"image": (name, content)}, headers={"idempotency-key": new_id()}
        ).json()
        if answer["item"]["state"] in ("queued", "running"):
            self.wait(answer["job"]["id"])
            item = self.item(answer["job"]["id"], answer["item"]["id"])
            if item["state"] != "done":
                raise ServiceError(f"The image was not labelled: {item['error']}.", problem=item["error"])
            answer = {"job": self.job(answer["job"]["id"]), "item": item}
        return dict(answer)

    def label_folder(
        self,
        /,
        folder: Path | str,
        *,
        tags: Path | str | Mapping[str, Sequence[str]] | None = None,
        masks: Path | str | None = None,
        progress: Progress | None = None,
        on_check: Progress | None = None,
        **settings: Any,
    ) -> JsonObject:
        """Make a job of all photos under a folder.

        Args:
            folder: searched through and through.
            tags: a table, JSON or COCO file, a folder of VOC XML, or tags by photo name; None takes the tables that
                lie among the photos, and where there is none, the classifier tags all photos.
            masks: folder of masks without classes, made elsewhere, that are merged into the labels: `cow.png`,
                `cow.json` (COCO run lengths) or a folder `cow/` of PNGs for `cow.jpg`; or one COCO file.
            progress: called with `{"sent": bytes, "total": bytes}` while photos are sent.
            on_check: called with the answer of `check_tags` before anything is sent.
            settings: `name`, `model`, `preset`, `options`, `outputs`, `priority`, `webhook`, `learn_as` (name of the
                model of words that are learnt); `unknown_tags` (`learn` if
                not given; with `refuse` nothing is sent if a word is not understood), `mapping`, and `untagged`: what
                becomes of photos that no row lists (`refuse`, `model`, `skip` or `background`); `pages`: of a TIFF of
                many pages, `first` (if not given) or `each` is labelled.

        Returns:
            The job; `wait` for it. Its `notes` say what was understood of the tables, which rows and photos do not
            fit each other, and which files were not sent.

        Raises:
            ServiceError, InvalidTagFile, NoRowMatches
            InvalidMask: there is no such file or folder of masks.
        """

        def check(words: list[tuple[str, ...]]) -> None:
            if words and (on_check is not None or settings.get("unknown_tags") == "refuse"):
                asked = {name: settings[name] for name in ("model", "mapping", "unknown_tags") if name in settings}
                found = self.check_tags(words, **asked)
                if on_check is not None:
                    on_check(found)

        upload, notes, listed = self._send_folder(folder, tags, progress, check, masks)
        body: JsonObject = {"upload": upload, "name": Path(folder).resolve().name}
        if masks is not None:
            with TemporaryFile() as packed:
                pack_files(packed, Path(masks))
                body["masks"] = self._upload(packed, progress)
        if listed:
            body["untagged"] = "refuse"
        key = {"idempotency-key": new_id()}
        job = dict(self._send("POST", "/v1/jobs", json=body | settings, headers=key).json())
        return job | {"notes": list(dict.fromkeys((*notes, *job.get("notes", ()))))}

    def _send_folder(
        self,
        folder: Path | str,
        tags: Path | str | Mapping[str, Sequence[str]] | None,
        progress: Progress | None,
        on_words: Callable[[list[tuple[str, ...]]], None],
        masks: Path | str | None = None,
    ) -> tuple[str, list[str], bool]:
        """Upload all photos under a folder with their tags.

        Args:
            folder: searched through and through.
            tags: as of `label_folder`.
            progress: called while photos are sent.
            on_words: called with the tags of each photo before anything is sent.
            masks: a folder to pass over.

        Returns:
            Id of the upload; what was understood and what does not fit; whether any table lists photos.

        Raises:
            ServiceError, InvalidTagFile, NoRowMatches
        """
        root = Path(folder)
        collection = read_folder(root, but=() if masks is None else (Path(masks),))
        if not collection.photos:
            raise ServiceError(f"There is no photo in {str(root)!r}.", fix="Check the path.")
        assignment = assigned(collection, tags)
        on_words([row.tags for row in assignment.tagged.values() if row.tags])
        with TemporaryFile() as packed:
            pack(packed, root, collection, assignment)
            upload = self._upload(packed, progress)
        return upload, [*assignment.lines(), *collection.notes()], bool(assignment.given)

    def check_tags(self, /, tags: Iterable[str | Sequence[str]], **settings: Any) -> JsonObject:
        """Say what tags would become; nothing is stored.

        Args:
            tags: those of each photo, or words alone.
            settings: `model`, `mapping`, `unknown_tags`.

        Raises:
            ServiceError: with `unknown_tags="refuse"` also for words that are not understood; it names all.
        """
        body = {"tags": [tag if isinstance(tag, str) else list(tag) for tag in tags]} | settings
        return dict(self._send("POST", "/v1/tags/check", json=body).json())

    def mappings(self) -> list[str]:
        """Return the names of the mappings that are kept. Raises ServiceError."""
        return list(self._send("GET", "/v1/mappings").json()["mappings"])

    def mapping(self, name: str) -> dict[str, str]:
        """Return a kept mapping of own words to classes. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/mappings/{name}").json()["words"])

    def keep_mapping(self, name: str, words: Mapping[str, str]) -> None:
        """Keep own words and their classes under a name, for `mapping=NAME`. Raises ServiceError."""
        self._send("PUT", f"/v1/mappings/{name}", json={"words": dict(words)})

    def delete_mapping(self, name: str) -> None:
        """Forget a kept mapping. Raises ServiceError."""
        self._send("DELETE", f"/v1/mappings/{name}")

    def job(self, job: str) -> JsonObject:
        """Return a job as it stands. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/jobs/{job}").json())

    def jobs(self, /, **query: Any) -> Iterator[JsonObject]:
        """Yield jobs, the newest first. Raises ServiceError."""
        yield from self._pages("/v1/jobs", "jobs", query)

    def items(self, /, job: str, **query: Any) -> Iterator[JsonObject]:
        """Yield items; `state`, `tag`, `order` and the other filters of the API are taken. Raises ServiceError."""
        yield from self._pages(f"/v1/jobs/{job}/items", "items", query)

    def item(self, job: str, item: str) -> JsonObject:
        """Return an item as it stands. Raises ServiceError."""
        return dict(self._send("GET", f"/v1/jobs/{job}/items/{item}").json())

    def wait(self, job: str, *, progress: Progress | None = None, timeout_seconds: float | None = None) -> JsonObject:
        """Wait for a job to end.

        Args:
            job: id.
            progress: called with the job whenever it changed.
            timeout_seconds: None waits for ever.

        Returns:
            The job as it ended.

        Raises:
            ServiceError: it is gone, or the time is up.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        seen = -1
        while True:
            found = self.job(job)
            if found["revision"] != seen and progress is not None:
                progress(found)
            seen = found["revision"]
            if found["state"] in _FINAL_STATES:
                return found
            if deadline is not None and time.monotonic() > deadline:
                raise ServiceError(f"Job {job} is still {found['state']}.", fix="Wait longer.")
            time.sleep(0.25)

    def cancel(self, job: str) -> JsonObject:
        """Cancel what has not begun. Raises ServiceError."""
        return dict(self._send("POST", f"/v1/jobs/{job}/cancel").json())

    def retry(self, job: str) -> JsonObject:
        """Try failed items again. Raises ServiceError."""
        return dict(self._send("POST", f"/v1/jobs/{job}/retry").json())

    def delete(self, job: str) -> None:
        """Delete a job and all that it made. Raises ServiceError."""
        self._send("DELETE", f"/v1/jobs/{job}")

    def decide(self, job: str, item: str, decision: str | None) -> JsonObject:
        """Accept or reject a label, or take that back. Raises ServiceError."""
        return dict(self._send("PATCH", f"/v1/jobs/{job}/items/{item}", json={"decision": decision}).json())

    def artifact(self, job: str, item: str, name: str) -> bytes:
        """Return an artifact's bytes. Raises ServiceError."""
        return self._send("GET", f"/v1/jobs/{job}/items/{item}/artifacts/{name}").content

    def export(
        self,
        job: str,
        formats: str | Sequence[str],
        target: Path | str,
        *,
        decisions: str = "all",
        options: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Have a job exported, and download the zip.

        Args:
            job: id.
            formats: names that `GET /v1/formats` lists; of several, each has a folder in the zip.
            target: file to write; it appears whole or not at all.
            decisions: `all`, `accepted` or `not_rejected`.
            options: settings of the formats.
            progress: called with the export as it goes on and as it ended; its `left_out` names photos that it lacks.

        Raises:
            ServiceError
        """
        names = [formats] if isinstance(formats, str) else list(formats)
        wanted = {"formats": names, "decisions": decisions, "options": dict(options or {})}
        return self._exported(f"/v1/jobs/{job}/exports", wanted, Path(target), progress)

    def _exported(self, path: str, wanted: JsonObject, target: Path, progress: Progress | None) -> Path:
        return self._download(self._built(path, wanted, progress)["download_url"], target)

    def _built(self, path: str, wanted: JsonObject, progress: Progress | None) -> JsonObject:
        """Ask for an export or a report, and wait until it is done; `path` ends in the one or the other."""
        kind = path.rpartition("/")[2]
        found = dict(self._send("POST", path, json=wanted).json())
        while found["state"] in ("queued", "running"):
            time.sleep(0.25)
            found = dict(self._send("GET", f"/v1/jobs/{found['job']}/{kind}/{found['id']}").json())
            if progress is not None:
                progress(found)
        if progress is not None:
            progress(found)
        if found["state"] == "failed":
            raise ServiceError(f"The {kind[:-1]} failed: {found['error']['detail']}", problem=found["error"])
        return found

    def _download(self, path: str, target: Path, **arguments: Any) -> Path:
        try:
            with self._http.stream("GET", path, **arguments) as answer, whole_file(target) as file:
                _raise_for(answer)
                for piece in answer.iter_bytes():
                    file.write(piece)
        except httpx.HTTPError as error:
            raise ServiceError(f"The download broke off: {error}", fix="Try again.") from None
        return target

    def _pages(self, path: str, field: str, query: Mapping[str, Any]) -> Iterator[JsonObject]:
        cursor = None
        while True:
            page = self._send("GET", path, params=dict(query) | ({"cursor": cursor} if cursor else {})).json()
            yield from page[field]
            cursor = page["next"]
            if cursor is None:
                return

    def _upload(self, file: IO[bytes], progress: Progress | None) -> str:
        length = file.seek(0, io.SEEK_END)
        begun = self._send("POST", "/v1/uploads", headers={"upload-length": str(length), "tus-resumable": "1.0.0"})
        address = begun.headers["location"]
        offset = failures = 0
        moved = time.monotonic()
        while offset < length:
            file.seek(offset)
            headers = {
                "upload-offset": str(offset),
                "tus-resumable": "1.0.0",
                "content-type": "application/offset+octet-stream",
            }
            try:
                answer = self._http.patch(address, content=file.read(_PIECE_BYTES), headers=headers)
                _raise_for(answer)
                offset, failures, moved = int(answer.headers["upload-offset"]), 0, time.monotonic()
            except (httpx.TransportError, ServiceError) as error:
                failures += 1
                passes = not isinstance(error, ServiceError) or error.status in {409, *_PASSING}
                if not passes or time.monotonic() - moved > UPLOAD_PATIENCE_SECONDS:
                    raise _as_service_error(error) from None
                time.sleep(_wait_seconds(failures))
                offset = int(self._send("HEAD", address).headers["upload-offset"])
            if progress is not None:
                progress({"sent": offset, "total": length})
        return str(address).rpartition("/")[2]

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        again = method in ("GET", "HEAD") or bool(_REPEATABLE & arguments.get("headers", {}).keys())
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS or not again
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                if last:
                    raise _as_service_error(error) from None
            else:
                if answer.status_code not in _PASSING or last:
                    _raise_for(answer)
                    return answer
            time.sleep(_wait_seconds(attempt))
        raise ServiceError("The service does not answer.")


def _form(settings: Mapping[str, Any]) -> JsonObject:
    return {
        name: json.dumps(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if value is not None
    }


def _raise_for(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    answer.read()
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or f"The service answered {answer.status_code}."
    raise ServiceError(detail, fix=problem.get("fix", ""), status=answer.status_code, problem=problem)


def _as_service_error(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    return ServiceError(f"The service does not answer: {error}", fix="Is it running? `toco up` starts it.")


def _wait_seconds(failures: int) -> float:
    return float(min(5.0, 0.25 * 2**failures))
