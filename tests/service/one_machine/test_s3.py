"""The same service on a real S3 server: signatures, sizes and conditions are checked by it."""

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.service.api.test_jobs import finished, submit
from tests.service.live import LiveService
from toco.jobs.settings import load_settings
from toco.jobs.store import ObjectNotFound, StorageUnavailable, Store
from toco.service.client.client import Client

pytestmark = pytest.mark.slow

KEY, SECRET = "test-key", "test-secret"


def free_base() -> int:
    """A port whose gRPC twin, 10,000 above, is free too, like those of its neighbours.

    Tests of other processes look elsewhere: what is free for both now would be taken by the first one's server.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for base in range(21_000 + 37 * 10 * process, 40_000, 37):
        try:
            for offset in (0, 1, 2, 3, 10_000, 10_001, 10_002, 10_003):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base
    raise RuntimeError("no free ports")


@contextmanager
def s3_server(folder: Path, *users: dict[str, object]) -> Iterator[str]:
    """Run an S3 server in a folder; without users it takes whoever comes, however they say who they are."""
    (folder / "data").mkdir()
    base = free_base()
    ports = [f"-master.port={base}", f"-volume.port={base + 1}", f"-filer.port={base + 2}", f"-s3.port={base + 3}"]
    weed = str(Path(sys.executable).with_name("weed"))  # of the environment that runs the tests
    command = [weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    command += [*ports, "-volume.max=20", "-master.volumeSizeLimitMB=64"]
    if users:
        (folder / "s3.json").write_text(json.dumps({"identities": users}))
        command.append(f"-s3.config={folder / 's3.json'}")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{base + 3}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/healthz", timeout=1).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        else:
            raise TimeoutError((folder / "log").read_text()[-3000:])
        yield url
    finally:
        server.kill()  # asked to end, it takes 25 seconds over what nobody reads again
        server.wait()


@pytest.fixture(scope="module")
def s3(tmp_path_factory) -> Iterator[str]:
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    user = {"name": "toco", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": rights}
    with s3_server(tmp_path_factory.mktemp("s3"), user) as url:
        yield url


def options(url: str, secret: str = SECRET) -> str:
    return json.dumps(
        {
            "endpoint": url,
            "region": "us-east-1",
            "access_key_id": KEY,
            "secret_access_key": secret,
            "virtual_hosted_style_request": "false",
        }
    )


def test_the_store_reads_what_it_wrote_and_signs(s3):
    store = Store.open(
        load_settings(store_url="s3://unit/some/prefix", store_options=json.loads(options(s3)), _env_file=None)
    )
    store.check()
    with store.writer("big.zip") as sink:
        for _ in range(20):
            sink.write(bytes(1024 * 1024))
    assert store.head("big.zip").size == 20 * 1024 * 1024
    answer = httpx.get(store.signed_url("big.zip", seconds=60))
    assert (len(answer.content), answer.headers["content-type"]) == (20 * 1024 * 1024, "application/zip")
    assert store.delete_prefix("") >= 2
    with pytest.raises(ObjectNotFound):
        store.get("big.zip")


def test_wrong_credentials_are_a_typed_error(s3):
    store = Store.open(
        load_settings(store_url="s3://unit", store_options=json.loads(options(s3, "wrong")), _env_file=None)
    )
    with pytest.raises(StorageUnavailable):
        store.put("x", b"y")


def test_a_job_lives_in_a_bucket_from_upload_to_export(s3, models_folder, tmp_path, jpeg):
    service = LiveService(
        tmp_path, models_folder, TOCO_STORE_URL="s3://toco/prod", TOCO_STORE_OPTIONS=options(s3), TOCO_PRESIGN="true"
    )
    with service, httpx.Client(base_url=service.url, timeout=60) as http, Client(service.url) as client:
        job = submit(http, [(f"{n}.jpg", jpeg(n)) for n in range(5)], tags="cat")["id"]
        assert finished(http, job)["counts"]["done"] == 5
        mask = http.get(f"/v1/jobs/{job}/items/000000/artifacts/pseudo_mask.png")
        assert (mask.status_code, mask.headers["location"].startswith(s3)) == (302, True)
        assert httpx.get(mask.headers["location"]).content == client.artifact(job, "000000", "pseudo_mask.png")
        with zipfile.ZipFile(client.export(job, "coco", tmp_path / "out.zip")) as archive:
            assert archive.testzip() is None
        client.delete(job)
        store = Store.open(
            load_settings(store_url="s3://toco/prod", store_options=json.loads(options(s3)), _env_file=None)
        )
        deadline = time.monotonic() + 20
        while list(store.under(f"jobs/{job}/")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list(store.under(f"jobs/{job}/")) == []
