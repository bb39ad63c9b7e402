"""One shard with a real tiny model: what is asked for is made, and faults stay where they are."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from toco.jobs.broker import make_app
from toco.jobs.job import JobOptions, NewItem
from toco.jobs.model_catalogue import ModelCatalogue, ModelNotFound
from toco.jobs.queue import WorkQueue
from toco.jobs.stats import Stats
from toco.jobs.store import StorageFull, Store, artifact_key
from toco.model.errors import TocoError
from toco.model.formats.artifacts import read_cams, read_result
from toco.model.options import GPU_BATCH_PIXELS, preset_options
from toco.model.photos.images import read_mask
from toco.workers.leases import LeaseKeeper
from toco.workers.shard import Shard
from toco.workers.warm_model import ModelChanged, WarmModels


@pytest.fixture(scope="module")
def labeler(tiny_model):
    from toco.model.labelling.labeler import Labeler

    return Labeler.from_folder(tiny_model, device="cpu", threads=1)  # how many photos are begun at once follows from it


def photo(seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


class Bench:
    """A worker's parts around one job."""

    def __init__(self, settings, records, labeler, images: list[bytes]) -> None:
        self.settings, self.records, self.labeler = settings, records, labeler
        self.store = Store.open(settings)
        self.queue = WorkQueue(settings, records, make_app(settings))
        job = records.begin_job()
        for number, content in enumerate(images):
            self.store.put(f"jobs/{job}/images/{number}", content)
        items = [NewItem(f"{n}.png", f"jobs/{job}/images/{n}", tags=("cat", "dog")) for n in range(len(images))]
        options = JobOptions(
            model="tiny", model_version=labeler.spec.version, label=preset_options("fast", refine="none")
        )
        self.job = records.create_job(job, items, options)

    def run(self, items: list[str] | None = None, owner: str = "m1") -> int:
        shard = Shard(
            settings=self.settings, records=self.records, store=self.store, queue=self.queue,
            stats=Stats(self.records), leases=LeaseKeeper(self.records, seconds=30), labeler=self.labeler,
            job=self.job, owner=owner,
        )  # fmt: skip
        return shard.run(items or [f"{n:06d}" for n in range(self.job.total)])

    def queued_items(self) -> list[str]:
        """Take all messages off the queue; return the items that they name."""
        items = []
        while message := self.records.redis.rpop("batch"):
            arguments, _, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
            items += arguments[1]
        return items

    @property
    def counts(self) -> dict[str, int]:
        return {state: count for state, count in self.records.job(self.job.id).counts.items() if count}


@pytest.fixture
def bench(settings, records, labeler):
    return lambda *images: Bench(settings, records, labeler, list(images))


def test_a_shard_makes_artifacts_and_records(bench):
    found = bench(photo(1), photo(2))
    assert found.run() == 2
    assert found.counts == {"done": 2}
    item = found.records.item(found.job.id, "000001")

    def load(name: str) -> bytes:
        return found.store.get(artifact_key(found.job.id, "000001", name))

    result = read_result(load("result.json"))
    assert result.tags == item.summary.tags == ("cat", "dog")
    assert read_mask(load("pseudo_mask.png")).shape == (24, 32)
    assert read_cams(load("cam.npz")).maps.shape == (2, 24, 32)
    assert {"decode", "network", "refine", "encode", "store"} <= item.summary.timings.keys()
    assert item.summary.doubt >= item.summary.ignore_ratio
    assert Stats(found.records).totals()["stage_count:network"] == 2


def test_running_a_shard_twice_changes_nothing(bench):
    found = bench(photo(1))
    found.run()
    before = {part.key: (part.etag, part.modified) for part in found.store.under(f"jobs/{found.job.id}/")}
    assert found.run(owner="m2") == 0
    assert {part.key: (part.etag, part.modified) for part in found.store.under(f"jobs/{found.job.id}/")} == before
    assert found.counts == {"done": 1}


def test_the_same_image_gives_the_same_bytes(bench):
    found = bench(photo(1), photo(1))
    found.run()
    for name in ("pseudo_mask.png", "cam.npz", "overlay.jpg"):
        one, two = (found.store.get(artifact_key(found.job.id, item, name)) for item in ("000000", "000001"))
        assert one == two


