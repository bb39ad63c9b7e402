"""Photos out of a user's own bucket, and results into one: on a real S3 server."""

import io
import zipfile

import obstore
import pytest
from obstore.store import S3Store

from tests.service.one_machine.test_s3 import KEY, SECRET, s3  # noqa: F401 - the server
from toco.jobs.buckets import Bucket, BucketUnavailable, Mirror, is_bucket
from toco.model.errors import InvalidOption
from toco.service.cli import buckets

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(s3, monkeypatch, jpeg):  # noqa: F811 - the fixture of that name
    """A bucket with two photos, their table and an object that no folder can hold; credentials as people set them."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_ENDPOINT_URL", s3),
        ("AWS_REGION", "us-east-1"),
        ("TOCO_URL", "http://127.0.0.1:9"),
    ):
        monkeypatch.setenv(name, value)
    store = S3Store("own", client_options={"allow_http": True})
    obstore.put(store, "first", b"makes the bucket")
    for entry in [entry["path"] for batch in obstore.list(store) for entry in batch]:
        obstore.delete(store, entry)
    for name, content in (
        ("farm/photos/a.jpg", jpeg(1)),
        ("farm/photos/deep/b.jpg", jpeg(2)),
        ("farm/photos/tags.csv", b"image,tags\na.jpg,cat\ndeep/b.jpg,dog\n"),
        ("farm/other.jpg", jpeg(3)),
    ):
        obstore.put(store, name, content)
    return store


@pytest.fixture
def s3_folder(bucket, tmp_path):
    return Bucket("s3://own/mirrored"), tmp_path


def names(store: S3Store, prefix: str) -> set[str]:
    found = [str(entry["path"]) for batch in obstore.list(store, prefix) for entry in batch]
    return {name.removeprefix(f"{prefix}/") for name in found}


def test_a_prefix_is_labelled_into_another(bucket, toco, quick):
    asked = ("label", "s3://own/farm/photos", "--out", "s3://own/labels", "--format", "voc,coco", *quick)
    result = toco(*asked)
    assert result.exit_code == 0, result.output
    assert "2 labelled" in result.stdout
    assert "Results: s3://own/labels" in result.stdout
    made = names(bucket, "labels")
    assert {"summary.json", "voc/SegmentationClass/a.png", "coco/annotations/instances_train.json"} <= made
    elsewhere = toco("label", "s3://own/farm/photos", "--out", "s3://own/farm", *quick)
    assert elsewhere.exit_code == 2
    assert "something under 's3://own/farm' already" in elsewhere.stderr
    assert SECRET not in result.output + elsewhere.output


def test_a_run_that_was_killed_is_gone_on_with(bucket, toco, quick, monkeypatch):
    asked = ("label", "s3://own/farm/photos", "--out", "s3://own/labels", "--format", "voc", *quick)
    with monkeypatch.context() as patch:
        patch.setattr(buckets, "KEEP_SECONDS", 0.0)
        patch.setattr(buckets.Outgoing, "deliver", lambda _: None)
        assert toco(*asked).exit_code == 0
    finished = {"artifacts/a.jpg/result.json", "artifacts/a.jpg/asked.json", "artifacts/deep/b.jpg/result.json"}
    left = names(bucket, "labels")
    assert finished <= left
    assert all(name.startswith("artifacts/") for name in left), "the end never came"
    obstore.delete(bucket, "labels/artifacts/a.jpg/result.json")  # as if it had been on its way
    stale = bytes(obstore.get(bucket, "labels/artifacts/deep/b.jpg/result.json").bytes())
    again = toco(*asked)
    assert again.exit_code == 0, again.output
    assert "1 labelled, 1 finished before" in again.stdout
    assert bytes(obstore.get(bucket, "labels/artifacts/deep/b.jpg/result.json").bytes()) == stale
    assert finished | {"voc/SegmentationClass/a.png", "voc/SegmentationClass/deep/b.png"} <= names(bucket, "labels")
    # One photo is gone: so is its part of the export.
    obstore.delete(bucket, "farm/photos/deep/b.jpg")
    fewer = toco(*asked)
    assert fewer.exit_code == 0, fewer.output
    made = names(bucket, "labels")
    assert "voc/SegmentationClass/a.png" in made
    assert "voc/SegmentationClass/deep/b.png" not in made


def test_a_photo_that_is_labelled_anew_is_never_half_there(s3_folder):
    bucket, folder = s3_folder
    mirror = Mirror(bucket, folder, last="result.json")
    photo = folder / "artifacts" / "a.jpg"
    photo.mkdir(parents=True)
    (photo / "mask.png").write_bytes(b"old")
    mirror.send_whole("artifacts")
    assert bucket.names() == [], "it is not whole yet"
    (photo / "result.json").write_bytes(b"old")
    mirror.send_whole("artifacts")
    assert bucket.names() == ["artifacts/a.jpg/mask.png", "artifacts/a.jpg/result.json"]
    (photo / "mask.png").write_bytes(b"newer")
    (photo / "result.json").write_bytes(b"newer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "send", lambda *_: (_ for _ in ()).throw(BucketUnavailable("gone", fix="wait")))
        with pytest.raises(BucketUnavailable):
            mirror.send()
    assert bucket.names() == ["artifacts/a.jpg/mask.png"], "what is sent now is of no finished photo"
    mirror.send()
    assert bucket.names() == ["artifacts/a.jpg/mask.png", "artifacts/a.jpg/result.json"]


def test_what_would_be_done_is_said_before(bucket, toco, quick):
    result = toco("label", "s3://own/farm/photos/", "--out", "s3://own/nothing", "--dry-run", *quick)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "a.jpg: cat", "deep/b.jpg: dog", "2 photos would be labelled, 0 would fail."
    ]  # fmt: skip
    assert names(bucket, "nothing") == set()


def test_a_prefix_is_sent_to_a_service_and_its_labels_exported_into_a_bucket(bucket, toco, live):
    url = ("--url", live.url)
    sent = toco("jobs", "submit", "s3://own/farm/photos", "--preset", "fast", *url)
    assert sent.exit_code == 0, sent.output
    job = sent.stdout.strip()
    with live.client() as client:
        assert client.job(job)["name"] == "photos"
        assert [item["name"] for item in client.items(job)] == ["a.jpg", "deep/b.jpg"]
    exported = toco("jobs", "export", job, "--out", "s3://own/exports/labels.zip", *url)
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.strip() == "s3://own/exports/labels.zip"
    archive = zipfile.ZipFile(io.BytesIO(bytes(obstore.get(bucket, "exports/labels.zip").bytes())))
    assert "SegmentationClass/a.png" in archive.namelist()


def test_what_is_wrong_is_one_sentence_without_secrets(bucket, toco, quick, monkeypatch, tmp_path):
    empty = toco("label", "s3://own/nobody/here", "--out", tmp_path, *quick)
    assert (empty.exit_code, "There is nothing under 's3://own/nobody/here'" in empty.stderr) == (2, True)
    assert toco("jobs", "export", "x", "--out", "s3://own/").exit_code == 2
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    refused = toco("label", "s3://own/farm/photos", "--out", tmp_path, *quick)
    assert refused.exit_code == 2
    assert "cannot be listed" in refused.stderr
    assert "wrong-secret" not in refused.output
    with pytest.raises(BucketUnavailable):
        Bucket("s3://own/farm").put("x", tmp_path / "none")


def test_what_is_an_address_of_a_bucket():
    assert all(map(is_bucket, ("s3://b/p", "gs://b", "az://c/p", "S3://b")))
    assert not any(map(is_bucket, ("s3/photos", "/s3://x", "photos", "http://host/x", "file:///x")))
    with pytest.raises(InvalidOption):
        Bucket("s3://")


def test_names_that_no_folder_can_hold_are_left_out(bucket, tmp_path, monkeypatch):
    obstore.put(bucket, "odd/ok.jpg", b"x")
    # Real stores take such names; the one of the tests is itself made of folders.
    odd = ["L" * 300 + ".jpg", "../up.jpg", "c\\d.jpg", "line\nbreak.jpg"]
    monkeypatch.setattr(Bucket, "names", lambda _: ["ok.jpg", *odd])
    assert Bucket("s3://own/odd").fetch(tmp_path) == odd
    assert [path.name for path in tmp_path.iterdir()] == ["ok.jpg"]
