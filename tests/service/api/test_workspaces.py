"""Who sees and does what: every route of the API against every kind of key."""

import re
from base64 import b64encode

import pytest

from tests.trainings import make_training
from toco.jobs.api_keys import ApiKeys
from toco.jobs.job import JobOptions, NewItem
from toco.jobs.uploads import Uploads
from toco.model.errors import InvalidOption
from toco.model.options import preset_options

JOB, ITEM = "/v1/jobs/{job}", "/v1/jobs/{job}/items/{item}"
TRAINING = "/v1/trainings/{training}"
# Every route of the OpenAPI and the scope that it needs; None for those that are open.
ROUTES = {
    ("get", "/healthz"): None,
    ("get", "/readyz"): None,
    ("get", "/metrics"): None,
    ("options", "/v1/uploads"): None,
    ("post", "/v1/label"): "label",
    ("post", "/v1/jobs"): "label",
    ("post", "/cvat/nuclio"): "label",
    ("get", "/v1/jobs"): "read",
    ("delete", "/v1/jobs"): "admin",
    ("get", JOB): "read",
    ("delete", JOB): "label",
    ("post", f"{JOB}/cancel"): "label",
    ("post", f"{JOB}/retry"): "label",
    ("get", f"{JOB}/events"): "read",
    ("get", f"{JOB}/exports"): "read",
    ("post", f"{JOB}/exports"): "read",
    ("get", f"{JOB}/exports/{{export}}"): "read",
    ("get", f"{JOB}/exports/{{export}}/download"): "read",
    ("get", f"{JOB}/reports"): "read",
    ("post", f"{JOB}/reports"): "label",
    ("get", f"{JOB}/reports/{{report}}"): "read",
    ("get", f"{JOB}/reports/{{report}}/findings"): "read",
    ("get", f"{JOB}/reports/{{report}}/statistics"): "read",
    ("get", f"{JOB}/items"): "read",
    ("get", ITEM): "read",
    ("patch", ITEM): "label",
    ("get", f"{JOB}/audits"): "read",
    ("post", f"{JOB}/audits"): "label",
    ("get", f"{JOB}/audits/{{audit}}"): "read",
    ("get", f"{JOB}/next"): "read",
    ("get", f"{JOB}/relearn"): "read",
    ("post", f"{JOB}/relearn"): "label",
    ("get", f"{JOB}/relearn/{{relearning}}"): "read",
    ("get", f"{JOB}/relearn/{{relearning}}/changes"): "read",
    ("post", f"{JOB}/relearn/{{relearning}}/undo"): "label",
    ("get", f"{ITEM}/revisions"): "read",
    ("post", f"{ITEM}/strokes"): "label",
    ("post", f"{ITEM}/revisions"): "label",
    ("patch", f"{ITEM}/tags"): "label",
    ("get", f"{ITEM}/revisions/{{number}}/mask.png"): "read",
    ("post", f"{ITEM}/revisions/{{number}}/current"): "label",
    ("put", f"{ITEM}/mask"): "label",
    ("get", f"{ITEM}/image"): "read",
    ("get", f"{ITEM}/preview"): "read",
    ("get", f"{ITEM}/artifacts/{{name}}"): "read",
    ("get", f"{ITEM}/cams/{{tag}}"): "read",
    ("post", "/v1/uploads"): "label",
    ("head", "/v1/uploads/{upload}"): "label",
    ("patch", "/v1/uploads/{upload}"): "label",
    ("delete", "/v1/uploads/{upload}"): "label",
    ("get", "/v1/formats"): "read",
    ("get", "/v1/models"): "read",
    ("get", "/v1/options"): "read",
    ("get", "/v1/models/{name}"): "read",
    ("put", "/v1/models/default"): "admin",
    ("delete", "/v1/models/{name}"): "label",
    ("get", "/v1/models/{name}/versions"): "read",
    ("delete", "/v1/models/{name}/versions/{number}"): "label",
    ("get", "/v1/models/{name}/compare"): "read",
    ("get", "/v1/models/{name}/download"): "read",
    ("post", "/v1/models/{name}/promote"): "label",
    ("post", "/v1/models/{name}/rollback"): "label",
    ("post", "/v1/models/{name}/load"): "admin",
    ("post", "/v1/models/{name}/unload"): "admin",
    ("post", "/v1/models"): "label",
    ("get", "/v1/trainings"): "read",
    ("get", TRAINING): "read",
    ("delete", TRAINING): "label",
    ("get", f"{TRAINING}/events"): "read",
    ("get", f"{TRAINING}/pictures/{{number}}/{{which}}"): "read",
    ("post", f"{TRAINING}/cancel"): "label",
    ("post", f"{TRAINING}/resume"): "label",
    ("post", f"{TRAINING}/promote"): "label",
    ("post", f"{TRAINING}/discard"): "label",
    ("post", "/v1/tags/check"): "read",
    ("post", "/v1/tags/table"): "read",
    ("get", "/v1/data_sets"): "read",
    ("get", "/v1/data_sets/{name}"): "read",
    ("put", "/v1/data_sets/{name}"): "label",
    ("delete", "/v1/data_sets/{name}"): "label",
    ("post", "/v1/data_sets/{name}/exports"): "read",
    ("post", "/v1/data_sets/{name}/reports"): "label",
    ("get", "/v1/mappings"): "read",
    ("get", "/v1/mappings/{name}"): "read",
    ("put", "/v1/mappings/{name}"): "label",
    ("delete", "/v1/mappings/{name}"): "label",
}
KEYS = {
    "reads": ("read", "farm"),
    "labels": ("label", "farm"),
    "administers": ("admin", "farm"),
    "reads elsewhere": ("read", "zoo"),
    "labels elsewhere": ("label", "zoo"),
    "administers elsewhere": ("admin", "zoo"),
}
HIDDEN = ("{job}", "{upload}", "{training}")
NOT_FOUND = ("job_not_found", "upload_not_found", "training_not_found")
ENOUGH = {"read": {"read", "label", "admin"}, "label": {"label", "admin"}, "admin": {"admin"}}


