"""The way of a photo from REST to its exports: nothing is done twice, however it comes in."""

import io
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from toco.jobs.broker import LABEL_QUEUES
from toco.jobs.settings import Settings, load_settings
from toco.model.formats.result import result_of
from toco.model.photos.images import probe_image, read_image, read_mask
from toco.service.applications.whole import create_app
from toco.workers.process import WorkerProcess
from toco.workers.shard import Shard

ONCE = {"probe_image": 1, "read_image": 1, "result_of": 1, "read_mask": 1}


@pytest.fixture
def settings(valkey, models_folder, tmp_path) -> Settings:
    fields = {"data_dir": tmp_path, "models_dir": models_folder, "default_model": "tiny", "device": "cpu"}
    return load_settings(redis_url=valkey.url, _env_file=None, **fields)


@pytest.fixture
def api(settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def worker(settings) -> Iterator[WorkerProcess]:
    process = WorkerProcess(settings, LABEL_QUEUES)
    process.records.redis.flushdb()
    yield process
    process.outbound.close()


@pytest.fixture
def counted(monkeypatch, worker) -> Counter[str]:
    """Count the calls of the one function that decodes a photo, probes a header, builds a result, decodes a mask."""
    worker.models.get("")  # whatever is imported late is there from now on
    calls: Counter[str] = Counter()

    def counting(function):
        def call(*arguments, **named):
            calls[function.__name__] += 1
            return function(*arguments, **named)

        return call

    for function in (probe_image, read_image, result_of, read_mask):
        wrapped = counting(function)
        for name, module in list(sys.modules.items()):
            if name.startswith("toco.") and getattr(module, function.__name__, None) is function:
                monkeypatch.setattr(module, function.__name__, wrapped)
    return calls


def label(worker: WorkerProcess, job: str) -> None:
    record = worker.records.job(job)
    Shard(
        settings=worker.settings, records=worker.records, store=worker.store, queue=worker.queue, stats=worker.stats,
        leases=worker.leases, labeler=worker.models.get(""), job=record, owner="m1",
    ).run([f"{number:06d}" for number in range(record.total)])  # fmt: skip


def by_form(api, photo):
    return api.post("/v1/jobs", files={"images": ("cat.jpg", photo)}, data={"tags": "cat"}).json()["id"]


def by_one_image(api, photo):
    fields = {"tags": "cat", "wait_seconds": "0"}
    return api.post("/v1/label", files={"image": ("cat.jpg", photo)}, data=fields).json()["job"]["id"]


def by_archive(api, photo):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cat.jpg", photo)
        archive.writestr("tags.csv", "image,tags\ncat.jpg,cat\n")
    return api.post("/v1/jobs", files={"archive": ("photos.zip", file.getvalue())}).json()["id"]


@pytest.mark.parametrize("send", [by_form, by_one_image, by_archive])
def test_a_photo_is_decoded_probed_and_described_once_from_rest_to_its_exports(send, api, worker, counted, jpeg):
    photo = jpeg(1, (90, 60))
    job = send(api, photo)
    label(worker, job)
    assert api.get(f"/v1/jobs/{job}/items/000000/image").headers["content-type"] == "image/jpeg"
    export = api.post(f"/v1/jobs/{job}/exports", json={"formats": ["coco", "voc"]}).json()
    worker.exports.build(export["id"], lease_seconds=30, max_attempts=3)
    done = api.get(f"/v1/jobs/{job}/exports/{export['id']}").json()
    assert (done["state"], done["items"], done["skipped"], done["formats"]) == ("done", 1, 0, ["coco", "voc"])
    with zipfile.ZipFile(io.BytesIO(api.get(done["download_url"]).content)) as archive:
        assert archive.read("coco/images/cat.jpg") == archive.read("voc/JPEGImages/cat.jpg") == photo
        assert {"coco/annotations/instances_train.json", "voc/SegmentationClass/cat.png"} <= set(archive.namelist())
    assert counted == ONCE


def test_what_an_export_leaves_out_is_named(api, worker, jpeg):
    photos = [("images", (f"{n}.jpg", jpeg(n))) for n in range(3)]
    job = api.post("/v1/jobs", files=photos, data={"tags": "cat"}).json()["id"]
    label(worker, job)
    worker.store.put(f"jobs/{job}/artifacts/000001/pseudo_mask.png", b"no mask")
    export = api.post(f"/v1/jobs/{job}/exports", json={"formats": ["voc", "npz", "voc"]}).json()
    worker.exports.build(export["id"], lease_seconds=30, max_attempts=3)
    done = api.get(f"/v1/jobs/{job}/exports/{export['id']}").json()
    assert (done["state"], done["items"], done["skipped"], done["formats"]) == ("done", 2, 1, ["voc", "npz"])
    (left_out,) = done["left_out"]
    assert (left_out["name"], left_out["formats"], left_out["code"]) == ("1.jpg", ["voc"], "invalid_artifact")
    with zipfile.ZipFile(io.BytesIO(api.get(done["download_url"]).content)) as archive:
        assert '"name":"1.jpg"' in archive.read("left_out.jsonl").decode()
        assert archive.read("voc/ImageSets/Segmentation/train.txt") == b"0\n2\n"
        assert len([name for name in archive.namelist() if name.startswith("npz/cams/")]) == 3


def test_a_job_of_cams_alone_is_exported_as_cams_and_says_why_not_as_masks(api, worker, jpeg):
    job = api.post("/v1/jobs", files={"images": ("a.jpg", jpeg())}, data={"tags": "cat", "outputs": "cam"}).json()["id"]
    label(worker, job)
    states = {}
    for name in ("npz", "voc"):
        export = api.post(f"/v1/jobs/{job}/exports", json={"format": name}).json()
        worker.exports.build(export["id"], lease_seconds=30, max_attempts=3)
        states[name] = api.get(f"/v1/jobs/{job}/exports/{export['id']}").json()
    assert states["npz"]["state"] == "done"
    assert (states["voc"]["state"], states["voc"]["error"]["code"]) == ("failed", "missing_part")


@pytest.mark.slow
@pytest.mark.parametrize("body", [{}, {"format": "voc", "formats": ["coco"]}, {"formats": []}, {"formats": "voc"}])
def test_an_export_names_its_formats_one_way(api, worker, jpeg, body):
    job = by_form(api, jpeg())
    answer = api.post(f"/v1/jobs/{job}/exports", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
