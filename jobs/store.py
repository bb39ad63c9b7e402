"""Object storage behind one URL: images in, artifacts and exports out.

Keys are deterministic, so that doing a piece of work twice writes the same objects again:

    jobs/{job}/images/{item}            the photo as it was sent
    jobs/{job}/artifacts/{item}/{name}  what the worker made of it
    jobs/{job}/revisions/{item}/{folder}/{name}  what a later revision of the label changed
    jobs/{job}/relearnings/{id}.safetensors      what was learnt from corrected labels
    jobs/{job}/tokens/{item}            what its photo teaches of words that no model knows
    jobs/{job}/exports/{export}.zip     a whole job in one format
    trainings/{training}/photos/{number}  a photo that was sent to train on
    trainings/{training}/set.json       the photos of a training and their tags
    trainings/{training}/run/...        what it has made so far, checkpoints among it
    uploads/{upload}/{offset}-{sender}  the pieces of a resumable upload
    models/{workspace}/{name}/{digest}.zip   a version of a published model
"""

import datetime as dt
import math
import mimetypes
import os
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ParamSpec, Self, TypeVar, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, ObjectStore, S3Store, from_url

from toco.jobs.settings import InvalidSettings, Settings, masked_url
from toco.model.errors import TocoError, shown

P = ParamSpec("P")
T = TypeVar("T")

STREAM_CHUNK_BYTES = 1024 * 1024
_DELETED_AT_ONCE = 1000  # S3 takes no more in one request
_PROBE = "health/probe"
_PROBE_SECONDS = 60.0  # between two writes of it
_UPLOAD_BUFFER_BYTES = 8 * 1024 * 1024


class ObjectNotFound(TocoError):
    """No object has this key."""

    code = "object_not_found"
    kind = "not_found"


class InvalidObjectKey(TocoError):
    """No object can have this key."""

    code = "invalid_object_key"
    kind = "invalid"


class StorageFull(TocoError):
    """The object store has no room left; works again once there is some."""

    code = "storage_full"
    kind = "unavailable"


class StorageUnavailable(TocoError):
    """The object store does not answer, or refuses us."""

    code = "storage_unavailable"
    kind = "unavailable"


def require_key(key: str) -> str:
    """Return a key that a user named, if an object can have it.

    Raises:
        InvalidObjectKey: an empty, `.` or `..` part, or a sign that is no character (control, lone surrogate).
    """
    wrong_signs = any(unicodedata.category(sign) in ("Cc", "Cs") for sign in key)
    if wrong_signs or any(part in ("", ".", "..") for part in key.split("/")):
        raise InvalidObjectKey(f"{shown(key)} is no key of the object store.", fix="Use a key such as inputs/1.jpg.")
    return key


def image_key(job: str, item: str) -> str:
    """Key of an item's photo."""
    return f"jobs/{job}/images/{item}"


def masks_key(job: str, item: str, digest: str) -> str:
    """Key of the masks without classes that came with an item's photo."""
    return f"jobs/{job}/masks/{item}-{digest}"


def artifact_key(job: str, item: str, name: str) -> str:
    """Key of one artifact of an item."""
    return f"jobs/{job}/artifacts/{item}/{name}"


def revision_key(job: str, item: str, folder: str, name: str) -> str:
    """Key of one artifact of a later revision of an item."""
    return f"jobs/{job}/revisions/{item}/{folder}/{name}"


def relearning_key(job: str, relearning: str) -> str:
    """Key of what a job learnt again once."""
    return f"jobs/{job}/relearnings/{relearning}.safetensors"


def tokens_key(job: str, item: str) -> str:
    """Key of the tokens of an item's photo, from which words are learnt."""
    return f"jobs/{job}/tokens/{item}"


def export_key(job: str, export: str) -> str:
    """Key of a finished export."""
    return f"jobs/{job}/exports/{export}.zip"


def report_key(job: str, report: str) -> str:
    """Key of what a report says."""
    return f"jobs/{job}/reports/{report}.json"


def report_part_key(job: str, report: str, part: int) -> str:
    """Key of what was found out for a report so far, a piece."""
    return f"jobs/{job}/reports/{report}-{part:06d}.json"