@pytest.fixture(scope="module")
def with_keys(start_for_all):
    return start_for_all(auth=True, rate_per_minute=100_000, annotation_wait_seconds=0)


@pytest.fixture
def guarded(with_keys):
    with_keys.app.state.toco.records.redis.flushdb()
    with_keys.app.state.toco.start()
    return with_keys


@pytest.fixture
def state(guarded):
    return guarded.app.state.toco


@pytest.fixture
def bearer(state):
    keys = ApiKeys(state.records)

    def make(kind: str) -> dict[str, str]:
        scope, workspace = KEYS[kind]
        return {"authorization": f"Bearer {keys.create(kind, frozenset({scope}), workspace=workspace)[1]}"}

    return make


@pytest.fixture
def things(state):
    """Make what paths name, anew because requests change it; all of it is the farm's."""

    def make() -> dict[str, str]:
        job = state.records.begin_job()
        options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
        photo = NewItem("a.jpg", f"jobs/{job}/images/000000", tags=("cat",))
        state.records.create_job(job, [photo], options, workspace="farm", webhook="https://farm.example/secret-path")
        state.records.cancel(job)  # so that its events end
        upload = Uploads(state.settings, state.records, state.store).create(length=9, name="a.zip", workspace="farm")
        return {
            "job": job,
            "item": "000000",
            "export": "0" * 26,
            "name": "tiny",
            "tag": "cat",
            "upload": upload.id,
            "number": "1",
            "training": make_training(state.trainings, workspace="farm"),
            "which": "after",
            "relearning": "0" * 26,
            "audit": "0" * 26,
            "report": "0" * 26,
        }

    return make


def asked(client, method: str, path: str, ids: dict[str, str], headers: dict[str, str]):
    headers = {"upload-length": "9", "upload-offset": "0"} | headers
    if (method, path) == ("patch", "/v1/uploads/{upload}"):
        headers |= {"content-type": "application/offset+octet-stream"}
    query = {"older_than_days": "36500"} if (method, path) == ("delete", "/v1/jobs") else None
    return client.request(method, path.format(**ids), headers=headers, params=query)


def test_the_matrix_names_every_route(guarded):
    described = guarded.app.openapi()["paths"]
    assert {(method, path) for path, entry in described.items() for method in entry} == ROUTES.keys()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_with_every_kind_of_key(guarded, bearer, things, method, path):
    needed = ROUTES[method, path]
    for headers in ({}, {"authorization": "Bearer toco_0123_forged"}):
        answer = asked(guarded, method, path, things(), headers)
        assert (answer.status_code == 401) is (needed is not None), answer.text
    for kind, (scope, workspace) in KEYS.items():
        ids = things()
        answer = asked(guarded, method, path, ids, bearer(kind))
        may = needed is None or scope in ENOUGH[needed]
        assert (answer.status_code == 403) is not may, (kind, answer.text)
        hidden = may and workspace != "farm" and scope != "admin" and any(name in path for name in HIDDEN)
        if hidden:
            assert answer.status_code == 404, (kind, answer.text)
            if method != "head":
                assert answer.json()["code"] in NOT_FOUND
                never = {**ids, "job": "0" * 26, "upload": "0" * 26, "training": "0" * 26}
                same = asked(guarded, method, path, never, bearer(kind)).json()["detail"]
                hidden_ids = "|".join(ids[name] for name in ("job", "upload", "training"))
                assert re.sub(hidden_ids, "0" * 26, answer.json()["detail"]) == same
        elif may and answer.status_code == 404:  # a route of something that was not made, seen as such
            assert answer.json()["code"] not in NOT_FOUND, (kind, answer.text)


