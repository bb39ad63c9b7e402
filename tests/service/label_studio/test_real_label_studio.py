"""The real Label Studio and the real service: one button, and the pseudo masks are in the annotator's tasks."""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pycocotools.mask
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.service.label_studio.real_label_studio import PASSWORD, TOKEN, USER, RealLabelStudio
from tests.service.live import LiveService, until
from tests.service.page.chromium import PATIENCE_MS
from tests.service.page.conftest import browser  # noqa: F401 - a fixture
from toco.jobs.api_keys import ApiKeys
from toco.jobs.model_catalogue import find_models
from toco.model.formats.label_studio import encode_brush_rle
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask
from toco.service.cli.main import app
from toco.service.one_machine.embedded import free_port
from toco.service.one_machine.supervisor import Program

# pycocotools 2.0.11 decodes by an array protocol that NumPy 2 warns of.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

DOCS = Path(__file__).parents[3] / "docs" / "images"
SECRET = "the-secret-in-the-webhooks-address"
TAGS = {
    "cat.jpg": ["cat"],
    "dog.jpg": ["dog"],
    "horses.jpg": ["horse", "unicorn"],
    "person.jpg": "person; puppy; horse",
}
KINDS = ("brush", "polygon", "rectangle", "keypoint")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLabelStudio]:
    studio = RealLabelStudio(tmp_path_factory.mktemp("label-studio"), free_port())
    studio.start()
    yield studio
    studio.stop()