def test_a_bad_image_and_a_missing_one_fail_alone(bench):
    found = bench(photo(1), b"\xff\xd8\xff\xe0", photo(2))
    found.store.delete([f"jobs/{found.job.id}/images/2"])
    for attempt in range(3):
        found.run(owner=f"m{attempt}")
    assert found.counts == {"done": 1, "failed": 2}
    codes = [found.records.item(found.job.id, item).error.code for item in ("000001", "000002")]
    assert codes == ["unreadable_image", "object_not_found"]


def test_out_of_memory_halves_the_batch_and_goes_on(bench, monkeypatch):
    found = bench(*(photo(n) for n in range(6)))
    sizes = []
    real = found.labeler._run_network

    def limited(jobs, options):
        sizes.append(len(jobs))
        if len(jobs) > 2:
            raise torch.OutOfMemoryError
        return real(jobs, options)

    monkeypatch.setattr(found.labeler, "_run_network", limited)
    share = GPU_BATCH_PIXELS // 4
    monkeypatch.setattr(found.labeler, "batch_size", lambda asked: (asked.batch_pixels or GPU_BATCH_PIXELS) // share)
    found.run()
    assert sizes == [4, 2, 2, 2]
    assert found.counts == {"done": 6}
    assert {found.records.item(found.job.id, f"{n:06d}").attempts for n in range(6)} == {1}
    assert Stats(found.records).totals()["out_of_memory"] == 1


def test_an_unforeseen_fault_is_tried_again_and_then_told(bench, monkeypatch):
    found = bench(photo(1))

    def broken(*_):
        raise RuntimeError("cosmic ray")

    monkeypatch.setattr(found.labeler, "_run_network", broken)
    for attempt in range(1, 4):
        found.run(owner=f"m{attempt}")
    item = found.records.item(found.job.id, "000000")
    assert (item.state, item.attempts, item.error.code) == ("failed", 3, "labelling_fault")
    assert "cosmic ray" in item.error.detail


def test_a_full_store_puts_the_item_off(bench, monkeypatch):
    found = bench(photo(1))

    def full(key, _content):
        raise StorageFull(f"No room for {key!r}.")

    monkeypatch.setattr(found.store, "put", full)
    found.run()
    item = found.records.item(found.job.id, "000000")
    assert (item.state, item.error.code) == ("queued", "storage_full")
    assert found.records.redis.zcard("toco:delayed") == 1
    monkeypatch.undo()
    found.run()
    assert found.counts == {"done": 1}


def test_batch_work_makes_way_for_someone_who_waits(bench, settings):
    found = bench(*(photo(n) for n in range(40)))
    found.records.redis.rpush("interactive", "a message")
    begun = found.run()
    assert 1 <= begun < 40
    assert found.counts == {"done": begun, "queued": 40 - begun}
    assert found.records.redis.llen("batch") > 0


def test_what_was_read_ahead_is_handed_back_when_someone_waits(bench, monkeypatch):
    found = bench(*(photo(n) for n in range(6)))
    real, sizes = found.labeler._run_network, []

    def interrupted(jobs, options):
        sizes.append(len(jobs))
        if len(sizes) == 2:
            found.records.redis.rpush("interactive", "a message")
        return real(jobs, options)

    monkeypatch.setattr(found.labeler, "_run_network", interrupted)
    assert found.run() == 2
    assert sizes == [1, 1]
    assert found.counts == {"done": 2, "queued": 4}
    items = found.records.items(found.job.id, [f"{n:06d}" for n in range(6)])
    assert [(item.state, item.attempts) for item in items] == [("done", 1)] * 2 + [("queued", 0)] * 4
    found.records.redis.delete("interactive")
    assert found.run(owner="m2") == 4
    assert found.counts == {"done": 6}


def test_items_that_the_labeler_never_came_to_are_queued_at_once(bench, settings):
    found = bench(*(photo(n) for n in range(12)))
    found.settings = settings.model_copy(update={"shard_seconds": 1e-6})
    begun = found.run()
    assert begun < 12
    assert found.counts == {"done": begun, "queued": 12 - begun}
    assert sorted(found.queued_items()) == [f"{n:06d}" for n in range(begun, 12)]


def test_a_photo_that_is_away_for_a_moment_is_labelled_later(bench):
    found = bench(photo(1))
    key = f"jobs/{found.job.id}/images/0"
    content = found.store.get(key)
    found.store.delete([key])
    found.run()
    item = found.records.item(found.job.id, "000000")
    assert (item.state, item.error.code) == ("queued", "object_not_found")
    assert found.records.redis.zcard("toco:delayed") == 1
    found.store.put(key, content)
    found.run(owner="m2")
    assert found.counts == {"done": 1}


def test_a_photo_that_stays_away_fails_and_is_brought_back_by_retry(bench):
    found = bench(photo(1))
    key = f"jobs/{found.job.id}/images/0"
    content = found.store.get(key)
    found.store.delete([key])
    for attempt in range(3):
        found.run(owner=f"m{attempt}")
    assert found.counts == {"failed": 1}
    found.store.put(key, content)
    assert found.records.retry(found.job.id) == ["000000"]
    found.run(owner="m4")
    assert found.counts == {"done": 1}


def test_a_late_worker_leaves_the_artifacts_of_another_alone(bench, monkeypatch):
    found = bench(photo(1))
    real, began = found.labeler._run_network, []

    def overtaken(jobs, options):
        if not began:
            began.append(1)
            found.records.redis.hset(f"toco:job:{found.job.id}:item:000000", "lease_until", 0)
            found.run(owner="faster")
            began.append(found.store.get(artifact_key(found.job.id, "000000", "result.json")))
        return real(jobs, options)

    monkeypatch.setattr(found.labeler, "_run_network", overtaken)
    found.run(owner="late")
    result = found.store.get(artifact_key(found.job.id, "000000", "result.json"))
    assert result == began[1]
    assert found.records.item(found.job.id, "000000").summary.artifacts["result.json"] == len(result)


def test_a_job_deleted_in_mid_work_leaves_no_artifacts(bench, monkeypatch):
    found = bench(photo(1))
    real = found.labeler._run_network

    def deleting(jobs, options):
        found.records.delete_job(found.job.id)
        return real(jobs, options)

    monkeypatch.setattr(found.labeler, "_run_network", deleting)
    found.run()
    assert [part.key for part in found.store.under(f"jobs/{found.job.id}/artifacts/")] == []


def test_shards_grow_with_the_measured_speed(bench, settings):
    found = bench(photo(1))
    assert found.queue.shard_images(found.job) == 8
    found.queue.note_speed(found.job, settings.shard_seconds / 20)
    assert found.queue.shard_images(found.job) == 20
    for _ in range(30):
        found.queue.note_speed(found.job, 1000.0)
    assert found.queue.shard_images(found.job) == 1


@pytest.fixture
def catalogue(settings, records, tiny_model, tmp_path):
    folder = tmp_path / "models"
    for name in ("tiny", "other"):
        shutil.copytree(tiny_model, folder / name)
    spec = folder / "other" / "spec.json"
    spec.write_text(spec.read_text().replace('"name": "tiny"', '"name": "other"'))
    return ModelCatalogue(settings.model_copy(update={"models_dir": folder, "default_model": "tiny"}), records)


def test_models_are_warm_until_others_are_needed(catalogue):
    models = WarmModels(catalogue, device="cpu", most=1)
    first = models.get("")
    assert models.get("tiny") is first
    models.get("other")
    assert models.names() == ["other"]
    catalogue.want("tiny", warm=True)
    models.sync()
    assert models.names() == ["tiny"]
    catalogue.want("tiny", warm=False)
    models.sync()
    assert models.names() == []


def test_another_version_under_the_same_name_is_refused(catalogue):
    models = WarmModels(catalogue, device="cpu", most=1)
    with pytest.raises(ModelChanged):
        models.get("tiny", "tiny@000000000000")


def test_the_default_is_chosen_over_the_api_or_by_the_settings(catalogue):
    assert catalogue.find().spec.name == "tiny"
    catalogue.set_default("other")
    assert catalogue.find().spec.name == "other"
    with pytest.raises(ModelNotFound, match="gone"):
        catalogue.set_default("gone")


def test_errors_cross_processes_whole():
    import pickle

    error = pickle.loads(pickle.dumps(StorageFull("No room.", fix="Make some.")))
    assert isinstance(error, TocoError)
    assert (error.detail, error.fix) == ("No room.", "Make some.")
