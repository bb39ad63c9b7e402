"""Jobs of many images over REST, from every kind of source, to their exports."""

import csv
import io
import json
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.live import until
from toco.workers.webhooks import sign

FINAL = {"succeeded", "partly_failed", "failed", "cancelled"}


def finished(http: httpx.Client, job: str, seconds: float = 120) -> dict:
    def ended():
        found = http.get(f"/v1/jobs/{job}").json()
        return found if found["state"] in FINAL else None

    return until(ended, seconds)


def submit(http: httpx.Client, photos: list[tuple[str, bytes]], **data) -> dict:
    headers = data.pop("headers", None)
    files = [("images", photo) for photo in photos] + data.pop("files", [])
    answer = http.post("/v1/jobs", files=files, data={"preset": "fast"} | data, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def test_tags_come_by_field_one_an_image_or_one_for_all(http, jpeg):
    photos = [(f"{n}.jpg", jpeg(n)) for n in range(2)]
    each = submit(http, photos, tags=["cat", "dog,puppy"])
    shared = submit(http, photos, tags="horse")
    assert finished(http, each["id"])["counts"]["done"] == 2
    assert finished(http, shared["id"])["counts"]["done"] == 2
    items = http.get(f"/v1/jobs/{each['id']}/items").json()["items"]
    assert [item["summary"]["tags"] for item in items] == [["cat"], ["dog"]]
    items = http.get(f"/v1/jobs/{shared['id']}/items").json()["items"]
    assert [item["tags"] for item in items] == [["horse"], ["horse"]]


def packed(jpeg, kind: str, manifest: tuple[str, str]) -> bytes:
    file = io.BytesIO()
    photos = {"farm/a.jpg": jpeg(1), "farm/b.jpg": jpeg(2), "notes.txt": b"ignored", manifest[0]: manifest[1].encode()}
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in photos.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind.partition('.')[2]}") as archive:
            for name, content in photos.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


JSONL = '{"image": "farm/a.jpg", "tags": ["cat"]}\n{"image": "farm/b.jpg", "tags": ["dog"]}\n'


@pytest.mark.parametrize(
    ("kind", "manifest"),
    [
        ("zip", ("tags.csv", "image,tags\na.jpg,cat\nb.jpg,dog\n")),
        ("tar", ("m.jsonl", JSONL)),
        ("tar.gz", ("m.jsonl", JSONL)),
    ],
)
def test_an_archive_brings_its_own_manifest(http, jpeg, kind, manifest):
    content = packed(jpeg, kind, manifest)
    job = submit(http, [], files=[("archive", ("photos", content))])
    assert finished(http, job["id"])["state"] == "succeeded"
    items = http.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    assert [(item["name"], item["tags"]) for item in items] == [("farm/a.jpg", ["cat"]), ("farm/b.jpg", ["dog"])]


def test_a_broken_image_fails_alone(http, jpeg):
    photos = [("good.jpg", jpeg()), ("bad.jpg", b"\xff\xd8\xff\xe0"), ("text.txt", b"hello")]
    ended = finished(http, submit(http, photos, tags="cat")["id"])
    assert (ended["state"], ended["counts"]["done"], ended["counts"]["failed"]) == ("partly_failed", 1, 2)
    failed = http.get(f"/v1/jobs/{ended['id']}/items", params={"state": "failed"}).json()["items"]
    assert [item["error"]["code"] for item in failed] == ["unreadable_image", "unsupported_image_format"]
    assert http.post(f"/v1/jobs/{ended['id']}/retry").json()["items"] == 0


def test_names_are_made_safe_and_unique(http, jpeg):
    photos = [("a.jpg", jpeg()), ("a.jpg", jpeg()), ("../../etc/passwd.jpg", jpeg()), ("C:\\x\\b.jpg", jpeg())]
    job = submit(http, photos, tags="cat")
    names = [item["name"] for item in http.get(f"/v1/jobs/{job['id']}/items").json()["items"]]
    assert names == ["a.jpg", "a_2.jpg", "passwd.jpg", "b.jpg"]
    finished(http, job["id"])