@pytest.fixture(scope="module")
def service(studio, models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service that demands keys and knows the Label Studio, though its address is private."""
    with LiveService(
        tmp_path_factory.mktemp("service"),
        models_folder,
        TOCO_AUTH="true",
        TOCO_OUTBOUND_ALLOW_PRIVATE="",
        TOCO_LABEL_STUDIO_URL=studio.url,
        TOCO_LABEL_STUDIO_TOKEN=TOKEN,
        TOCO_LABEL_STUDIO_WEBHOOK_SECRET=SECRET,
    ) as service:
        yield service


@pytest.fixture(scope="module")
def key(service) -> str:
    return ApiKeys(service.records()).create("label studio", frozenset({"label"}))[1]


@pytest.fixture(scope="module")
def connect(studio, service, key):
    """Run `toco labelstudio connect`, and return the labelling config that it prints."""

    def run(project: int, *arguments: str, backend: str = "", password: str = "") -> str:
        given = ["--url", studio.url, "--token", TOKEN, "--project", str(project), "--key", password or key]
        given += ["--backend", backend or f"{service.url}/labelstudio", "--preset", "fast", *arguments]
        result = CliRunner().invoke(app, ["labelstudio", "connect", *given], env=service.environment)
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
        return result.stdout

    return run


@pytest.fixture(scope="module")
def default_model() -> str:
    """The model that ships; a random one leaves hardly any region to compare."""
    (name,) = find_models(None).known
    return name


@pytest.fixture(scope="module")
def pets(studio, samples, connect, default_model) -> dict:
    """A project with four photos and their tags, connected, with all kinds of regions."""
    project = studio.make_project("Pets", "<View><Image name='image' value='$image'/></View>")
    kinds = [part for kind in KINDS for part in ("--region", kind)]
    config = connect(project, "--model", default_model, "--preset", "balanced", "--interactive", *kinds)
    studio.call("PATCH", f"/api/projects/{project}", json={"label_config": config})
    photos = studio.upload(project, {name: (samples / name).read_bytes() for name in TAGS})
    tasks = studio.import_tasks(project, [{"image": photos[name], "tags": tags} for name, tags in TAGS.items()])
    backend = studio.call("GET", "/api/ml", params={"project": project})[0]
    return {"id": project, "tasks": tasks, "backend": backend["id"], "version": backend["model_version"]}


@pytest.fixture(scope="module")
def predicted(studio, pets) -> dict[int, list[dict]]:
    studio.retrieve_predictions(pets["id"])
    # A cold model on a busy machine is late; then its predictions are pushed.
    until(lambda: len(studio.predictions(pets["id"])) == len(pets["tasks"]), 300)
    return studio.predictions(pets["id"])


def pseudo_mask(service, key, photo):
    """The service's own mask of a photo that Label Studio keeps."""
    with service.client(key) as client:
        for job in client.jobs():
            for item in client.items(job["id"]):
                if item["name"] == photo.rpartition("/")[2] and item["state"] == "done":
                    return read_mask(client.artifact(job["id"], item["id"], "pseudo_mask.png"))
    raise LookupError(photo)


def is_up(address):
    try:
        return httpx.get(address).json() == {"status": "UP", "model_class": "ToCo"}
    except httpx.HTTPError:
        return False


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def filled(regions, shape):
    height, width = shape
    rings = [(np.array(r["value"]["points"]) / 100 * [width, height]).ravel().tolist() for r in regions]
    merged = pycocotools.mask.merge(pycocotools.mask.frPyObjects(rings, height, width))
    return pycocotools.mask.decode(merged).astype(bool)


def test_every_task_has_one_prediction_of_the_version_that_setup_named(pets, predicted):
    assert predicted.keys() == {task["id"] for task in pets["tasks"]}
    assert all(len(found) == 1 and found[0]["model_version"] == pets["version"] for found in predicted.values())
    assert re.fullmatch(r"[\w.-]+@[0-9a-f]{12}\+[0-9a-f]{12}", pets["version"])


def test_brush_regions_are_the_very_pseudo_mask_and_polygons_nearly(studio, service, key, pets, predicted):
    compared = 0
    for task in pets["tasks"]:
        mask = pseudo_mask(service, key, task["data"]["image"])
        regions = predicted[task["id"]][0]["result"]
        brushes = [region for region in regions if region["type"] == "brushlabels"]
        decoded = studio.decode_brush(brushes)
        shown = {VOC.name_of_index[index] for index in np.unique(mask) if index not in (0, 255)}
        assert {region["value"]["brushlabels"][0] for region in brushes} == shown
        for region in brushes:
            (label,) = region["value"]["brushlabels"]
            truth = mask == VOC.classes[VOC.channel(label)].index
            assert np.array_equal(decoded[region["id"]], truth), "IoU 1.0"
            polygons = [r for r in regions if r["value"].get("polygonlabels") == [label]]
            assert iou(filled(polygons, mask.shape), truth) > 0.97, (task["data"]["image"], label)
            points = [r for r in regions if r["value"].get("keypointlabels") == [label]]
            assert len(points) == 1
            assert 0 < points[0]["score"] <= 1
            boxes = [r for r in regions if r["value"].get("rectanglelabels") == [label]]
            assert boxes
            assert all(0 <= r["score"] <= 1 for r in (*polygons, *boxes, region))
            compared += 1
    assert compared >= 3


def test_asking_again_makes_nothing_new(studio, pets, predicted):
    studio.retrieve_predictions(pets["id"])
    assert studio.predictions(pets["id"]) == predicted


def test_interactive_mode_segments_what_the_annotator_names(studio, pets, predicted):
    task, label = next(
        (task["id"], task["data"]["tags"][0])
        for task in pets["tasks"]
        if len(task["data"]["tags"]) == 1 and predicted[task["id"]][0]["result"]
    )
    click = {
        "id": "click", "type": "keypointlabels", "from_name": "keypoint", "to_name": "image",
        "original_width": 640, "original_height": 424,
        "value": {"x": 30, "y": 50, "width": 1, "keypointlabels": [label]},
    }  # fmt: skip
    body = {"task": task, "context": {"result": [click]}}
    answer = studio.call("POST", f"/api/ml/{pets['backend']}/interactive-annotating", json=body)
    regions = answer["data"]["result"]
    assert regions
    labels = {
        label for region in regions for name, value in region["value"].items() if "labels" in name for label in value
    }
    assert labels == {label}
    assert "keypointlabels" not in {region["type"] for region in regions}


def test_an_annotation_arrives_as_a_webhook(studio, service, pets, predicted):
    records = service.records()
    counter = "label_studio:ANNOTATION_CREATED"
    before = float(records.redis.hget("toco:totals", counter) or 0)
    task = pets["tasks"][0]["id"]
    studio.call("POST", f"/api/tasks/{task}/annotations", json={"result": predicted[task][0]["result"]})
    until(lambda: float(records.redis.hget("toco:totals", counter) or 0) == before + 1)
    records.redis.close()


def test_a_correction_made_there_is_in_our_export(studio, service, key, pets, predicted, tmp_path):
    task = next(task for task in pets["tasks"] if task["data"]["image"].endswith("cat.jpg"))
    photo = task["data"]["image"].rpartition("/")[2]
    height, width = pseudo_mask(service, key, photo).shape
    painted = np.zeros((height, width), bool)
    painted[10:60, 20:90] = True  # what the annotator paints, all that there is
    region = {
        "id": "painted", "type": "brushlabels", "from_name": "brush", "to_name": "image", "image_rotation": 0,
        "original_width": width, "original_height": height,
        "value": {"format": "rle", "rle": encode_brush_rle(painted), "brushlabels": ["cat"]},
    }  # fmt: skip
    studio.call("POST", f"/api/tasks/{task['id']}/annotations", json={"result": [region]})

    def corrected():
        with service.client(key) as client:
            for job in client.jobs():
                for item in client.items(job["id"]):
                    if item["name"] == photo and item["revision"] and item["revision"]["how"] == "label_studio":
                        return job["id"], item
        return None

    job, item = until(corrected)  # by the webhook
    with service.client(key) as client:
        before = read_mask(client.mask(job, item["id"], revision=0))
        wanted = np.where(painted, np.uint8(8), np.where(before == 255, np.uint8(255), np.uint8(0)))
        assert np.array_equal(read_mask(client.mask(job, item["id"])), wanted)
        assert next(client.revisions(job, item["id"]))["who"].startswith("Label Studio")
        client.choose_revision(job, item["id"], 0)
        arguments = ["labelstudio", "pull", "--project", str(pets["id"]), "--url", service.url, "--key", key]
        pulled = CliRunner().invoke(app, arguments)
        assert pulled.exit_code == 0, pulled.output
        assert "annotated tasks" in pulled.stdout
        assert np.array_equal(read_mask(client.mask(job, item["id"])), wanted)
        again = CliRunner().invoke(app, arguments)
        assert again.stdout.startswith("0 revisions"), again.output
        client.export(job, "voc", tmp_path / "labels.zip")
    with zipfile.ZipFile(tmp_path / "labels.zip") as archive:
        stem = Path(photo).stem
        exported = read_mask(archive.read(f"SegmentationClass/{stem}.png"))
    assert np.array_equal(exported, wanted)


def test_a_wrong_password_is_refused_when_connecting_and_when_predicting(studio, service, key, pets):
    body = {
        "project": pets["id"], "url": f"{service.url}/labelstudio/{SECRET}", "title": "wrong",
        "auth_method": "BASIC_AUTH", "basic_auth_user": "toco", "basic_auth_pass": key + "x",
    }  # fmt: skip
    answer = studio.http.post("/api/ml", json=body)
    assert answer.status_code == 400
    assert "401" in answer.text
    project = studio.make_project("Revoked", "<View><Image name='image' value='$image'/></View>")
    keys = ApiKeys(service.records())
    passing, token = keys.create("passing", frozenset({"label"}))
    studio.call("POST", "/api/ml", json=body | {"project": project, "basic_auth_pass": token})
    studio.import_tasks(project, [{"image": pets["tasks"][0]["data"]["image"], "tags": ["cat"]}])
    keys.revoke(passing.id)
    studio.retrieve_predictions(project)
    assert studio.predictions(project) == {}


def test_fifty_tasks_in_one_predict_and_a_restart_between_two(studio, service, connect, jpeg):
    project = studio.make_project("Fifty", "<View><Image name='image' value='$image'/></View>")
    config = connect(project)
    studio.call("PATCH", f"/api/projects/{project}", json={"label_config": config})
    photos = studio.upload(project, {f"{n}.jpg": jpeg(n, (48, 36)) for n in range(51)})
    studio.import_tasks(project, [{"image": photos[f"{n}.jpg"], "tags": ["cat", "dog"]} for n in range(50)])
    studio.retrieve_predictions(project)
    until(lambda: len(studio.predictions(project)) == 50, 120)  # those that are late are pushed

    service.api.stop()
    studio.import_tasks(project, [{"image": photos["50.jpg"], "tags": ["cat"]}])
    studio.retrieve_predictions(project)
    assert len(studio.predictions(project)) == 50, "the service is away: nothing is made up"
    service.api.start()
    service.until_ready()
    studio.retrieve_predictions(project)
    until(lambda: len(studio.predictions(project)) == 51, 120)


def test_late_results_are_pushed_and_the_protocol_stands_at_the_root_of_a_port_of_its_own(
    studio, service, connect, jpeg, tmp_path
):
    port = free_port()
    hasty = service.environment | {"TOCO_ANNOTATION_WAIT_SECONDS": "0"}
    program = Program(["labelstudio", "serve", "--port", str(port)], hasty, tmp_path / "hasty.log")
    program.start()
    try:
        until(lambda: is_up(f"http://127.0.0.1:{port}/health"), 120)
        project = studio.make_project("Late", "<View><Image name='image' value='$image'/></View>")
        config = connect(project, backend=f"http://127.0.0.1:{port}")
        studio.call("PATCH", f"/api/projects/{project}", json={"label_config": config})
        photos = studio.upload(project, {f"late-{n}.jpg": jpeg(900 + n) for n in range(3)})
        studio.import_tasks(project, [{"image": address, "tags": ["cat"]} for address in photos.values()])
        studio.retrieve_predictions(project)
        until(lambda: len(studio.predictions(project)) == 3, 120)
        assert all(len(made) == 1 for made in studio.predictions(project).values())
    finally:
        program.stop()


def test_the_editor_shows_the_default_models_mask(studio, service, samples, connect, default_model, request, tmp_path):
    """The picture in the docs: `TOCO_WRITE_IMAGES=1` writes it anew."""
    chrome = request.getfixturevalue("browser")
    project = studio.make_project("Street", "<View><Image name='image' value='$image'/></View>")
    config = connect(project, "--model", default_model, "--preset", "balanced", "--interactive")
    studio.call("PATCH", f"/api/projects/{project}", json={"label_config": config})
    photos = studio.upload(project, {"dog.jpg": (samples / "dog.jpg").read_bytes()})
    studio.import_tasks(project, [{"image": photos["dog.jpg"], "tags": ["dog"]}])
    studio.retrieve_predictions(project)
    until(lambda: studio.predictions(project), 300)

    page = chrome.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    # Its page asks other hosts for fonts and figures, which a closed network answers late.
    page.route(lambda url: not url.startswith((studio.url, "data:", "blob:")), lambda route: route.abort())
    page.goto(f"{studio.url}/user/login")
    page.fill("input[name=email]", USER)
    page.fill("input[name=password]", PASSWORD)
    with page.expect_navigation(wait_until="commit"):
        page.click("button[type=submit]")
    page.goto(f"{studio.url}/projects/{project}/data?labeling=1")
    page.get_by_text("dog", exact=True).nth(1).wait_for()  # once below the photo, once in the list of regions
    picture = tmp_path / "label-studio.png"

    def shows_the_mask():
        page.screenshot(path=picture)
        with Image.open(picture) as shot:
            red, green, blue = np.asarray(shot.convert("RGB"), float)[540:620, 280:340].mean(axis=(0, 1))
        return blue - green > 30 and blue - red > 15  # the dog's chest is black, its label purple

    until(shows_the_mask, 60)
    page.close()
    if os.environ.get("TOCO_WRITE_IMAGES"):
        with Image.open(picture) as shot:
            shot.convert("RGB").quantize(256).save(DOCS / "label-studio.png", optimize=True)
