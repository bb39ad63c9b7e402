"""A folder and its copy in the object store."""

import os

import pytest

from toco.jobs.store import Store
from toco.workers.folder_sync import FolderSync


@pytest.fixture
def sync_of(settings, tmp_path):
    store = Store.open(settings)

    def make(name: str) -> FolderSync:
        (tmp_path / name).mkdir(exist_ok=True)
        return FolderSync(store, "trainings/t/run/", tmp_path / name, without=frozenset({"log.txt"}))

    make.store = store
    return make


def stored(sync_of) -> dict[str, bytes]:
    found = sync_of.store.under("trainings/t/run/")
    return {one.key.removeprefix("trainings/t/run/"): sync_of.store.get(one.key) for one in found}


def test_what_is_new_or_changed_is_stored_and_what_is_gone_is_deleted(sync_of, tmp_path):
    sync = sync_of("here")
    (tmp_path / "here" / "round").mkdir()
    (tmp_path / "here" / "round" / "a").write_bytes(b"1")
    (tmp_path / "here" / "b").write_bytes(b"2")
    assert sync.push() == 2
    assert stored(sync_of) == {"round/a": b"1", "b": b"2"}
    assert sync.push() == 0
    (tmp_path / "here" / "b").write_bytes(b"3+")
    (tmp_path / "here" / "round" / "a").unlink()
    assert sync.push() == 1
    assert stored(sync_of) == {"b": b"3+"}


def test_another_machine_goes_on_with_it(sync_of, tmp_path):
    first = sync_of("here")
    (tmp_path / "here" / "deep").mkdir()
    (tmp_path / "here" / "deep" / "checkpoint.pt").write_bytes(b"weights")
    first.push()
    second = sync_of("there")
    second.fetch()
    assert (tmp_path / "there" / "deep" / "checkpoint.pt").read_bytes() == b"weights"
    assert second.push() == 0, "what was fetched is there"


def test_unfinished_files_and_logs_stay_here(sync_of, tmp_path):
    sync = sync_of("here")
    for name in ("checkpoint.tmp", "rounds.partial", "x.part", ".hidden", "log.txt"):
        (tmp_path / "here" / name).write_bytes(b"half")
    assert sync.push() == 0
    assert stored(sync_of) == {}


def test_what_is_referred_to_comes_before_what_refers_to_it(sync_of, tmp_path, monkeypatch):
    """An index that is stored without its maps would be taken for whole."""
    sync = sync_of("here")
    for age, name in ((30, "maps.npy"), (20, "a_index.json"), (40, "z_first")):
        path = tmp_path / "here" / name
        path.write_bytes(b"x")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    order = []
    put = sync_of.store.put
    monkeypatch.setattr(sync_of.store, "put", lambda key, content: order.append(key) or put(key, content))
    sync.push()
    assert [key.rpartition("/")[2] for key in order] == ["z_first", "maps.npy", "a_index.json"]


def test_what_was_told_before_a_file_is_noted_before_the_file(sync_of, tmp_path):
    sync = sync_of("here")
    (tmp_path / "here" / "checkpoint.pt").write_bytes(b"step 1")
    noted = []

    def note() -> None:
        noted.append(stored(sync_of))
        (tmp_path / "here" / "checkpoint.tmp").write_bytes(b"step 2, of which nothing is noted yet")
        (tmp_path / "here" / "checkpoint.tmp").replace(tmp_path / "here" / "checkpoint.pt")

    assert sync.push(note) == 1
    assert noted == [{}]
    assert stored(sync_of) == {"checkpoint.pt": b"step 1"}
    assert sync.push() == 1, "the one that came meanwhile"
    assert sync.push(lambda: noted.append("nothing")) == 0
    assert "nothing" not in noted