@pytest.mark.parametrize(
    ("data", "files", "status", "code"),
    [
        ({}, [], 422, "empty_job"),
        ({"tags": ["cat", "dog", "horse"]}, [("images", ("a.jpg", b"x"))], 422, "invalid_option"),
        ({"tags": "unicorn", "unknown_tags": "refuse"}, [("images", ("a.jpg", b"x"))], 422, "unknown_tag"),
        ({"mapping": "none"}, [("images", ("a.jpg", b"x"))], 404, "mapping_not_found"),
        ({}, [("archive", ("a.zip", b"nonsense"))], 422, "invalid_archive"),
        ({"manifest": "b.jpg,cat"}, [("images", ("a.jpg", b"x"))], 422, "no_row_matches"),
        ({"upload": "0" * 26}, [], 404, "upload_not_found"),
        ({"webhook": "file:///etc/passwd"}, [("images", ("a.jpg", b"x"))], 422, "address_refused"),
        ({"webhook": "http://169.254.169.254/hook"}, [("images", ("a.jpg", b"x"))], 422, "address_refused"),
        ({"priority": "urgent"}, [("images", ("a.jpg", b"x"))], 422, "invalid_option"),
    ],
)
def test_what_does_not_fit_makes_no_job(http, data, files, status, code):
    before = http.get("/v1/jobs?limit=1").json()["jobs"][:1]
    answer = http.post("/v1/jobs", data=data or {"x": "y"}, files=files or [("note", b"")])
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert http.get("/v1/jobs?limit=1").json()["jobs"][:1] == before


def test_another_kind_of_body_is_refused(http):
    assert http.post("/v1/jobs", content=b"<xml/>", headers={"content-type": "text/xml"}).status_code == 415
    assert http.post("/v1/jobs", content=b"{", headers={"content-type": "application/json"}).status_code == 422


