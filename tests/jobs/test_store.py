"""The store: whole objects or none, typed errors, keys that sort."""

import asyncio
from pathlib import Path

import pytest

from toco.jobs.settings import InvalidSettings, load_settings
from toco.jobs.store import ObjectNotFound, Store, artifact_key, media_type, upload_key


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path) -> Store:
    url = f"file://{tmp_path}/a folder" if request.param == "file" else "memory://"
    return Store.open(load_settings(store_url=url.replace(" ", "%20"), _env_file=None))


def test_an_object_is_read_as_it_was_written(store):
    store.put("a/b.png", b"hello")
    assert store.get("a/b.png") == b"hello"
    found = store.head("a/b.png")
    assert (found.size, found.etag[0]) == (5, '"')
    store.put("a/b.png", b"again")
    assert store.get("a/b.png") == b"again"
    store.check()


def test_what_is_not_there_is_a_typed_error(store):
    for ask in (store.get, store.head):
        with pytest.raises(ObjectNotFound, match="gone"):
            ask("gone")


def test_a_writer_that_fails_leaves_nothing(store):
    def broken() -> None:
        with store.writer("x.zip") as sink:
            sink.write(b"part")
            raise ValueError

    with pytest.raises(ValueError):
        broken()
    with pytest.raises(ObjectNotFound):
        store.get("x.zip")
    with store.writer("x.zip") as sink:
        sink.write(b"part")
        sink.write(b"whole")
    assert store.get("x.zip") == b"partwhole"


def test_a_prefix_is_deleted_without_its_neighbours(store):
    for key in ("jobs/1/a", "jobs/1/b/c", "jobs/10/a"):
        store.put(key, b"x")
    assert store.delete_prefix("jobs/1/") == 2
    assert [found.key for found in store.under("jobs/")] == ["jobs/10/a"]
    store.delete(["jobs/1/a"])


def test_many_are_deleted_at_once_though_some_are_gone(store):
    keys = [f"many/{number}" for number in range(5)]
    for key in keys:
        store.put(key, b"x")
    store.delete([keys[1]])
    store.delete(keys)
    assert list(store.under("many/")) == []


def test_a_local_store_leaves_no_empty_folders(tmp_path):
    store = Store.open(load_settings(store_url=f"file://{tmp_path}/s", _env_file=None))
    for job in ("1", "2"):
        store.put(f"jobs/{job}/artifacts/000000/cam.npz", b"x")
    store.delete_prefix("jobs/1/")
    assert [path.name for path in (tmp_path / "s" / "jobs").iterdir()] == ["2"]


def test_what_was_put_into_a_local_store_is_on_disk_with_the_names_that_lead_to_it(tmp_path, monkeypatch):
    store = Store.open(load_settings(store_url=f"file://{tmp_path}/s", _env_file=None))
    synced = []
    monkeypatch.setattr(
        "os.fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    store.put("jobs/1/images/000000", b"x")
    with store.writer("exports/2.zip") as sink:
        sink.write(b"y")
    parts = ["jobs/1/images/000000", "jobs/1/images", "jobs/1", "jobs", "", "exports/2.zip", "exports", ""]
    assert synced == [str(tmp_path / "s" / part) for part in parts]


def test_a_range_is_streamed(store):
    store.put("x", bytes(range(100)))

    async def read() -> bytes:
        return b"".join([piece async for piece in store.stream("x", 10, 20)])

    assert asyncio.run(read()) == bytes(range(10, 20))


def test_a_local_store_cannot_sign(store):
    store.put("x", b"y")
    assert store.signed_url("x", seconds=60) is None


def test_keys_are_deterministic_and_sort():
    assert artifact_key("j", "000001", "cam.npz") == "jobs/j/artifacts/000001/cam.npz"
    assert upload_key("u", 90, "b") < upload_key("u", 1000, "a")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("r.json", "application/json"),
        ("x", "application/octet-stream"),
    ],
)
def test_media_types(name, expected):
    assert media_type(name) == expected


def test_a_store_that_cannot_be_opened_says_so():
    with pytest.raises(InvalidSettings, match="TOCO_STORE_URL"):
        Store.open(load_settings(store_url="s3://bucket", store_options={"nonsense": "1"}, _env_file=None))
