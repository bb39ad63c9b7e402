"""Words that are not understood, at every door of a running service: understood, mapped, left open or refused.

`toco label` is in `cli/test_label.py`, the page in `page/test_words.py`.
"""

import base64
import csv
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from toco.model.formats.label_studio import labelling_config
from toco.model.formats.registry import FORMATS
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask
from toco.service.client.client import ServiceError

# Unrefined, so that every tag keeps the peak of its CAM, whatever a random model makes of it.
QUICK = {"preset": "fast", "options": {"cam": {"size": 64}, "long_side": 64, "refine": "none"}}
FORM = {"preset": "fast", "options": json.dumps(QUICK["options"])}
CAT, OPEN = 8, 255


def mask_of(client, item):
    return read_mask(client.artifact(item["job"], item["id"], "pseudo_mask.png"))


def assert_cat(client, item):
    (word,) = item["summary"]["words"]
    assert (word["written"], word["understood"], word["why"]) == ("kitty", "cat", "kind")
    assert item["summary"]["tags"] == ["cat"]
    assert CAT in np.unique(mask_of(client, item))


def assert_open(client, item):
    assert item["summary"]["open_tags"] == ["mug"]
    assert (item["summary"]["doubt"], item["summary"]["ignore_ratio"]) == (1.0, 1.0)
    assert (mask_of(client, item) == OPEN).all()


# REST, one photo


def test_one_photo_over_rest(http, client, jpeg):
    def label(tags, **more):
        return http.post("/v1/label", files={"image": jpeg()}, data=FORM | {"tags": tags} | more)

    assert_cat(client, label("kitty").json()["item"])
    opened = label("mug").json()
    assert opened["job"]["unknown_tags"] == "open"
    assert_open(client, opened["item"])
    mapped = label("Mug", mapping='{"mug": "dog"}').json()["item"]
    assert mapped["summary"]["words"][0]["why"] == "mapping"
    refused = label("mug, kittn, cat", unknown_tags="refuse")
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_tag")
    assert "'kittn' (1 photo; did you mean 'cat'?), 'mug' (1 photo)" in refused.json()["detail"]
    assert label("mug", unknown_tags="ignore").status_code == 422
    assert label("mug", mapping='{"mug": 3}').json()["code"] == "invalid_mapping"
    assert label("mug", mapping="nobody's").json()["code"] == "mapping_not_found"


# REST, a job; Python client; exports


@pytest.fixture(scope="module")
def job(live, tmp_path_factory):
    """A job of a kitty, a mug, and a cat with a mug."""
    folder = tmp_path_factory.mktemp("words")
    for number, name in enumerate(("kitty", "mug", "both")):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(folder / f"{name}.jpg")
    tags = {"kitty.jpg": ["kitty"], "mug.jpg": ["mug"], "both.jpg": ["cats", "mug"]}
    with live.client() as client:
        return client.wait(client.label_folder(folder, tags=tags, **QUICK)["id"], timeout_seconds=120)


def test_a_job_takes_any_word_and_tells(client, job):
    assert (job["state"], job["unknown_tags"], job["open_photos"]) == ("succeeded", "learn", 2)
    assert job["notes"] == [
        "1 word not understood, on 2 photos; 1 of them has no other tag and is left wholly open.",
        "To be learnt, a word has to be on 5 photos or more.",
    ]
    words = {word["written"]: word for word in job["tags"]["words"]}
    assert (words["mug"]["photos"], words["mug"]["understood"]) == (2, None)
    assert words["cats"]["why"] == "plural"
    items = {item["name"]: item for item in client.items(job["id"])}
    assert_cat(client, items["kitty.jpg"])
    assert_open(client, items["mug.jpg"])
    both = items["both.jpg"]["summary"]
    assert (both["tags"], both["open_tags"], both["doubt"]) == (["cat"], ["mug"], 1.0)
    assert set(np.unique(mask_of(client, items["both.jpg"]))) <= {0, CAT, OPEN}