def test_the_same_idempotency_key_makes_one_job(http, jpeg):
    photos, key = [("a.jpg", jpeg(5))], {"idempotency-key": f"k-{time.time_ns()}"}
    first = submit(http, photos, tags="cat", headers=key)
    again = http.post("/v1/jobs", files=[("images", photos[0])], data={"preset": "fast", "tags": "cat"}, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    other = http.post("/v1/jobs", files=[("images", photos[0])], data={"preset": "fast", "tags": "dog"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    finished(http, first["id"])


@pytest.mark.slow
def test_two_hundred_images_end_with_the_right_counts(http, client, jpeg, tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03d}.jpg").write_bytes(jpeg(number))
    with (tmp_path / "tags.csv").open("w") as file:
        csv.writer(file).writerows([f"{number:03d}.jpg", "cat" if number % 2 else "dog"] for number in range(200))
    seen: list[dict] = []
    job = client.label_folder(tmp_path, tags=tmp_path / "tags.csv", preset="fast", outputs=["pseudo_mask"])
    ended = client.wait(job["id"], progress=seen.append, timeout_seconds=300)
    assert (ended["state"], ended["counts"]["done"], ended["images_per_second"] > 0) == ("succeeded", 200, True)
    assert len(seen) > 2
    assert {item["attempts"] for item in client.items(job["id"])} == {1}
    assert sum(1 for _ in client.items(job["id"], tag="cat")) == 100


@pytest.mark.slow
def test_cancelled_items_never_run_and_can_be_retried(http, jpeg):
    job = submit(http, [(f"{n}.jpg", jpeg(n)) for n in range(60)], tags="cat", preset="paper")
    cancelled = http.post(f"/v1/jobs/{job['id']}/cancel").json()
    ended = finished(http, job["id"])
    assert ended["state"] == "cancelled"
    assert ended["counts"]["cancelled"] >= cancelled["items"] > 0  # what a worker had read ahead comes back too
    stopped = http.get(f"/v1/jobs/{job['id']}/items", params={"state": "cancelled", "limit": 500}).json()["items"]
    assert {item["attempts"] for item in stopped} == {0}
    time.sleep(1)
    assert http.get(f"/v1/jobs/{job['id']}").json()["counts"] == ended["counts"]
    http.delete(f"/v1/jobs/{job['id']}")


def test_a_deleted_job_leaves_no_record_and_no_file(http, live, jpeg):
    job = finished(http, submit(http, [("a.jpg", jpeg())], tags="cat")["id"])["id"]
    folder = live.folder / "objects" / "jobs" / job
    assert any(folder.rglob("pseudo_mask.png"))
    assert http.delete(f"/v1/jobs/{job}").status_code == 204
    assert http.get(f"/v1/jobs/{job}").status_code == 404
    until(lambda: not folder.exists())


def test_events_tell_progress_and_the_end(http, jpeg):
    job = submit(http, [(f"{n}.jpg", jpeg(n)) for n in range(4)], tags="cat")["id"]
    events, last = [], {}
    with http.stream("GET", f"/v1/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event:"):
                events.append(line.removeprefix("event:").strip())
            if line.startswith("data:"):
                last = json.loads(line.removeprefix("data:"))
    assert events[-1] == "end"
    assert (last["state"], last["counts"]["done"]) == ("succeeded", 4)
    again = http.get(f"/v1/jobs/{job}/events", headers={"last-event-id": str(last["revision"])})
    assert "event: end" in again.text


def test_events_of_an_unknown_job_are_a_problem(http):
    assert http.get(f"/v1/jobs/{'0' * 26}/events").json()["code"] == "job_not_found"


@pytest.mark.parametrize("name", ["voc", "coco", "npz"])
def test_a_job_is_exported_in_a_format(http, client, jpeg, tmp_path, name):
    job = finished(http, submit(http, [(f"{n}.jpg", jpeg(n)) for n in range(3)], tags="cat")["id"])["id"]
    path = client.export(job, name, tmp_path / "out.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) > 3
    exports = http.get(f"/v1/jobs/{job}/exports").json()
    assert [(export["format"], export["state"], export["items"]) for export in exports] == [(name, "done", 3)]
    again = http.post(f"/v1/jobs/{job}/exports", json={"format": name}).json()
    assert (again["id"], again["state"]) == (exports[0]["id"], "done")


def test_several_formats_are_one_export_each_in_its_folder(http, client, jpeg, tmp_path):
    job = finished(http, submit(http, [("farm/a.jpg", jpeg())], tags="cat")["id"])["id"]
    seen = []
    path = client.export(job, ["voc", "yolo-seg"], tmp_path / "out.zip", progress=seen.append)
    with zipfile.ZipFile(path) as archive:
        assert {"voc/JPEGImages/farm/a.jpg", "yolo-seg/labels/train/farm/a.txt"} <= set(archive.namelist())
        assert {name.partition("/")[0] for name in archive.namelist()} == {"voc", "yolo-seg"}
    assert (seen[-1]["state"], seen[-1]["formats"], seen[-1]["left_out"]) == ("done", ["voc", "yolo-seg"], [])
    sent = http.get(seen[-1]["download_url"]).headers["content-disposition"]
    assert f"{job}-voc-yolo-seg.zip" in sent


def test_the_table_s_parts_or_new_ones_divide_the_export(http, client, jpeg, tmp_path):
    rows = "image,tags,split\n0.jpg,cat,train\n1.jpg,cat,validation\n2.jpg,cat,\n3.jpg,cat,test\n"
    files = [("images", (f"{n}.jpg", jpeg(n))) for n in range(4)] + [("manifest", ("tags.csv", rows.encode()))]
    job = finished(http, http.post("/v1/jobs", files=files).json()["id"])["id"]

    def parts(**options) -> dict[str, int]:
        with zipfile.ZipFile(client.export(job, "voc", tmp_path / "out.zip", options=options)) as archive:
            return json.loads(archive.read("statistics.json"))["parts"]

    assert parts() == {"train": 2, "val": 1, "test": 1}
    assert parts(subset="rest") == {"train": 1, "val": 1, "test": 1, "rest": 1}
    assert parts(split="none") == {"train": 4}
    assert parts(split="50/50") == {"train": 2, "val": 2}
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert f"Job `{job}`: all labelled photos" in archive.read("README.md").decode()
    refused = http.post(f"/v1/jobs/{job}/exports", json={"format": "voc", "options": {"split": "50/60"}})
    assert (refused.status_code, "does not add up to 100" in refused.text) == (422, True)


def test_decisions_limit_the_export(http, client, jpeg, tmp_path):
    job = finished(http, submit(http, [(f"{n}.jpg", jpeg(n)) for n in range(3)], tags="cat")["id"])["id"]
    client.decide(job, "000000", "accept")
    client.decide(job, "000001", "reject")

    def masks(decisions: str) -> set[str]:
        with zipfile.ZipFile(client.export(job, "voc", tmp_path / "out.zip", decisions=decisions)) as archive:
            return {name.rpartition("/")[2] for name in archive.namelist() if name.endswith(".png")}

    assert masks("accepted") == {"0.png"}
    assert masks("not_rejected") == {"0.png", "2.png"}
    assert masks("all") == {"0.png", "1.png", "2.png"}
    undecided = http.get(f"/v1/jobs/{job}/items", params={"undecided": True}).json()
    assert [item["id"] for item in undecided["items"]] == ["000002"]


def test_an_unknown_format_is_refused(http, jpeg):
    job = submit(http, [("a.jpg", jpeg())], tags="cat")["id"]
    assert http.post(f"/v1/jobs/{job}/exports", json={"format": "psd"}).json()["code"] == "unknown_format"
    finished(http, job)


def test_artifacts_have_entity_tags_and_ranges(http, jpeg):
    job = finished(http, submit(http, [("a.jpg", jpeg())], tags="cat")["id"])["id"]
    url = f"/v1/jobs/{job}/items/000000/artifacts/pseudo_mask.png"
    whole = http.get(url)
    etag = whole.headers["etag"]
    assert http.get(url, headers={"if-none-match": etag}).status_code == 304
    part = http.get(url, headers={"range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole.content)}"
    assert http.get(url, headers={"range": "bytes=-4"}).content == whole.content[-4:]
    assert http.get(url, headers={"range": "bytes=999999-"}).status_code == 416
    assert http.get(url, headers={"range": "bytes=2-5", "if-range": '"old"'}).content == whole.content
    assert http.get(url.replace("pseudo_mask", "nothing")).json()["code"] == "artifact_not_found"


def test_a_cam_is_shown_as_a_grey_picture(http, jpeg):
    job = finished(http, submit(http, [("a.jpg", jpeg())], tags="cat")["id"])["id"]
    here = f"/v1/jobs/{job}/items/000000"
    picture = Image.open(io.BytesIO(http.get(f"{here}/cams/cat").content))
    assert (picture.mode, picture.size) == ("L", (64, 48))
    with np.load(io.BytesIO(http.get(f"{here}/artifacts/cam.npz").content)) as arrays:
        assert np.abs(np.asarray(picture) / 255 - arrays["cams"][0]).max() <= 0.5 / 255 + 1e-3
    assert http.get(f"{here}/cams/dog").status_code == 404
    assert http.get(f"{here}/image").headers["content-type"] == "image/jpeg"


def test_images_are_labelled_where_they_are(http, live, jpeg):
    folder = live.folder / "objects" / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.jpg").write_bytes(jpeg(9))
    items = [{"key": "inputs/x.jpg", "tags": ["cat"]}, {"key": "inputs/gone.jpg", "tags": ["cat"]}]
    job = http.post("/v1/jobs", json={"items": items, "preset": "fast"}).json()
    ended = finished(http, job["id"])
    assert (ended["counts"]["done"], ended["counts"]["failed"]) == (1, 1)
    http.delete(f"/v1/jobs/{job['id']}")
    assert (folder / "x.jpg").exists()


@pytest.mark.parametrize("key", ["jobs/x", "inputs/../jobs/x", "/etc/passwd", "inputs2/x"])
def test_keys_outside_the_prefix_are_forbidden(http, key):
    answer = http.post("/v1/jobs", json={"items": [{"key": key, "tags": ["cat"]}]})
    assert (answer.status_code, answer.json()["code"]) == (403, "key_not_allowed")


def test_a_resumable_upload_survives_a_broken_piece(http, jpeg):
    content = packed(jpeg, "zip", ("tags.csv", "image,tags\na.jpg,cat\nb.jpg,dog\n"))
    begun = http.post(
        "/v1/uploads", headers={"upload-length": str(len(content)), "upload-metadata": "filename YS56aXA="}
    )
    assert begun.status_code == 201
    address = begun.headers["location"]
    kind = {"content-type": "application/offset+octet-stream"}
    assert http.patch(address, content=content[:100], headers=kind | {"upload-offset": "0"}).status_code == 204
    wrong = http.patch(address, content=content[:100], headers=kind | {"upload-offset": "50"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "upload_conflict")

    def breaking():
        yield content[100:150]
        time.sleep(0.5)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        http.patch(address, content=breaking(), headers=kind | {"upload-offset": "100"})
    offset = until(lambda: int(http.head(address).headers["upload-offset"]) > 100 and http.head(address)).headers
    assert offset["upload-offset"] == "150"
    early = http.post("/v1/jobs", json={"upload": address.rpartition("/")[2]})
    assert early.status_code == 409
    http.patch(address, content=content[150:], headers=kind | {"upload-offset": "150"})
    job = http.post("/v1/jobs", json={"upload": address.rpartition("/")[2], "preset": "fast"}).json()
    assert finished(http, job["id"])["counts"]["done"] == 2
    assert http.delete(address).status_code == 204
    assert http.head(address).status_code == 404


@pytest.fixture
def receiver():
    """A server that notes what it is sent; it fails the first time."""
    got: list[tuple[dict, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if len(got) == 1 else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_a_webhook_is_signed_and_sent_again_after_a_failure(http, jpeg, receiver):
    url, got = receiver
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    job = submit(http, [("a.jpg", jpeg())], tags="cat", webhook=url, webhook_secret=secret)["id"]
    until(lambda: len(got) == 2, 60)
    headers, body = ({name.lower(): value for name, value in got[1][0].items()}, got[1][1])
    assert headers["webhook-id"] == {name.lower(): value for name, value in got[0][0].items()}["webhook-id"]
    expected = sign(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected
    told = json.loads(body)
    assert (told["type"], told["data"]["job"], told["data"]["state"]) == ("job.finished", job, "succeeded")


def test_jobs_are_listed_page_by_page(http, jpeg):
    made = [submit(http, [("a.jpg", jpeg())], tags="cat")["id"] for _ in range(3)]
    first = http.get("/v1/jobs", params={"limit": 2}).json()
    second = http.get("/v1/jobs", params={"limit": 2, "cursor": first["next"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]][:3] == made[::-1]
    for job in made:
        finished(http, job)
    assert all(
        job["state"] == "succeeded" for job in http.get("/v1/jobs", params={"state": "succeeded"}).json()["jobs"]
    )


def test_metrics_count_what_was_done(http, jpeg):
    finished(http, submit(http, [("a.jpg", jpeg())], tags="cat")["id"])
    text = http.get("/metrics").text
    for name in (
        'toco_queue_messages{queue="interactive"}', 'toco_items{state="done"}',
        'toco_stage_seconds_sum{stage="network"}',
        "toco_shard_images_count", "toco_batch_images", "toco_worker_up", 'toco_http_requests_total{method="POST"',
    ):  # fmt: skip
        assert name in text, name


def test_every_line_of_the_logs_tells_its_job_item_and_request(http, live, jpeg, client, tmp_path):
    request = f"request-{time.time_ns()}"
    photos = [("a.jpg", jpeg()), ("b.jpg", jpeg(size=(256, 256), kind="PNG")[:-200])]
    job = submit(http, photos, tags="cat", headers={"x-request-id": request})["id"]
    finished(http, job)
    client.export(job, "voc", tmp_path / "out.zip")

    def said(name: str) -> list[dict]:
        # Celery says on standard output that it stops; all else of the process is a log.
        return [json.loads(line) for line in live.log(name).splitlines() if not line.startswith("worker: ") and line]

    mine = [line for line in said("worker") if line.get("job") == job]
    assert {line["request_id"] for line in mine} == {request}
    assert {(line["message"], line["item"]) for line in mine if "item" in line} == {
        ("item labelled", "000000"), ("item not labelled", "000001")
    }  # fmt: skip
    assert "export built" in {line["message"] for line in mine}
    assert [line["path"] for line in said("api") if line.get("request_id") == request] == ["/v1/jobs"]


def test_health_says_what_is_alive(http):
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready", "silent_workers": []}


def test_what_is_not_there_is_a_problem_too(http):
    for answer, status in ((http.get("/v1/nothing"), 404), (http.put("/v1/jobs"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"


def test_someone_who_waits_for_one_image_does_not_wait_for_a_batch(http, jpeg):
    batch = submit(http, [(f"{n}.jpg", jpeg(n, size=(300, 200))) for n in range(80)], tags="cat", preset="balanced")
    until(lambda: http.get(f"/v1/jobs/{batch['id']}").json()["counts"]["running"])
    answer = http.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat", "preset": "fast"})
    assert answer.json()["item"]["state"] == "done"
    behind = http.get(f"/v1/jobs/{batch['id']}").json()["counts"]
    assert behind["queued"] > 0
    http.delete(f"/v1/jobs/{batch['id']}")
