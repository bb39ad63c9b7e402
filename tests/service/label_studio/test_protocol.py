"""Label Studio's protocol as it sends it, against the real worker; Label Studio itself is a web server that listens."""

import base64
import time

import numpy as np
import pytest

from tests.tiny_model import write_learnt_model
from toco.jobs.api_keys import ApiKeys
from toco.model.formats.label_studio import encode_brush_rle, labelling_config
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask
from toco.service.label_studio.late_results import LateTask

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SECRET = "a-webhook-secret-of-some-length"
PETS = VOC.subset(("cat", "dog", "horse", "person"))
CONFIG = labelling_config(PETS)
# Unrefined, so that every tag keeps the peak of its CAM, whatever a random model makes of it.
QUICK = {"preset": "fast", "options": {"cam": {"size": 64}, "long_side": 64, "refine": "none"}}


@pytest.fixture
def project():
    """A project id that no other test has."""
    return f"1.{time.time_ns()}"


@pytest.fixture
def photo(jpeg):
    def make(seed=0, size=(64, 48)):
        return "data:image/jpeg;base64," + base64.b64encode(jpeg(seed, size)).decode()

    return make


def set_up(api, project, **extra):
    body = {
        "project": project,
        "schema": CONFIG,
        "hostname": "http://x",
        "access_token": "t",
        "extra_params": QUICK | extra,
    }
    answer = api.post("/labelstudio/setup", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"]


def predict(api, project, tasks, *, config=CONFIG, context=None):
    params = {"login": None, "password": None, "context": context}
    body = {"tasks": tasks, "project": project, "label_config": config, "params": params}
    answer = api.post("/labelstudio/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


# Health, setup, versions


def test_health_and_setup_answer_at_once_without_a_worker(api, project, tmp_path):
    cold = api(redis_url="redis://127.0.0.1:1/0")
    assert cold.get("/labelstudio/health").json() == {"status": "UP", "model_class": "ToCo"}
    service = api(annotation_wait_seconds=60)
    began = time.monotonic()
    version = set_up(service, project)
    assert time.monotonic() - began < 30, "it waits for nobody"
    name, _, digest = version.partition("+")
    assert name.startswith("tiny@")
    assert len(digest) == 12


def test_the_version_names_checkpoint_and_options(api, project):
    service = api()
    assert set_up(service, project) == set_up(service, project) != set_up(service, project, regions=["brush"])
    assert service.get("/labelstudio/versions").json() == {
        "versions": [set_up(service, "other", preset="balanced", options={})]
    }


@pytest.mark.parametrize(
    ("extra", "status", "code"),
    [
        ("{", 422, "invalid_option"),
        ({"model": "none"}, 404, "model_not_found"),
        ({"options": {"x": 1}}, 422, "invalid_option"),
    ],
)
def test_setup_refuses_settings_that_do_not_fit(api, project, extra, status, code):
    answer = api().post("/labelstudio/setup", json={"project": project, "extra_params": extra})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


# Predictions


def test_a_photo_that_was_fetched_is_kept_for_the_next_request(api, client, project, jpeg, web):
    service = api(label_studio_url=web.url, label_studio_token=TOKEN)
    set_up(service, project)
    address = f"/data/upload/{project}/pets.jpg"
    web.pages[address] = (200, {}, jpeg(time.time_ns() % 1_000_000))
    tasks = [[{"id": 1, "data": {"image": address, "tags": tags}}] for tags in ("cat", "cat", "dog")]
    results = [predict(service, project, asked) for asked in tasks]
    assert results[0] == results[1] != results[2]
    assert len(web.headers_of(address)) == 1
    client.delete(next(iter(client.jobs()))["id"])  # of the dog
    client.delete(next(iter(client.jobs()))["id"])  # of the cat, where the photo was kept
    deadline = time.monotonic() + 60
    while len(web.headers_of(address)) < 2 and time.monotonic() < deadline:  # its objects go a moment after the job
        assert predict(service, project, tasks[0]) == results[0]
    assert len(web.headers_of(address)) == 2


@pytest.mark.slow
def test_each_task_has_one_entry_in_order_and_brush_regions_are_the_pseudo_mask(api, client, project, photo, web):
    service = api(label_studio_url=web.url, label_studio_token=TOKEN)
    version = set_up(service, project)
    seed = time.time_ns() % 1_000_000
    web.pages["/data/upload/1/pets.jpg"] = (200, {}, base64.b64decode(photo(seed + 1).partition(",")[2]))
    tasks = [
        {"id": 1, "data": {"image": photo(seed), "tags": ["cat", "puppy"]}},
        {"id": 2, "data": {"image": "/data/upload/1/pets.jpg", "tags": "horse"}},
        {"id": 3, "data": {"image": "/data/upload/1/none.jpg", "tags": "horse"}},
        {"id": 4, "data": {"image": "data:image/png;base64,AAAA"}},
        {"id": 5, "data": {"image": photo(seed), "tags": ["cat", "puppy"]}},
        {"id": 6, "data": {"image": photo(seed + 2), "tags": ["unicorn"]}},
        {"id": 7, "data": {}},
    ]
    results = predict(service, project, tasks)
    assert len(results) == len(tasks)
    assert [results[n] for n in (2, 3, 6)] == [[], [], []], "nothing is kept for them, so Label Studio asks again"
    assert results[5]["result"] == []
    assert results[5]["model_version"] == results[0]["model_version"] == version
    assert results[4] == results[0], "the same photo with the same tags is labelled once"
    assert web.headers_of("/data/upload/1/pets.jpg")[0]["authorization"] == f"Token {TOKEN}"

    job = next(iter(client.jobs()))
    assert (job["priority"], job["total"], job["name"]) == ("interactive", 4, "Label Studio")
    item = client.item(job["id"], "000000")
    mask = read_mask(client.artifact(job["id"], item["id"], "pseudo_mask.png"))
    scores = {row["name"]: row["score"] for row in item["summary"]["classes"]}
    regions = results[0]["result"]
    assert regions, "a random model leaves something"
    for region in regions:
        (label,) = region["value"]["brushlabels"]
        assert region["value"]["rle"] == encode_brush_rle(mask == VOC.classes[VOC.channel(label)].index)
        assert region["score"] == pytest.approx(scores[label], abs=1e-3)
        assert (region["original_width"], region["original_height"]) == (64, 48)
    assert {region["value"]["brushlabels"][0] for region in regions} <= {"cat", "dog"}


def test_cams_come_as_a_second_prediction_when_asked(api, project, photo):
    service = api()
    version = set_up(service, project, cams=True)
    ((refined, cams),) = predict(service, project, [{"id": 1, "data": {"image": photo(5), "tags": ["cat"]}}])
    assert (refined["model_version"], cams["model_version"]) == (version, f"{version}/cam")
    assert cams["result"][0]["value"]["brushlabels"] == ["cat"]


def test_photos_without_tags_get_those_of_the_classifier_marked(api, project, photo):
    service = api()
    set_up(service, project, options=QUICK["options"] | {"tag_threshold": 0.01})
    (found,) = predict(service, project, [{"id": 1, "data": {"image": photo(6)}}])
    assert found["result"]
    assert all("classifier" in region["meta"]["text"][0] for region in found["result"])


def test_choices_of_the_annotator_are_tags_and_labels_map_through_the_config(api, project, photo):
    config = (
        '<View><Image name="i" value="$url"/>'
        '<Choices name="c" toName="i"><Choice value="Katze" predicted_values="cat"/></Choices>'
        '<BrushLabels name="b" toName="i"><Label value="Felis" alias="felis" predicted_values="cat"/>'
        "</BrushLabels></View>"
    )
    annotations = [{"result": [{"type": "choices", "value": {"choices": ["Katze"]}}]}]
    service = api()
    set_up(service, project)
    task = {"id": 1, "data": {"url": photo(7), "tags": ["dog"]}, "annotations": annotations}
    (found,) = predict(service, project, [task], config=config)
    assert {(r["from_name"], r["to_name"], *r["value"]["brushlabels"]) for r in found["result"]} == {
        ("b", "i", "felis")
    }


def test_interactive_mode_answers_with_one_prediction_and_not_with_what_is_drawn(api, project, photo):
    service = api()
    set_up(service, project)
    config = labelling_config(PETS, ("brush", "keypoint"))
    click = {"type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["dog"]}}
    task = {"id": 1, "data": {"image": photo(8), "tags": ["cat"]}}
    (found,) = predict(service, project, [task], config=config, context={"result": [click]})
    assert {(r["type"], *r["value"]["brushlabels"]) for r in found["result"]} == {("brushlabels", "dog")}
    (nothing,) = predict(service, project, [{"id": 1, "data": {}}], context={"result": []})
    assert nothing["result"] == []


def test_fifty_tasks_have_fifty_entries(api, project, photo):
    service = api()
    set_up(service, project)
    tasks = [{"id": n, "data": {"image": photo(1000 + n, (40, 30)), "tags": ["cat"]}} for n in range(50)]
    results = predict(service, project, tasks)
    assert len(results) == 50
    assert all(isinstance(entry, dict) for entry in results)


@pytest.mark.parametrize("body", [{}, {"tasks": 1}, {"tasks": [], "label_config": "<View"}, {"tasks": [1]}])
def test_what_is_no_request_is_refused(api, body):
    assert api().post("/labelstudio/predict", json=body).status_code == 422


# Late results


@pytest.mark.slow
def test_what_is_not_done_in_time_is_pushed_when_it_is(api, project, photo, web):
    web.json("/api/predictions?task=11", [])
    web.json("/api/predictions?task=12", [{"model_version": "of another"}])
    web.json("POST /api/predictions", {}, status=201)
    service = api(label_studio_url=web.url, label_studio_token=TOKEN, annotation_wait_seconds=0)
    version = set_up(service, project)
    seed = time.time_ns() % 1_000_000
    tasks = [{"id": n, "data": {"image": photo(seed + n), "tags": ["cat"]}} for n in (11, 12)]
    tasks.append({"id": 13, "data": {"image": "/data/never.jpg"}})
    assert predict(service, project, tasks) == [[], [], []]
    deadline = time.monotonic() + 60
    while len(web.bodies("POST", "/api/predictions")) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    pushed = {body["task"]: body for body in web.bodies("POST", "/api/predictions")}
    assert pushed.keys() == {11, 12}
    assert all(body["model_version"] == version and body["result"] for body in pushed.values())
    time.sleep(3)
    assert len(web.bodies("POST", "/api/predictions")) == 2, "once each"
    assert all(isinstance(entry, dict) for entry in predict(service, project, tasks[:2])), "made by now"


@pytest.mark.slow
def test_a_prediction_that_is_there_by_then_is_not_pushed_again(api, project, photo, web):
    service = api(label_studio_url=web.url, label_studio_token=TOKEN)
    version = set_up(service, project)
    web.json("/api/predictions?task=21", [{"model_version": version}])
    task = {"id": 21, "data": {"image": photo(21), "tags": ["cat"]}}
    predict(service, project, [task])
    backend = service.app.state.label_studio
    begun = backend._begin(_request(project, [task]), _nobody(), "r", 5.0)
    backend.late.remember(
        [LateTask(task=21, job=begun.tasks[0].place.job, item=begun.tasks[0].place.item)], begun.terms
    )
    deadline = time.monotonic() + 30
    while not web.headers_of("/api/predictions?task=21") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    assert web.bodies("POST", "/api/predictions") == []


def _request(project, tasks):
    from toco.service.label_studio.schemas import Predict

    return Predict(tasks=tasks, project=project, label_config=CONFIG)


def _nobody():
    from toco.service.api.auth import LOCAL_USER

    return LOCAL_USER


# Who may


@pytest.fixture
def key(live):
    _, token = ApiKeys(live.records()).create("label studio", frozenset({"label"}))
    return token


def test_a_project_uses_a_model_of_its_keys_workspace(api, project, tiny_model, tmp_path):
    service = api(auth=True)
    state = service.app.state.toco
    write_learnt_model(tmp_path / "words", tiny_model, ("mug",))
    state.published.publish("farm-words", tmp_path / "words", workspace="farm")
    body = {"project": project, "extra_params": {"model": "farm-words"}}
    for workspace, status in (("farm", 200), ("zoo", 404)):
        _, token = ApiKeys(state.records).create("label studio", frozenset({"label"}), workspace=workspace)
        answer = service.post("/labelstudio/setup", json=body, auth=("x", token))
        assert answer.status_code == status, answer.text
    state.published.delete("farm-words", "farm")


def test_basic_auth_takes_an_api_key_for_the_password(api, key, project):
    service = api(auth=True)
    body = {"project": project, "extra_params": QUICK}
    assert service.get("/labelstudio/health").status_code == 200
    for path in ("setup", "predict", "webhook"):
        assert service.post(f"/labelstudio/{path}", json=body | {"tasks": []}).status_code == 401, path
        wrong = ("anyone", key + "x")
        assert service.post(f"/labelstudio/{path}", json=body | {"tasks": []}, auth=wrong).status_code == 401, path
    right = ("anyone", key)
    assert service.post("/labelstudio/setup", json=body, auth=right).status_code == 200
    assert service.get("/labelstudio/versions", auth=right).status_code == 200
    assert service.post("/labelstudio/webhook", json={"action": "START_TRAINING"}, auth=right).status_code == 201
    assert service.post("/labelstudio/setup", json=body, headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_a_key_that_may_only_read_labels_nothing(api, live, project):
    _, reader = ApiKeys(live.records()).create("reader", frozenset({"read"}))
    auth = ("x", reader)
    assert api(auth=True).post("/labelstudio/setup", json={"project": project}, auth=auth).status_code == 403


def test_webhooks_come_in_by_the_secret_in_their_address_alone(api, live, key, project):
    service = api(auth=True, label_studio_webhook_secret=SECRET)
    stats = service.app.state.toco.stats
    before = stats.totals().get("label_studio:ANNOTATION_CREATED", 0)
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "task": {"id": 2}, "annotation": {"id": 3}}
    assert service.post(f"/labelstudio/{SECRET}/webhook", json=event).status_code == 201
    assert service.post(f"/labelstudio/{SECRET}x/webhook", json=event).status_code == 401
    assert service.post("/labelstudio/webhook", json=event).status_code == 401
    assert stats.totals()["label_studio:ANNOTATION_CREATED"] == before + 1
    assert service.post(f"/labelstudio/{SECRET}/webhook", json={"action": "SOMETHING_ELSE"}).status_code == 201
    shown = service.get("/metrics").text
    assert f'toco_label_studio_events_total{{action="ANNOTATION_CREATED"}} {before + 1}' in shown
    assert 'action="other"' in shown
    assert "SOMETHING_ELSE" not in shown
    assert service.get(f"/labelstudio/{SECRET}/health").status_code == 200
    assert service.get("/labelstudio/wrong/health").status_code == 401, "seen at once when it is connected"
    body = {"project": project, "extra_params": QUICK}
    assert service.post(f"/labelstudio/{SECRET}/setup", json=body).status_code == 401, "the secret opens nothing else"
    assert service.post(f"/labelstudio/{SECRET}/setup", json=body, auth=("x", key)).status_code == 200
    assert api(auth=True).post(f"/labelstudio/{SECRET}/webhook", json=event).status_code == 401


def test_without_keys_other_sites_pages_are_refused(api, project):
    answer = api().post("/labelstudio/setup", json={"project": project}, headers={"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_masks_of_a_photo_turned_by_exif_are_upright(api, project, jpeg):
    import io

    from PIL import Image

    photo = Image.open(io.BytesIO(jpeg(30, (64, 48))))
    exif = photo.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=exif)
    service = api()
    set_up(service, project)
    address = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    (found,) = predict(service, project, [{"id": 1, "data": {"image": address, "tags": ["cat", "dog"]}}])
    sizes = {(region["original_width"], region["original_height"]) for region in found["result"]}
    assert sizes == {(48, 64)}
    assert np.all([region["image_rotation"] == 0 for region in found["result"]])
