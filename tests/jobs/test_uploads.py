"""Pieces of an upload: each counts once, whoever died while sending it."""

import asyncio
import io

import pytest

from toco.jobs import uploads as module
from toco.jobs.store import Store
from toco.jobs.uploads import LOCK_SECONDS, UploadConflict, UploadNotFound, Uploads, UploadTooLarge, described
from toco.service.client.client import UPLOAD_PATIENCE_SECONDS


@pytest.fixture
def uploads(settings, records) -> Uploads:
    return Uploads(settings, records, Store.open(settings))


async def body(*parts: bytes):
    for part in parts:
        yield part


def whole(uploads: Uploads, upload: str) -> bytes:
    file = io.BytesIO()
    uploads.copy_to(upload, file)
    return file.read()


def test_pieces_make_the_whole(uploads):
    upload = uploads.create(length=6, name="a.zip").id
    for offset, piece in ((0, b"ab"), (2, b"cdef")):
        asyncio.run(uploads.append(upload, offset, body(piece)))
    assert uploads.get(upload).is_complete
    assert whole(uploads, upload) == b"abcdef"


def test_where_an_upload_stands_is_told(uploads):
    upload = uploads.create(length=6, name="a.zip").id
    asyncio.run(uploads.append(upload, 0, body(b"abc")))
    told = described(uploads.get(upload))
    assert (told["upload-offset"], told["upload-length"]) == ("3", "6")


def test_more_than_was_announced_is_refused_and_changes_nothing(uploads):
    upload = uploads.create(length=4, name="a.zip").id
    asyncio.run(uploads.append(upload, 0, body(b"ab")))
    with pytest.raises(UploadTooLarge):
        asyncio.run(uploads.append(upload, 2, body(b"cde")))
    assert uploads.get(upload).offset == 2


def test_a_piece_at_another_place_is_a_conflict(uploads):
    upload = uploads.create(length=4, name="a.zip").id
    with pytest.raises(UploadConflict) as refusal:
        asyncio.run(uploads.append(upload, 1, body(b"b")))
    assert refusal.value.code == "upload_conflict"


@pytest.mark.parametrize("upload", ["01abc", "../x", ""])
def test_an_upload_that_is_not_there(uploads, upload):
    with pytest.raises(UploadNotFound) as refusal:
        uploads.get(upload)
    assert refusal.value.code == "upload_not_found"


def test_a_second_sender_is_kept_out_while_the_first_one_sends(uploads, records):
    upload = uploads.create(length=4, name="a.zip").id

    async def two() -> None:
        async def slow():
            yield b"ab"
            with pytest.raises(UploadConflict, match="Another piece"):
                await uploads.append(upload, 0, body(b"xy"))

        await uploads.append(upload, 0, slow())

    asyncio.run(two())
    assert (uploads.get(upload).offset, records.redis.exists(f"toco:upload:{upload}:lock")) == (2, 0)


def test_the_lock_of_a_server_that_died_is_gone_before_clients_lose_patience(uploads, records):
    upload = uploads.create(length=4, name="a.zip").id

    async def dying():
        yield b"ab"
        assert 0 < records.redis.ttl(f"toco:upload:{upload}:lock") <= LOCK_SECONDS

    asyncio.run(uploads.append(upload, 0, dying()))
    assert LOCK_SECONDS < UPLOAD_PATIENCE_SECONDS / 2


def test_the_lock_is_kept_while_a_slow_client_sends(uploads, records, monkeypatch):
    monkeypatch.setattr(module, "LOCK_SECONDS", 3)
    upload = uploads.create(length=4, name="a.zip").id

    def milliseconds_left():
        return records.redis.pttl(f"toco:upload:{upload}:lock")

    async def stalling():
        yield b"ab"
        before = milliseconds_left()
        while (left := milliseconds_left()) <= before:
            assert left > 0, "it ran out"
            before = left
            await asyncio.sleep(0.02)
        yield b"cd"

    asyncio.run(uploads.append(upload, 0, stalling()))
    assert whole(uploads, upload) == b"abcd"


def test_a_late_sender_whose_lock_ran_out_changes_nothing(uploads, records):
    upload = uploads.create(length=4, name="a.zip").id

    async def late():
        yield b"xx"
        records.redis.delete(f"toco:upload:{upload}:lock")
        await uploads.append(upload, 0, body(b"abcd"))

    with pytest.raises(UploadConflict, match="meanwhile"):
        asyncio.run(uploads.append(upload, 0, late()))
    assert whole(uploads, upload) == b"abcd"


def test_a_late_sender_leaves_the_lock_of_another_alone(uploads, records):
    upload = uploads.create(length=4, name="a.zip").id
    lock = f"toco:upload:{upload}:lock"

    async def late():
        yield b"xx"
        records.redis.set(lock, "another")

    with pytest.raises(UploadConflict):
        asyncio.run(uploads.append(upload, 0, late()))
    assert records.redis.get(lock) == "another"
