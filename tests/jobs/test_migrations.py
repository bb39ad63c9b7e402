"""What an older version left opens in this one; a step that breaks off, or is taken by several, comes out whole."""

import asyncio
import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from redis import RedisError
from safetensors.numpy import save_file

from tests.trainings import make_training
from toco.jobs import migrations
from toco.jobs.api_keys import ApiKeys
from toco.jobs.exports import ExportRequest, Exports
from toco.jobs.job import NewItem
from toco.jobs.keys import SCHEMA_NUMBER
from toco.jobs.migrations import MIGRATIONS, SCHEMA, Migration, SchemaTooNew, migrate, migrate_patiently, schema_of
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.queue import WorkQueue
from toco.jobs.records import Lease, Records, RecordsUnavailable, connect
from toco.jobs.settings import load_settings
from toco.jobs.store import Store, artifact_key, export_key
from toco.jobs.trainings import Trainings
from toco.jobs.uploads import Uploads
from toco.model.errors import TocoError
from toco.model.formats.artifacts import read_result
from toco.model.spec import WEIGHTS_FILE
from toco.service.one_machine.embedded import EmbeddedServer

STATE_1 = Path(__file__).parents[1] / "fixtures" / "state-1"
EXPECTED = json.loads((STATE_1 / "expected.json").read_text())
JOBS = {state: job["id"] for state, job in EXPECTED["jobs"].items()}
RECORDS = 6 + 14 + 2 + 2 + 2  # jobs, items, exports, uploads, keys