def model_key(workspace: str, name: str, digest: str) -> str:
    """Key of the files of a version of a published model."""
    return f"models/{workspace}/{name}/{digest}.zip"


def job_prefix(job: str) -> str:
    """Prefix of everything stored for a job."""
    return f"jobs/{job}/"


def training_prefix(training: str) -> str:
    """Prefix of everything stored for a training."""
    return f"trainings/{training}/"


def training_photo_key(training: str, number: int) -> str:
    """Key of a photo that was sent to train on."""
    return f"{training_prefix(training)}photos/{number:06d}"


def training_set_key(training: str) -> str:
    """Key of the list of a training's photos."""
    return f"{training_prefix(training)}set.json"


def training_run_prefix(training: str) -> str:
    """Prefix of what a training has made so far."""
    return f"{training_prefix(training)}run/"


def upload_prefix(upload: str) -> str:
    """Prefix of the pieces of a resumable upload."""
    return f"uploads/{upload}/"


def upload_key(upload: str, offset: int, sender: str) -> str:
    """Key of the piece of an upload that starts at a byte offset, as one request sent it; keys sort by offset."""
    return f"{upload_prefix(upload)}{offset:015d}-{sender}"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store knows of an object.

    Attributes:
        key: its key.
        size: in bytes.
        etag: entity tag with its quotes.
        modified: when it was written.
    """

    key: str
    size: int
    etag: str
    modified: dt.datetime


def media_type(name: str) -> str:
    """Return the media type of an artifact by its name."""
    return mimetypes.types_map.get(f".{name.rpartition('.')[2].lower()}", "application/octet-stream")


@contextmanager
def _typed_errors(key: str) -> Iterator[None]:
    """Turn what the store raises into our errors."""
    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise ObjectNotFound(f"No object {key!r}.", fix="It may have been deleted with its job.") from None
    except (BaseError, OSError) as error:
        first = str(error).partition("\n")[0]
        if "StorageFull" in str(error) or "os error 28" in first or "InsufficientStorage" in str(error):
            raise StorageFull(
                f"No room for {key!r}.", fix="Free space in the object store; the work is retried."
            ) from None
        raise StorageUnavailable(f"The object store failed at {key!r}: {first}", fix="Try again later.") from None


def object_store(settings: Settings) -> ObjectStore:
    """Open the store that the settings name; a local folder is made if it is missing.

    Raises:
        InvalidSettings: the URL or an option does not fit.
    """
    url = settings.effective_store_url
    options: dict[str, Any] = {name: value.get_secret_value() for name, value in settings.store_options.items()}
    try:
        if url.startswith("file://"):
            return LocalStore(_local_root(url), mkdir=True, automatic_cleanup=True)
        if url.startswith("memory://"):
            return MemoryStore()
        client = {"allow_http": True} if options.get("endpoint", "").startswith("http://") else {}
        return from_url(url, config=cast("Any", options), client_options=cast("Any", client))
    except (BaseError, OSError, ValueError, TypeError) as error:
        raise InvalidSettings(
            f"TOCO_STORE_URL {masked_url(url)!r} cannot be opened: {str(error).partition(chr(10))[0]}",
            fix="Check the URL and TOCO_STORE_OPTIONS.",
        ) from None


def _local_root(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


class Store:
    """The object store. Safe to use from several threads.

    What a method that writes has put into a local folder is on disk when it returns, as in a remote store.

    Args:
        settings: name the store.

    Raises:
        InvalidSettings: as `object_store`.
    """

    def __init__(self, settings: Settings) -> None:
        url = settings.effective_store_url
        self._store = store = object_store(settings)
        self._root = _local_root(url) if url.startswith("file://") else None
        # LocalStore and MemoryStore keep no content type and cannot sign.
        self._remote = isinstance(store, S3Store | GCSStore | AzureStore)
        self._probed_at = -math.inf

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store that the settings name. Raises InvalidSettings as `object_store` does."""
        return cls(settings)

    def _do(self, operation: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Carry an operation of obstore out. A store with a time limit does it elsewhere."""
        return operation(*arguments, **named)

    def put(self, key: str, content: bytes | IO[bytes]) -> None:
        """Write an object whole; readers see the old one or the new one, never a part.

        Raises:
            StorageFull, StorageUnavailable
        """
        attributes = {"Content-Type": media_type(key)} if self._remote else None
        with _typed_errors(key):
            self._do(self._write, key, content, attributes)

    def get(self, key: str) -> bytes:
        """Read a whole object.

        Raises:
            ObjectNotFound, StorageUnavailable
        """
        with _typed_errors(key):
            return self._do(lambda: bytes(obstore.get(self._store, key).bytes()))

    def head(self, key: str) -> StoredObject:
        """Describe an object.

        Raises:
            ObjectNotFound, StorageUnavailable
        """
        with _typed_errors(key):
            return _described(dict(self._do(obstore.head, self._store, key)))

    def under(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects under a prefix. Raises StorageUnavailable."""
        with _typed_errors(prefix):
            batches = iter(obstore.list(self._store, prefix))
            while batch := self._do(next, batches, None):
                yield from (_described(dict(meta)) for meta in batch)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; those that are gone already do not matter. Raises StorageUnavailable."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            some = keys[start : start + _DELETED_AT_ONCE]
            try:
                with _typed_errors(some[0]):
                    self._do(obstore.delete, self._store, some)
            except ObjectNotFound:  # a local folder stops at the first that is gone
                for key in some:
                    with suppress(ObjectNotFound), _typed_errors(key):
                        self._do(obstore.delete, self._store, key)

    def delete_prefix(self, prefix: str) -> int:
        """Delete everything under a prefix and return how many objects that were. Raises StorageUnavailable."""
        keys = [found.key for found in self.under(prefix)]
        self.delete(keys)
        return len(keys)

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """Write a large object piece by piece; it appears when the block ends well, and never if it fails.

        Raises:
            StorageFull, StorageUnavailable
        """
        attributes = {"Content-Type": media_type(key)} if self._remote else None
        with _typed_errors(key):
            sink = obstore.open_writer(
                self._store, key, attributes=cast("Any", attributes), buffer_size=_UPLOAD_BUFFER_BYTES
            )
            with sink:
                yield cast("IO[bytes]", sink)
            self._sync(key)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `end` (exclusive) of an object in pieces.

        Raises:
            ObjectNotFound, StorageUnavailable
        """
        with _typed_errors(key):
            answer = await obstore.get_async(self._store, key, options={"range": (start, end)})
            async for piece in answer.stream(min_chunk_size=STREAM_CHUNK_BYTES):
                yield bytes(piece)

    def signed_url(self, key: str, *, seconds: int) -> str | None:
        """Return a URL that anyone may read the object by for a time, or None where the store cannot sign."""
        if not self._remote:
            return None
        with _typed_errors(key):
            return obstore.sign(cast("S3Store", self._store), "GET", key, dt.timedelta(seconds=seconds))

    def _write(self, key: str, content: bytes | IO[bytes], attributes: dict[str, str] | None) -> None:
        obstore.put(self._store, key, content, attributes=cast("Any", attributes))
        self._sync(key)

    def _sync(self, key: str) -> None:
        """Write an object of a local folder to disk, and the names that lead to it."""
        if self._root is None:
            return
        path = self._root / key
        for part in (path, *path.parents[: len(Path(key).parts)]):
            with suppress(FileNotFoundError):  # deleted meanwhile
                descriptor = os.open(part, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def check(self) -> None:
        """Read a small object; write it first where it is missing, or was not written for a while.

        Raises:
            StorageFull, StorageUnavailable
        """
        if time.monotonic() - self._probed_at < _PROBE_SECONDS:
            with suppress(ObjectNotFound):
                self.get(_PROBE)
                return
        self.put(_PROBE, b"ok")
        self._probed_at = time.monotonic()
        self.get(_PROBE)


def _described(meta: dict[str, Any]) -> StoredObject:
    etag = str(meta.get("e_tag") or f'"{meta["size"]}-{meta["last_modified"].timestamp()}"')
    return StoredObject(
        key=str(meta["path"]),
        size=int(meta["size"]),
        etag=etag if etag.startswith(('"', "W/")) else f'"{etag}"',
        modified=meta["last_modified"],
    )