def test_lists_show_the_jobs_of_the_own_workspace_alone(guarded, bearer, things):
    mine = {things()["job"] for _ in range(5)}
    for kind, seen in (("reads", mine), ("administers elsewhere", mine), ("reads elsewhere", set())):
        headers, found, cursor = bearer(kind), set(), ""
        while cursor is not None:
            for query in ("", "&state=cancelled"):
                page = guarded.get(f"/v1/jobs?limit=2{query}{cursor}", headers=headers).json()
                found |= {job["id"] for job in page["jobs"]}
                assert all(job["workspace"] == "farm" for job in page["jobs"])
            assert guarded.get("/v1/jobs?state=running", headers=headers).json()["jobs"] == []
            cursor = f"&cursor={page['next']}" if page["next"] else None
        assert found == seen, kind


def test_a_job_is_of_the_workspace_of_its_key_and_gone_from_its_list_when_it_is_deleted(guarded, bearer, jpeg):
    farm, zoo = bearer("labels"), bearer("labels elsewhere")
    made = guarded.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat"}, headers=farm).json()["job"]
    assert made["workspace"] == "farm"
    assert guarded.get(f"/v1/jobs/{made['id']}", headers=zoo).status_code == 404
    assert guarded.delete(f"/v1/jobs/{made['id']}", headers=farm).status_code == 204
    assert guarded.get("/v1/jobs", headers=farm).json()["jobs"] == []
    assert not guarded.app.state.toco.records.redis.keys("toco:jobs:workspace:*")


def test_an_upload_of_another_workspace_makes_no_job(guarded, bearer, things):
    upload = things()["upload"]
    bodies = ({"json": {"upload": upload}}, {"files": {"upload": (None, upload)}})
    for body in bodies:
        other = guarded.post("/v1/jobs", headers=bearer("labels elsewhere"), **body)
        assert (other.status_code, other.json()["code"]) == (404, "upload_not_found")
        own = guarded.post("/v1/jobs", headers=bearer("labels"), **body)
        assert own.json()["code"] == "upload_conflict", "it is seen, and not complete"


def test_photos_are_labelled_in_place_in_the_own_folder_alone(guarded, bearer):
    for key, kind, status in (
        ("inputs/farm/1.jpg", "labels", 202),
        ("inputs/zoo/1.jpg", "labels", 403),
        ("inputs/1.jpg", "labels", 403),
        ("inputs/farm/../zoo/1.jpg", "labels", 403),
        ("inputs/zoo/1.jpg", "administers", 202),
    ):
        answer = guarded.post("/v1/jobs", json={"items": [{"key": key, "tags": ["cat"]}]}, headers=bearer(kind))
        assert answer.status_code == status, (key, kind, answer.text)


def test_the_same_photo_from_two_workspaces_is_labelled_for_each(guarded, bearer, jpeg):
    photo = {"json": {"image": b64encode(jpeg()).decode(), "tags": ["cat"]}}
    for kind in ("labels", "labels", "labels elsewhere"):
        guarded.post("/cvat/nuclio", headers=bearer(kind), **photo)
    jobs = guarded.get("/v1/jobs", headers=bearer("administers")).json()["jobs"]
    assert sorted(job["workspace"] for job in jobs) == ["farm", "zoo"]


def test_without_keys_everything_is_seen(start, guarded, things):
    job = things()["job"]
    assert start(auth=False).get(f"/v1/jobs/{job}").json()["workspace"] == "farm"


@pytest.mark.parametrize("name", ["", "a b", "A", "x" * 41, "a/b", "ä"])
def test_names_of_workspaces(state, name):
    with pytest.raises(InvalidOption, match="Workspace"):
        ApiKeys(state.records).create("k", frozenset({"read"}), workspace=name)


def test_trainings_are_listed_in_the_own_workspace_alone(guarded, bearer, things):
    mine = {things()["training"] for _ in range(3)}
    for kind, seen in (("reads", mine), ("administers elsewhere", mine), ("reads elsewhere", set())):
        headers, found, cursor = bearer(kind), set(), ""
        while cursor is not None:
            page = guarded.get(f"/v1/trainings?limit=2{cursor}", headers=headers).json()
            found |= {training["id"] for training in page["trainings"]}
            cursor = f"&cursor={page['next']}" if page["next"] else None
        assert found == seen, kind


def test_nobody_trains_on_the_job_of_another_workspace(guarded, bearer, things):
    job = things()["job"]
    body = {"name": "mine", "job": job}
    other = guarded.post("/v1/models", json=body, headers=bearer("labels elsewhere"))
    assert (other.status_code, other.json()["code"]) == (404, "job_not_found")
    own = guarded.post("/v1/models", json=body, headers=bearer("labels"))
    assert own.json()["detail"].startswith("1 photos to train on"), "it is seen, and too small"
