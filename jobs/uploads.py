"""Resumable uploads: pieces in the object store, the offset in the records.

Any API process may take the next piece. What arrived of a broken request is kept, which is the point of it all.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, cast

from anyio import CancelScope
from anyio.to_thread import run_sync
from redis import RedisError

from toco.jobs.expired_uploads import remove_upload
from toco.jobs.ids import new_id
from toco.jobs.job import DEFAULT_WORKSPACE
from toco.jobs.keys import UPLOADS, lock_of, upload_record
from toco.jobs.migrations import SCHEMA
from toco.jobs.records import Records
from toco.jobs.settings import Settings
from toco.jobs.store import Store, upload_key, upload_prefix
from toco.model.errors import TocoError

LOCK_SECONDS: Final = 10  # after which an upload goes on whose server died; clients must wait that long
_IN_MEMORY_BYTES: Final = 1024 * 1024


class UploadNotFound(TocoError):
    """No upload has this id; it may have expired."""

    code = "upload_not_found"
    kind = "not_found"


class UploadConflict(TocoError):
    """The piece does not go on where the upload stands, or another piece is being sent."""

    code = "upload_conflict"
    kind = "conflict"


class UploadTooLarge(TocoError):
    """The upload is larger than allowed, or than it was said to be."""

    code = "upload_too_large"
    kind = "too_large"


@dataclass(frozen=True, slots=True)
class Upload:
    """A resumable upload as it stands.

    Attributes:
        id: of the upload.
        length: bytes in all.
        offset: bytes received.
        name: as the client calls it.
        expires_at: seconds since 1970.
        workspace: whose keys see it.
    """

    id: str
    length: int
    offset: int
    name: str
    expires_at: float
    workspace: str

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there."""
        return self.offset == self.length