def test_items_with_open_words_are_found(client, job):
    assert {item["name"] for item in client.items(job["id"], open_tags=True)} == {"mug.jpg", "both.jpg"}
    assert list(client.items(job["id"], empty_tags=True)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_wholly_open_photo_is_left_out_of_every_format(name, client, job, tmp_path):
    def photos(**options):
        report = {}
        target = tmp_path / "out.zip"
        client.export(job["id"], name, target, options=options, progress=report.update)
        return report, "\n".join(zipfile.ZipFile(target).namelist()) + _texts(target)

    report, written = photos()
    assert (report["items"], report["skipped"], report["open_photos"]) == (2, 0, 1)
    assert [entry["code"] for entry in report["left_out"]] == ["wholly_open"]
    assert "kitty" in written
    assert "mug.jpg" not in written.replace('"name":"mug.jpg"', "")
    assert photos(open_photos=True)[0]["items"] == 3


def _texts(target):
    with zipfile.ZipFile(target) as archive:
        return "".join(
            archive.read(name).decode()
            for name in archive.namelist()
            if name.endswith((".txt", ".json", ".jsonl", ".xml")) and name != "left_out.jsonl"
        )


def test_a_refused_job_names_every_word_and_sends_nothing(client, http, jpeg, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    before = http.get("/v1/jobs?limit=1").json()["jobs"][:1]
    tags = {"a.jpg": ["mug", "kittn"]}
    with pytest.raises(ServiceError, match=r"'kittn' \(1 photo; did you mean 'cat'\?\), 'mug' \(1 photo\)") as found:
        client.label_folder(tmp_path, tags=tags, unknown_tags="refuse", progress=pytest.fail, **QUICK)
    assert found.value.code == "unknown_tag"
    sent = http.post(
        "/v1/jobs",
        files=[("images", ("a.jpg", jpeg())), ("images", ("b.jpg", jpeg()))],
        data=FORM | {"tags": ["mug", "kittn"], "unknown_tags": "refuse"},
    )
    assert sent.status_code == 422
    assert "kittn" in sent.json()["detail"]
    assert http.get("/v1/jobs?limit=1").json()["jobs"][:1] == before


# Looking at tags before, and kept mappings


def test_tags_are_looked_at_before(http, client):
    found = client.check_tags([["kitty", "mug"], "mug", ["hors"]], mapping={"mug": ""})
    assert [(word["written"], word["understood"], word["why"], word["photos"]) for word in found["words"]] == [
        ("hors", None, "unknown", 1),
        ("mug", None, "mapping", 2),
        ("kitty", "cat", "kind", 1),
    ]
    assert found["words"][0]["suggestions"] == ["horse"]
    assert (found["open_photos"], found["wholly_open_photos"]) == (1, 1)
    table = io.StringIO()
    csv.writer(table).writerows([("image", "tags"), ("a.jpg", "Hund"), ("b.jpg", "cat;mug")])
    files = {"manifest": ("tags.csv", table.getvalue()), "mapping": ("map.csv", b"Hund,dog\n")}
    checked = http.post("/v1/tags/check", files=files).json()
    assert [(word["written"], word["why"]) for word in checked["words"]] == [
        ("mug", "unknown"),
        ("Hund", "mapping"),
        ("cat", "exact"),
    ]
    assert checked["model"] == "tiny"
    refused = http.post("/v1/tags/check", files=files, data={"unknown_tags": "refuse"})
    assert refused.status_code == 422
    assert "mug" in refused.json()["detail"]
    assert http.post("/v1/tags/check", json={"tags": [3]}).status_code == 422
    assert http.post("/v1/tags/check", data={"model": ""}).status_code in {400, 422}


def test_a_mapping_is_kept_by_name_and_used_again(http, client, jpeg):
    client.keep_mapping("house codes", {"K-17": "cat", "Mug": ""})
    assert client.mappings() == ["house codes"]
    assert client.mapping("house codes") == {"K-17": "cat", "Mug": ""}
    item = client.label(jpeg(), ["k17", "mug"], mapping="house codes", **QUICK)["item"]
    assert item["summary"]["tags"] == ["cat"]
    assert [word["why"] for word in item["summary"]["words"]] == ["mapping", "mapping"]
    here = f"/v1/jobs/{item['job']}/items/{item['id']}"
    client.wait(http.post(f"{here}/revisions", json={"preset": "fast"}).json()["id"])
    again = http.get(here).json()
    assert (again["revision"]["number"], again["summary"]["tags"]) == (1, ["cat"])
    client.delete_mapping("house codes")
    assert http.get("/v1/mappings/house codes").json()["code"] == "mapping_not_found"
    assert http.delete("/v1/mappings/house codes").status_code == 404
    assert http.put("/v1/mappings/x", json={"words": {"a": "cat", "A": "dog"}}).json()["code"] == "invalid_mapping"


# Annotation tools


def test_label_studio(http, client, jpeg):
    project = "unknown-words"
    http.post(
        "/labelstudio/setup",
        json={"project": project, "schema": CONFIG, "hostname": "", "access_token": "", "extra_params": QUICK},
    )
    image = "data:image/jpeg;base64," + base64.b64encode(jpeg(11)).decode()
    tasks = [{"id": number, "data": {"image": image, "tags": [tag]}} for number, tag in enumerate(("kitty", "mug"))]
    body = {"tasks": tasks, "project": project, "label_config": CONFIG, "params": {"context": None}}
    kitty, mug = http.post("/labelstudio/predict", json=body).json()["results"]
    assert {label for region in kitty["result"] for label in region["value"].get("brushlabels", [])} == {"cat"}
    assert mug["result"] == []
    made = list(client.items(next(iter(client.jobs()))["id"]))
    assert_cat(client, made[0])
    assert_open(client, made[1])
    refusing = QUICK | {"unknown_tags": "refuse"}
    setup = {"project": project, "schema": CONFIG, "hostname": "", "access_token": "", "extra_params": refusing}
    http.post("/labelstudio/setup", json=setup)
    assert http.post("/labelstudio/predict", json=body).json()["code"] == "unknown_tag"


CONFIG = labelling_config(VOC.subset(("cat", "dog", "horse", "person")))


def test_cvat(http, client, jpeg):
    image = base64.b64encode(jpeg(12)).decode()

    def detect(*tags, **more):
        return http.post("/cvat/nuclio", json={"image": image, "tags": list(tags)} | more)

    assert {shape["label"] for shape in detect("kitty").json()} <= {"cat"}
    assert next(iter(client.items(next(iter(client.jobs()))["id"])))["summary"]["tags"] == ["cat"]
    assert detect("mug").json() == []
    assert_open(client, next(iter(client.items(next(iter(client.jobs()))["id"]))))
    assert detect("mug", unknown_tags="refuse").json()["code"] == "unknown_tag"
    assert detect("Becher", mapping={"Becher": "cat"}).status_code == 200
