"""Keys, scopes, limits, origins."""

import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from toco.jobs.api_keys import ApiKeys, InvalidKey
from toco.jobs.records import Records, connect
from toco.jobs.settings import InvalidSettings, load_settings
from toco.service.applications.whole import create_app


@pytest.fixture
def guarded(valkey, models_folder, tmp_path):
    """The application in this process, keys demanded; what needs a worker is not asked of it."""

    def make(**settings):
        base = {"redis_url": valkey.url, "data_dir": tmp_path, "models_dir": models_folder, "default_model": "tiny"}
        return TestClient(create_app(load_settings(**(base | {"auth": True} | settings), _env_file=None)))

    return make


@pytest.fixture
def keys(valkey):
    client = connect(load_settings(redis_url=valkey.url, _env_file=None))
    yield ApiKeys(Records(client))
    client.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_without_a_key_nothing_is_answered(guarded):
    with guarded() as client:
        for path in ("/v1/jobs", "/v1/models", "/v1/formats"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("token", ["", "x", "toco_x_y", "toco__", "toco_0123_", "Toco_é_y"])
def test_forged_tokens_are_refused(keys, token):
    with pytest.raises(InvalidKey):
        keys.check(token)


def test_a_key_may_do_what_its_scope_says(guarded, keys, jpeg):
    _, reader = keys.create("reader", frozenset({"read"}))
    _, labeller = keys.create("labeller", frozenset({"label"}))
    _, admin = keys.create("admin", frozenset({"admin"}))
    with guarded(label_wait_seconds=0) as client:
        assert client.get("/v1/jobs", headers=bearer(reader)).status_code == 200
        for token, status in ((reader, 403), (labeller, 202), (admin, 202)):
            answer = client.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat"}, headers=bearer(token))
            assert answer.status_code == status, answer.text
        assert client.delete("/v1/jobs?older_than_days=9", headers=bearer(labeller)).json()["code"] == "scope_missing"
        assert client.delete("/v1/jobs?older_than_days=9", headers=bearer(admin)).status_code == 200


def test_revoked_and_expired_keys_are_refused_and_secrets_are_not_kept(keys, valkey):
    key, token = keys.create("gone", frozenset({"read"}))
    secret = token.removeprefix(f"toco_{key.id}_")
    assert secret not in (token, "")
    kept = connect(load_settings(redis_url=valkey.url, _env_file=None))
    assert secret not in str(kept.hgetall(f"toco:key:{key.id}"))
    kept.close()
    assert keys.check(token).name == "gone"
    keys.revoke(key.id)
    with pytest.raises(InvalidKey):
        keys.check(token)
    _, old = keys.create("old", frozenset({"read"}), days=1e-9)
    with pytest.raises(InvalidKey, match="expired"):
        keys.check(old)


def test_rate_and_quota_of_a_key(guarded, keys, jpeg):
    _, slow = keys.create("slow", frozenset({"read"}), rate_per_minute=2)
    _, small = keys.create("small", frozenset({"label"}), quota_images_per_day=1)
    with guarded(label_wait_seconds=0) as client:
        assert [client.get("/v1/jobs", headers=bearer(slow)).status_code for _ in range(3)] == [200, 200, 429]
        assert int(client.get("/v1/jobs", headers=bearer(slow)).headers["retry-after"]) <= 30
        form = {"files": {"image": jpeg()}, "data": {"tags": "cat"}, "headers": bearer(small)}
        assert client.post("/v1/label", **form).status_code == 202
        refused = client.post("/v1/label", **form)
        assert (refused.status_code, refused.json()["code"]) == (429, "limit_reached")


def test_another_web_page_cannot_use_an_open_service(guarded):
    with guarded(auth=False) as client:
        own = {"host": "127.0.0.1:8000"}
        assert client.get("/v1/jobs", headers=own).status_code == 200
        assert client.get("/v1/jobs", headers=own | {"origin": "http://127.0.0.1:8000"}).status_code == 200
        for headers in (own | {"origin": "https://evil.example"}, {"host": "evil.example"}, own | {"origin": "null"}):
            assert client.get("/v1/jobs", headers=headers).json()["code"] == "foreign_origin"


def test_cors_is_closed_unless_opened(guarded):
    ask = {"origin": "https://a.example", "access-control-request-method": "GET"}
    with guarded() as client:
        assert "access-control-allow-origin" not in client.options("/v1/jobs", headers=ask).headers
    with guarded(cors_origins=("https://a.example",)) as client:
        assert client.options("/v1/jobs", headers=ask).headers["access-control-allow-origin"] == "https://a.example"


def test_a_body_over_the_limit_is_refused_whatever_its_header_says(guarded, keys):
    _, token = keys.create("big", frozenset({"label"}))
    with guarded(max_body_bytes=2000) as client:
        told = client.post("/v1/jobs", content=b"x" * 3000, headers=bearer(token))
        assert (told.status_code, told.json()["code"]) == (413, "body_too_large")
        kind = {"content-type": "multipart/form-data; boundary=b"}
        untold = client.post("/v1/jobs", content=(b"x" * 500 for _ in range(9)), headers=bearer(token) | kind)
        assert untold.status_code in (400, 413)


def test_limits_on_images_and_files(guarded, keys, jpeg):
    _, token = keys.create("limits", frozenset({"label"}))
    with guarded(max_image_pixels=2000, max_files_per_job=2, label_wait_seconds=0) as client:
        large = client.post("/v1/label", files={"image": jpeg()}, headers=bearer(token))
        assert (large.status_code, large.json()["code"]) == (413, "image_too_large")
        three = [("images", (f"{n}.jpg", jpeg(n, size=(8, 8)))) for n in range(3)]
        many = client.post("/v1/jobs", files=three, data={"tags": "cat"}, headers=bearer(token))
        assert (many.status_code, many.json()["code"]) == (413, "too_many_files")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"host": "0.0.0.0", "auth": False}, "auth"),
        ({"task_limit_seconds": 900}, "task_limit_seconds"),
        ({"lease_seconds": 5}, "lease_seconds"),
        ({"webhook_secret": "change-me"}, "webhook_secret"),
        ({"store_url": "ftp://x"}, "STORE_URL"),
        ({"redis_url": "http://x"}, "REDIS_URL"),
        ({"outbound_allow_private": "10.0.0.0/99"}, "OUTBOUND_ALLOW_PRIVATE"),
        ({"port": 99999}, "PORT"),
        ({"cors_origins": "*", "auth": True}, "cors_origins"),
    ],
)
def test_settings_refuse_nonsense(values, what):
    with pytest.raises(InvalidSettings, match=what):
        load_settings(**values, _env_file=None)


def test_settings_are_printed_without_secrets():
    settings = load_settings(
        redis_url="redis://:hidden-1@host:1/0", store_options={"secret_access_key": "hidden-2"},
        webhook_secret="hidden-3-hidden-3", _env_file=None,
    )  # fmt: skip
    assert "hidden" not in str(settings.masked())


@pytest.mark.slow
def test_the_api_loads_no_torch():
    code = "import toco.service.applications.whole, sys; sys.exit(bool({'torch', 'timm', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