class Uploads:
    """Resumable uploads.

    Args:
        settings: limits.
        records: where each of them stands.
        store: their pieces.
        sees: the only workspace whose uploads there are for the caller; None for all.
    """

    def __init__(self, settings: Settings, records: Records, store: Store, *, sees: str | None = None) -> None:
        self._settings = settings
        self._sees = sees
        self._records = records
        self._redis = records.redis
        self._store = store

    def create(self, *, length: int, name: str, workspace: str = DEFAULT_WORKSPACE) -> Upload:
        """Begin an upload.

        Raises:
            UploadTooLarge
        """
        if length > self._settings.max_upload_bytes:
            raise UploadTooLarge(
                f"An upload of {length:,} bytes; the limit is {self._settings.max_upload_bytes:,}.",
                fix="Send several archives.",
            )
        upload = new_id()
        expires = time.time() + self._settings.upload_expiry_hours * 3600
        self._redis.hset(
            upload_record(upload),
            mapping={
                "schema": SCHEMA,
                "length": length,
                "offset": 0,
                "name": name,
                "expires_at": expires,
                "workspace": workspace,
            },
        )
        self._redis.zadd(UPLOADS, {upload: expires})
        return self.get(upload)

    def get(self, upload: str) -> Upload:
        """Read an upload. Raises UploadNotFound."""
        found = self._redis.hgetall(upload_record(upload)) if upload.isalnum() else {}
        seen = self._sees is None or found.get("workspace", DEFAULT_WORKSPACE) == self._sees
        if "length" not in found or float(found["expires_at"]) < time.time() or not seen:
            raise UploadNotFound(f"No upload {upload!r}.", fix="It may have expired; begin again.")
        return Upload(
            id=upload,
            length=int(found["length"]),
            offset=int(found["offset"]),
            name=found["name"],
            expires_at=float(found["expires_at"]),
            workspace=found.get("workspace", DEFAULT_WORKSPACE),
        )

    async def append(
        self,
        upload: str,
        offset: int,
        body: AsyncIterator[bytes],
        *,
        storing: Callable[..., Awaitable[None]] = run_sync,
    ) -> Upload:
        """Take the next piece; a body that ends early is a shorter piece.

        Args:
            upload: which.
            offset: where the piece begins.
            body: the piece.
            storing: calls a function that writes to the store on a thread.

        Raises:
            UploadNotFound, UploadConflict, UploadTooLarge, StorageFull, StorageUnavailable
        """
        await run_sync(self.get, upload)
        sender = new_id()
        async with self._locked(upload, sender):
            found = await run_sync(self.get, upload)
            if offset != found.offset:
                raise UploadConflict(
                    f"The piece begins at {offset}, the upload stands at {found.offset}.", fix="Go on from there."
                )
            with SpooledTemporaryFile(_IN_MEMORY_BYTES) as piece:
                size = await self._receive(found, body, cast("IO[bytes]", piece))
                if size:
                    piece.seek(0)
                    await storing(self._store.put, upload_key(upload, offset, sender), cast("IO[bytes]", piece))
                    await run_sync(self._take, upload, sender, offset, size)
            return await run_sync(self.get, upload)

    @asynccontextmanager
    async def _locked(self, upload: str, sender: str) -> AsyncIterator[None]:
        """Keep other pieces out for the time of the block, and for seconds more if this process dies."""
        lock = lock_of(upload_record(upload))
        if not await run_sync(partial(self._redis.set, lock, sender, nx=True, ex=LOCK_SECONDS)):
            raise UploadConflict("Another piece is being sent.", fix="Wait for it, then ask for the offset.")
        keeper = asyncio.create_task(self._keep(lock))
        try:
            yield
        finally:
            keeper.cancel()
            with CancelScope(shield=True):
                await run_sync(partial(self._records.scripts.unlock, args=[lock, sender]))

    async def _keep(self, lock: str) -> None:
        while True:
            await asyncio.sleep(LOCK_SECONDS / 3)
            with suppress(RedisError):
                await run_sync(self._redis.expire, lock, LOCK_SECONDS)

    def _take(self, upload: str, sender: str, offset: int, size: int) -> None:
        """Note a piece that was stored, unless the lock was lost on the way and another one came first."""
        record = upload_record(upload)
        if not self._records.scripts.take_piece(args=[record, lock_of(record), sender, offset, size]):
            raise UploadConflict("Another piece was sent meanwhile.", fix="Ask for the offset and go on from there.")

    def delete(self, upload: str) -> None:
        """Give an upload up. Raises UploadNotFound."""
        self.get(upload)
        remove_upload(self._records, self._store, upload)

    def copy_to(self, upload: str, file: IO[bytes]) -> None:
        """Write a finished upload into a file.

        Raises:
            UploadNotFound, StorageUnavailable
            UploadConflict: it is not finished.
        """
        found = self.get(upload)
        if not found.is_complete:
            raise UploadConflict(
                f"The upload has {found.offset:,} of {found.length:,} bytes.", fix="Send the rest, then make the job."
            )
        senders = self._redis.hgetall(upload_record(upload))
        for piece in sorted(self._store.under(upload_prefix(upload)), key=lambda piece: piece.key):
            offset, _, sender = piece.key.rpartition("/")[2].partition("-")
            # Another one was stored by a request that died before saying so; its bytes came again.
            if file.tell() == int(offset) and sender == senders.get(f"piece:{int(offset)}", ""):
                file.write(self._store.get(piece.key))
        file.seek(0)

    async def _receive(self, found: Upload, body: AsyncIterator[bytes], piece: IO[bytes]) -> int:
        size = 0
        async for part in body:
            size += len(part)
            if found.offset + size > found.length:
                raise UploadTooLarge(f"More bytes than the {found.length:,} that were announced.")
            await run_sync(piece.write, part)
        return size


def described(upload: Upload) -> dict[str, Any]:
    """Return the headers that tell where an upload stands."""
    return {
        "upload-offset": str(upload.offset),
        "upload-length": str(upload.length),
        "tus-resumable": "1.0.0",
        "cache-control": "no-store",
    }
