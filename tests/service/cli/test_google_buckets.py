"""Photos out of `gs://` and results into it: Google's client against a real server of the protocol that it speaks.

That protocol, Google's XML API, is the one of S3 but for how callers prove who they are; the server takes anyone. What
went in and out is looked at with the client of S3, which knows nothing of `gs://`.
"""

import io
import json
import zipfile

import httpx
import obstore
import pytest
from obstore.store import S3Store

from tests.service.one_machine.test_s3 import s3_server
from toco.jobs.buckets import Bucket

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("google")) as url:
        httpx.put(f"{url}/own").raise_for_status()
        yield url


@pytest.fixture
def bucket(server, monkeypatch, jpeg):
    """A bucket with two photos and their table; where it is stands in the key of the account."""
    account = {
        "gcs_base_url": server,
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    store = S3Store(
        "own", endpoint=server, region="us-east-1", skip_signature=True, client_options={"allow_http": True}
    )
    for entry in [entry["path"] for batch in obstore.list(store) for entry in batch]:
        obstore.delete(store, entry)
    for name, content in (
        ("farm/a.jpg", jpeg(1)), ("farm/deep/schöne b.jpg", jpeg(2)),
        ("farm/tags.csv", "image,tags\na.jpg,cat\ndeep/schöne b.jpg,dog\n".encode()),
    ):  # fmt: skip
        obstore.put(store, name, content)
    return store


def test_a_prefix_is_labelled_into_another_and_a_second_run_goes_on(bucket, toco, quick):
    asked = ("label", "gs://own/farm", "--out", "gs://own/labels", "--format", "voc", *quick)
    result = toco(*asked)
    assert result.exit_code == 0, result.output
    assert "2 labelled" in result.stdout
    made = {str(entry["path"]) for batch in obstore.list(bucket, "labels") for entry in batch}
    assert {"labels/summary.json", "labels/voc/SegmentationClass/deep/schöne b.png"} <= made
    again = toco(*asked)
    assert again.exit_code == 0, again.output
    assert "2 finished before" in again.stdout


def test_a_prefix_is_sent_to_a_service_and_its_labels_exported_into_a_bucket(bucket, toco, live):
    url = ("--url", live.url)
    sent = toco("jobs", "submit", "gs://own/farm", "--preset", "fast", *url)
    assert sent.exit_code == 0, sent.output
    exported = toco("jobs", "export", sent.stdout.strip(), "--out", "gs://own/exports/labels.zip", *url)
    assert exported.exit_code == 0, exported.output
    archive = zipfile.ZipFile(io.BytesIO(bytes(obstore.get(bucket, "exports/labels.zip").bytes())))
    assert "SegmentationClass/a.png" in archive.namelist()


def test_a_file_that_goes_in_parts_comes_back_whole(bucket, tmp_path):
    content = bytes(range(256)) * 50_000
    (tmp_path / "large.bin").write_bytes(content)
    Bucket("gs://own/large").put("large.bin", tmp_path / "large.bin")
    assert bytes(obstore.get(bucket, "large/large.bin").bytes()) == content
    (tmp_path / "back").mkdir()
    assert Bucket("gs://own/large").fetch(tmp_path / "back") == []
    assert (tmp_path / "back" / "large.bin").read_bytes() == content
