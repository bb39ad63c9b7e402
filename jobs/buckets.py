"""A user's own buckets: photos come from a prefix of one, and what was made of them goes under another.

S3 (and whatever speaks its protocol), Google Cloud Storage and Azure, by obstore. Credentials are those of the usual
variables of each (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`,
`AZURE_STORAGE_ACCOUNT_NAME`, ...) or of the machine itself; they are neither kept nor written anywhere.
"""

import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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

    def send(
        self, folder: Path, names: list[str], on_object: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        """Copy files of a folder under the prefix. Raises BucketUnavailable."""
        self._each(lambda name: self.put(name, folder / name), names, "written", on_object)

    def delete(self, names: list[str]) -> None:
        """Delete objects under the prefix. Raises BucketUnavailable."""
        if names:
            with self._told("written"):
                obstore.delete(self._store, names)

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


class Mirror:
    """A folder of this machine, and the prefix of a bucket that holds the same.

    Args:
        bucket: the prefix.
        folder: that stands for it, empty at first.
        last: file name that says of its folder that it is whole: it is deleted first and sent last.
    """

    def __init__(self, bucket: Bucket, folder: Path, *, last: str) -> None:
        self._bucket = bucket
        self._folder = folder
        self._last = last
        self._there: dict[str, _State] = {}

    def fetch(self, on_object: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Copy what is under the prefix into the folder. Raises BucketUnavailable, InvalidOption: there is nothing."""
        self._bucket.fetch(self._folder, on_object)
        self._there = self._here()

    def send_whole(self, top: str) -> None:
        """Send what changed in those folders below `top` that are whole. Raises BucketUnavailable."""
        here = self._here(top)
        whole = {name.rpartition("/")[0] for name in here if name.rpartition("/")[2] == self._last}
        self._send({name: state for name, state in here.items() if name.rpartition("/")[0] in whole})

    def send(self, on_object: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Make the prefix hold what the folder holds. Raises BucketUnavailable."""
        here = self._here()
        gone = [name for name in self._there if name not in here]
        self._bucket.delete(gone)
        for name in gone:
            del self._there[name]
        self._send(here, on_object)

    def _send(
        self, here: dict[str, "_State"], on_object: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        changed = [name for name, state in here.items() if self._there.get(name) != state]
        lasts = [name for name in changed if name.rpartition("/")[2] == self._last]
        self._bucket.delete([name for name in lasts if name in self._there])
        self._bucket.send(self._folder, sorted(set(changed).difference(lasts)), on_object)
        self._bucket.send(self._folder, lasts)
        self._there |= {name: here[name] for name in changed}

    def _here(self, top: str = "") -> dict[str, "_State"]:
        found = {}
        for path in sorted((self._folder / top).rglob("*")):
            with suppress(FileNotFoundError):  # photos are written meanwhile, by files that are renamed
                state = path.stat()
                if stat.S_ISREG(state.st_mode):
                    found[path.relative_to(self._folder).as_posix()] = state.st_mtime_ns, state.st_size
        return found


_State = tuple[int, int]  # when a file was written, and its bytes


def _first_line(error: Exception) -> str:
    """Return what went wrong without what follows: the store's answer may quote the request that it signed."""
    return str(error).partition("\n")[0][:300]
