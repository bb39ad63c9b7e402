"""A user's own buckets: photos come from a prefix of one, and what was made of them goes under another.

S3 (and whatever speaks its protocol), Google Cloud Storage and Azure, by obstore. Credentials are those of the usual
variables of each (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`,
`AZURE_STORAGE_ACCOUNT_NAME`, ...) or of the machine itself; they are neither kept nor written anywhere.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from toco.jobs.settings import masked_url
from toco.model.errors import InvalidOption, TocoError
from toco.model.photos.names import MAX_PART_BYTES, InvalidName, require_relative

SCHEMES: Final = ("s3", "gs", "az", "azure", "abfs")

_BUCKET: Final = re.compile(rf"^({'|'.join(SCHEMES)})://", re.IGNORECASE)
_AT_ONCE: Final = 8  # objects on their way


class BucketUnavailable(TocoError):
    """A bucket cannot be read or written."""

    code = "bucket_unavailable"
    kind = "unavailable"


def is_bucket(place: str) -> bool:
    """Return whether a place is an address in a bucket, not a path."""
    return bool(_BUCKET.match(place))


class Bucket:
    """A prefix of a bucket.

    Args:
        url: such as `s3://bucket/farm/photos`, `gs://bucket/photos` or `az://container/photos`.

    Raises:
        InvalidOption: no address of a bucket.
    """

    def __init__(self, url: str) -> None:
        self.url = masked_url(url)
        try:
            # Plain HTTP only where the user's own variables name such an endpoint; those of the providers have none.
            self._store: ObjectStore = from_url(url, client_options={"allow_http": True})
        except (BaseError, ValueError, TypeError) as error:
            raise InvalidOption(
                f"{self.url!r} cannot be opened: {_first_line(error)}",
                fix="Write for example s3://bucket/photos.",
            ) from None

    def names(self) -> list[str]:
        """List the objects under the prefix by their paths below it. Raises BucketUnavailable."""
        with self._told("listed"):
            found = [str(entry["path"]) for batch in obstore.list(self._store) for entry in batch]
        return sorted(name for name in found if not name.endswith("/"))

    def fetch(self, folder: Path, on_object: Callable[[int, int], None] = lambda _done, _all: None) -> list[str]:
        """Copy all objects under the prefix into a folder.

        Args:
            folder: that is there.
            on_object: called with the number of objects copied and of all.

        Returns:
            Names that no folder can hold; they are left out.

        Raises:
            BucketUnavailable
            InvalidOption: there is no object under the prefix.
        """
        names = self.names()
        if not names:
            raise InvalidOption(f"There is nothing under {self.url!r}.", fix="Check the bucket and the prefix.")
        kept: list[str] = []
        left_out: list[str] = []
        for name in names:
            try:
                fits = all(len(part.encode()) <= MAX_PART_BYTES for part in require_relative(name).split("/"))
            except InvalidName:
                fits = False
            (kept if fits else left_out).append(name)

        def copy(name: str) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for part in obstore.get(self._store, name).stream():
                    file.write(part)

        self._each(copy, kept, "read", on_object)
        return left_out

    def send(self, folder: Path, on_object: Callable[[int, int], None] = lambda _done, _all: None) -> int:
        """Copy all files of a folder under the prefix; return how many. Raises BucketUnavailable."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._each(
            lambda name: self.put(name, folder / name),
            [path.relative_to(folder).as_posix() for path in files],
            "written",
            on_object,
        )
        return len(files)

    def put(self, name: str, file: Path) -> None:
        """Copy a file under the prefix, whole or not at all. Raises BucketUnavailable."""
        with self._told("written"):
            obstore.put(self._store, name, file)

    def _each(
        self, work: Callable[[str], None], names: list[str], what: str, on_object: Callable[[int, int], None]
    ) -> None:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bucket") as pool, self._told(what):
            waiting = [pool.submit(work, name) for name in names]
            try:
                for done, future in enumerate(waiting, 1):
                    future.result()
                    on_object(done, len(names))
            finally:
                for future in waiting:
                    future.cancel()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError, PermissionError) as error:
            raise BucketUnavailable(
                f"{self.url!r} cannot be {what}: {_first_line(error)}",
                fix="Check the address, its credentials and its region.",
            ) from None


def _first_line(error: Exception) -> str:
    """Return what went wrong without what follows: the store's answer may quote the request that it signed."""
    return str(error).partition("\n")[0][:300]