class Opened:
    """A copy of a state folder, its server running."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(STATE_1, folder)
        save_file({"any": np.zeros(1)}, folder / "models" / "tiny" / WEIGHTS_FILE)  # none are needed but that they be
        self.server = EmbeddedServer(folder / "queue")
        self.server.start()
        self.settings = load_settings(
            redis_url=self.server.url,
            store_url=f"file://{folder / 'objects'}",
            models_dir=folder / "models",
            _env_file=None,
        )
        self.records = Records(connect(self.settings))
        self.redis = self.records.redis
        self.store = Store.open(self.settings)
        self.exports = Exports(self.records, self.store, ModelCatalogue(self.settings, self.records))

    def hashes(self) -> dict[str, dict[str, str]]:
        """All records of jobs, items, exports, uploads and keys."""
        kinds = ("toco:job:*", "toco:export:*", "toco:upload:*", "toco:key:*")
        keys = sorted(key for kind in kinds for key in self.redis.scan_iter(kind, _type="hash"))
        return {key: self.redis.hgetall(key) for key in keys}

    def orders(self) -> dict[str, list[tuple[str, float]]]:
        """All sorted sets."""
        return {
            key: self.redis.zrange(key, 0, -1, withscores=True)
            for key in sorted(self.redis.scan_iter("*", _type="zset"))
        }


@pytest.fixture
def old(tmp_path):
    """What commit 13b6cff left; see `tests/fixtures/make_state_1.py`."""
    opened = Opened(tmp_path / "state")
    yield opened
    opened.redis.close()
    opened.server.stop()


@pytest.fixture
def new(old):
    """The same, brought up to date."""
    migrate(old.redis)
    return old


def test_jobs_of_the_first_version_are_as_they_were(new):
    found = {job.name: job for job in new.records.jobs()}
    assert {job.id: job.counts for job in found.values()} == {
        job["id"]: job["counts"] for job in EXPECTED["jobs"].values()
    }
    assert {state: new.records.job(job).state for state, job in JOBS.items()} == {state: state for state in JOBS}
    done = found["done"]
    assert (done.options.model, done.options.label.refine, done.request_id) == ("tiny", "none", "request-1")
    assert found["partly"].webhook == "https://example.org/hook"
    assert found["queued"].priority == "interactive"
    assert new.records.item_counts() == {"queued": 3, "running": 1, "done": 6, "failed": 3, "cancelled": 1}


def test_jobs_made_today_are_listed_before_those_of_the_first_version(new):
    options = new.records.job(JOBS["queued"]).options
    made = new.records.create_job(new.records.begin_job(), [NewItem("a.jpg", "k")], options)
    assert [job.id for job in new.records.jobs()] == [made.id, *sorted(JOBS.values(), reverse=True)]
    assert [job.id for job in new.records.jobs(state="queued")] == [made.id, JOBS["queued"]]


def test_items_of_the_first_version_are_as_they_were(new):
    items = new.records.items(JOBS["succeeded"], ["000000", "000001", "000002"])
    assert [item.tags for item in items] == [("cat", "dog"), ("horse",), None]
    assert [item.decision for item in items] == ["accept", "reject", None]
    assert [item.summary.tag_source for item in items] == ["user", "user", "model"]
    assert items[0].name == "folder/0.png"
    for item in items:
        stored = {name: new.store.head(artifact_key(item.job, item.id, name)).size for name in item.summary.artifacts}
        assert stored == item.summary.artifacts
        assert read_result(new.store.get(artifact_key(item.job, item.id, "result.json"))).tags == item.summary.tags
    errors = [item.error.code for item in new.records.items(JOBS["partly_failed"], ["000001", "000002"])]
    assert errors == ["unsupported_image_format"] * 2


def test_exports_of_the_first_version_can_be_had_and_built(new):
    done = new.exports.get(JOBS["succeeded"], EXPECTED["exports"]["done"])
    assert (done.state, done.items, done.request.formats) == ("done", 3, ("coco",))
    assert new.store.head(export_key(done.job, done.id)).size == done.size
    waiting = EXPECTED["exports"]["queued"]
    new.exports.build(waiting, lease_seconds=30, max_attempts=3)
    assert new.exports.get(done.job, waiting).state == "done"


def test_keys_of_the_first_version_let_in(new):
    keys = ApiKeys(new.records)
    label, admin = (keys.check(EXPECTED["tokens"][name]) for name in ("label", "admin"))
    assert (label.name, label.scopes, label.rate_per_minute) == ("ann", {"label"}, 7)
    assert (admin.name, admin.may("admin"), keys.all()) == ("root", True, [label, admin])


def test_uploads_of_the_first_version_go_on(new):
    uploads = Uploads(new.settings, new.records, new.store)

    async def body():
        yield b"more"

    asyncio.run(uploads.append(EXPECTED["uploads"]["half"], 4, body()))
    for upload, content in (("half", b"PK03more"), ("whole", b"PK04")):
        file = io.BytesIO()
        uploads.copy_to(EXPECTED["uploads"][upload], file)
        assert file.read() == content


def test_work_of_the_first_version_goes_on(new):
    records = new.records
    assert records.reclaim_expired() == {JOBS["running"]: ["000000"]}
    queue = WorkQueue(new.settings, records)
    assert queue.depths()["interactive"] == 1
    assert queue.take_due() == {JOBS["queued"]: ["000001"]}
    assert sorted(records.retry(JOBS["partly_failed"])) == ["000001"]
    assert sorted(records.retry(JOBS["cancelled"], ("cancelled",))) == ["000001"]
    for state in ("running", "queued", "partly_failed", "cancelled"):
        for item in records.item_ids(JOBS[state], "queued"):
            lease = records.lease(JOBS[state], item, owner="m", seconds=30, max_attempts=3)
            assert isinstance(lease, Lease)
            summary = records.item(JOBS["succeeded"], "000000").summary
            assert records.complete(lease, summary) == "done"
    states = {state: records.job(job).state for state, job in JOBS.items()}
    assert states == {
        "succeeded": "succeeded", "partly_failed": "partly_failed", "failed": "failed",
        "cancelled": "succeeded", "running": "succeeded", "queued": "succeeded",
    }  # fmt: skip
    for job in JOBS.values():
        records.delete_job(job)
        records.forget(job)
        assert new.redis.keys(f"*{job}*") == []
    assert set(records.item_counts().values()) == {0}


def test_step_2_numbers_every_record_and_lists_jobs_by_state(old):
    assert schema_of(old.redis) == 1
    assert migrate(old.redis, to=2) == 1
    assert schema_of(old.redis) == 2
    found = old.hashes()
    assert len(found) == RECORDS
    assert {record["schema"] for record in found.values()} == {"2"}
    for state, job in JOBS.items():
        assert [found.id for found in old.records.jobs(state=state)] == [job]


def test_step_3_gives_what_was_everybodys_to_the_workspace_of_keys_that_name_none(old):
    migrate(old.redis, to=2)
    assert old.records.jobs(workspace="default") == []
    assert migrate(old.redis, to=3) == 2
    kinds = {"key", "upload", "job"}
    owned = {key: record["workspace"] for key, record in old.hashes().items() if "workspace" in record}
    assert set(owned.values()) == {"default"}
    assert len(owned) == len([place for page in migrations._pages(old.redis) for place in page if place.kind in kinds])
    assert {job.id for job in old.records.jobs(workspace="default")} == set(JOBS.values())
    for state, job in JOBS.items():
        assert [found.id for found in old.records.jobs(workspace="default", state=state)] == [job]
    assert old.records.jobs(workspace="zoo") == []


def test_the_steps_are_numbered_without_a_gap():
    assert [step.number for step in MIGRATIONS] == list(range(2, SCHEMA + 1))


def test_a_second_run_changes_nothing(new):
    before = new.hashes(), new.orders()
    assert migrate(new.redis) == SCHEMA
    new.redis.delete(SCHEMA_NUMBER)  # as if the last process had been killed just before the end
    migrate(new.redis)
    assert (new.hashes(), new.orders()) == before


@pytest.mark.parametrize("last", [1, 3, 6])
def test_a_step_that_broke_off_goes_on(old, monkeypatch, last):
    class Killed(BaseException):
        """Ends the process: nothing is tidied up."""

    seen = []

    def change(transaction, job):
        seen.append(job.place.id)
        if len(seen) == last:
            raise Killed
        transaction.zadd(f"toco:jobs:state:{job.fields['state']}", {job.place.id: 0})

    monkeypatch.setattr(migrations, "MIGRATIONS", (Migration(2, "as it is", {"job": change}),))
    with pytest.raises(Killed):
        migrate(old.redis, to=2)
    assert schema_of(old.redis) == 1
    assert {record.get("schema") for record in old.hashes().values()} == {None, "2"}
    migrate(old.redis, to=2)
    assert len(seen) == len(set(seen)) + 1  # the one whose transaction never came, and no other, twice
    assert {record["schema"] for record in old.hashes().values()} == {"2"}
    assert sum(len(old.records.jobs(state=state)) for state in JOBS) == len(JOBS)


def test_many_may_migrate_at_once(old):
    clients = [connect(old.settings) for _ in range(4)]
    start = threading.Barrier(len(clients))
    faults = []

    def run(client) -> None:
        start.wait()
        try:
            migrate(client)
        except (RedisError, TocoError) as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert faults == []
    assert {record["schema"] for record in old.hashes().values()} == {str(SCHEMA)}
    assert sum(len(old.records.jobs(state=state)) for state in JOBS) == len(JOBS)


def test_a_record_that_changes_meanwhile_is_read_again(old, monkeypatch):
    job, seen = JOBS["queued"], []

    def change(transaction, record):
        if record.place.id == job:
            seen.append(record.fields["name"])
            if len(seen) == 1:
                old.redis.hset(record.place.key, "name", "changed")
            transaction.hset(record.place.key, "title", record.fields["name"])

    monkeypatch.setattr(migrations, "MIGRATIONS", (Migration(2, "names are titles", {"job": change}),))
    migrate(old.redis, to=2)
    assert seen == ["queued", "changed"]
    assert old.redis.hget(f"toco:job:{job}", "title") == "changed"


def test_records_of_a_newer_version_are_left_alone(records):
    records.redis.set(SCHEMA_NUMBER, SCHEMA + 1)
    with pytest.raises(SchemaTooNew, match=f"schema {SCHEMA + 1}; this version reads up to {SCHEMA}"):
        migrate(records.redis)
    with pytest.raises(RecordsUnavailable, match=f"schema {SCHEMA + 1}"):
        records.check()


def test_the_number_never_falls(records):
    migrate(records.redis)
    records.redis.eval(migrations._REACH, 1, SCHEMA_NUMBER, "1")
    assert schema_of(records.redis) == SCHEMA


def test_what_is_written_today_carries_todays_number(records, settings, make_job):
    job = make_job(2)
    store = Store.open(settings)
    Exports(records, store, ModelCatalogue(settings, records)).request(job.id, ExportRequest(format="coco"))
    Uploads(settings, records, store).create(length=3, name="a.zip")
    ApiKeys(records).create("ann", frozenset({"read"}))
    make_training(Trainings(records, lease_seconds=60))
    places = [place for page in migrations._pages(records.redis) for place in page]
    assert sorted(place.kind for place in places) == ["export", "item", "item", "job", "key", "training", "upload"]
    assert {records.redis.hget(place.key, "schema") for place in places} == {str(SCHEMA)}


def test_a_server_that_comes_late_is_waited_for(old):
    old.server.stop()
    waiting = threading.Thread(target=migrate_patiently, args=[old.redis, threading.Event()])
    waiting.start()
    old.server.start()
    waiting.join(30)
    assert not waiting.is_alive()
    assert schema_of(old.redis) == SCHEMA


def test_one_that_is_told_to_stop_waits_no_more(old):
    old.server.stop()
    stopped = threading.Event()
    waiting = threading.Thread(target=migrate_patiently, args=[old.redis, stopped])
    waiting.start()
    stopped.set()
    waiting.join(30)
    assert not waiting.is_alive()
    old.server.start()
    assert schema_of(old.redis) == 1
