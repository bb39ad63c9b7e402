"""Masks that people put: taken as they are, or refused with a reason."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.labelled_items import labelled_job
from toco.jobs.api_keys import ApiKeys
from toco.model.formats.artifacts import encode_mask
from toco.model.formats.rle import encode_rle
from toco.model.photos.images import read_mask

CAT, DOG = 8, 12


@pytest.fixture
def state(alone):
    state = alone.app.state.toco
    state.records.redis.flushdb()
    state.start()
    return state


@pytest.fixture
def here(state):
    return f"/v1/jobs/{labelled_job(state.records, state.store).id}/items/000000"


def drawn(columns: int = 40) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[:, :columns] = DOG
    mask[80:] = 255
    return mask


def png(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def test_a_mask_is_put_shown_and_taken_back(alone, here):
    listed = alone.get(f"{here}/revisions").json()
    assert [(entry["number"], entry["how"], entry["current"]) for entry in listed["revisions"]] == [
        (0, "machine", True)
    ]
    machine = alone.get(f"{here}/artifacts/pseudo_mask.png").content
    overlay = alone.get(f"{here}/preview?layer=overlay").content
    answer = alone.put(f"{here}/mask?how=brush&accept=true", content=encode_mask(drawn()), headers={"if-match": '"0"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"'), answer.text
    assert (answer.json()["number"], answer.json()["who"], answer.json()["how"]) == (1, "local user", "brush")
    item = alone.get(here).json()
    assert item["revision"] == {"number": 1, "how": "brush", "latest": 1}
    assert (item["decision"], item["summary"]["tags"]) == ("accept", ["cat", "dog", "person"])
    assert (read_mask(alone.get(f"{here}/artifacts/pseudo_mask.png").content) == drawn()).all()
    assert alone.get(f"{here}/preview?layer=overlay").content != overlay
    assert alone.get(f"{here}/revisions/0/mask.png").content == machine
    back = alone.post(f"{here}/revisions/0/current", headers={"if-match": "1"})
    assert (back.status_code, back.json()["current"], back.headers["etag"]) == (200, True, '"0"')
    assert alone.get(f"{here}/artifacts/pseudo_mask.png").content == machine


def test_who_comes_second_is_told_the_current_revision(alone, here):
    assert alone.put(f"{here}/mask", content=encode_mask(drawn()), headers={"if-match": '"0"'}).status_code == 200
    late = alone.put(f"{here}/mask", content=encode_mask(drawn(9)), headers={"if-match": '"0"'})
    assert (late.status_code, late.json()["code"], late.headers["etag"]) == (412, "revision_outdated", '"1"')
    again = alone.put(f"{here}/mask", content=encode_mask(drawn()), headers={"if-match": '"0"'})
    assert (again.status_code, again.json()["number"]) == (200, 1), "the same request, its answer lost"
    assert alone.put(f"{here}/mask", content=encode_mask(drawn(9))).json()["number"] == 2


def test_run_lengths_and_grey_pictures_are_masks_too(alone, here):
    wanted = drawn()
    packed = [
        {"label": "open", "segmentation": encode_rle(wanted == 255)},
        {"label": "dog", "segmentation": encode_rle(wanted == DOG)},
    ]
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], (wanted == DOG).T.ravel(), [2]]))))
    plain = [
        packed[0],
        {"label": "dog", "segmentation": {"size": [90, 120], "counts": [0, *runs.tolist()]}},
    ]
    for body in (
        json.dumps({"regions": packed}).encode(),
        json.dumps({"regions": plain}).encode(),
        png(Image.fromarray(wanted)),
    ):
        assert alone.put(f"{here}/mask", content=body).status_code == 200
        assert (read_mask(alone.get(f"{here}/artifacts/pseudo_mask.png").content) == wanted).all()


def bodies():
    wide = np.zeros((90, 121), np.uint8)
    strange = drawn()
    strange[5, 5] = 77
    rle = encode_rle(drawn() == DOG)
    yield "no body", b"", "empty"
    yield "text", b"mask", "no PNG"
    yield "another size", encode_mask(wide), "121 x 90"
    yield "unknown index", encode_mask(strange), "index 77"
    yield "colours", png(Image.new("RGB", (120, 90))), "class indices"
    yield "16 bits", png(Image.new("I;16", (120, 90))), "class indices"
    yield "JPEG", png(Image.fromarray(drawn()), "JPEG"), "no PNG"
    yield "cut short", encode_mask(drawn())[:-40], "cannot be"
    yield "no regions", b"{}", "regions"
    yield "unknown class", {"label": "unicorn", "segmentation": rle}, "unicorn"
    yield "size of its own", {"label": "dog", "segmentation": {**rle, "size": [120, 90]}}, "90 x 120"
    yield "runs too long", {"label": "dog", "segmentation": {"size": [90, 120], "counts": [0, 10**12]}}, "10,800"
    yield "runs too short", {"label": "dog", "segmentation": {"size": [90, 120], "counts": [3]}}, "3 pixels"
    yield "half a number", {"label": "dog", "segmentation": {"size": [90, 120], "counts": "P"}}, "middle"
    yield "signs", {"label": "dog", "segmentation": {"size": [90, 120], "counts": "\u20ac\u20ac"}}, "hold"
    yield "many signs", {"label": "dog", "segmentation": {"size": [90, 120], "counts": "o" * 99}}, "hold"


@pytest.mark.parametrize(("body", "said"), [case[1:] for case in bodies()], ids=[case[0] for case in bodies()])
def test_what_is_no_mask_of_this_photo_is_refused_and_changes_nothing(alone, here, body, said):
    content = body if isinstance(body, bytes) else json.dumps({"regions": [body]}).encode()
    answer = alone.put(f"{here}/mask", content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_mask"), answer.text
    assert said in answer.json()["detail"]
    assert len(alone.get(f"{here}/revisions").json()["revisions"]) == 1


def test_other_faults_are_told_apart(alone, here):
    mask = encode_mask(drawn())
    for path, status, code in (
        (f"{here}/mask?tag=unicorn", 422, "invalid_mask"),
        (f"{here}/mask?how=thresholds", 422, "invalid_request"),
        (f"{here[:-6]}000007/mask", 404, "item_not_found"),
    ):
        answer = alone.put(path, content=mask)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    wrong = alone.put(f"{here}/mask", content=mask, headers={"if-match": "abc"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_option")
    missing = alone.post(f"{here}/revisions/5/current")
    assert (missing.status_code, missing.json()["code"]) == (404, "revision_not_found")


def test_a_page_of_revisions_goes_on_where_the_last_ended(alone, here):
    for columns in range(1, 6):
        alone.put(f"{here}/mask", content=encode_mask(drawn(columns)))
    first = alone.get(f"{here}/revisions?limit=4").json()
    rest = alone.get(f"{here}/revisions?limit=4&before={first['next']}").json()
    numbers = [entry["number"] for page in (first, rest) for entry in page["revisions"]]
    assert (numbers, rest["next"]) == ([5, 4, 3, 2, 1, 0], None)


def test_a_revision_names_the_key_that_made_it(start):
    client = start(auth=True)
    state = client.app.state.toco
    job = labelled_job(state.records, state.store).id
    token = ApiKeys(state.records).create("ann", frozenset({"label"}))[1]
    answer = client.put(
        f"/v1/jobs/{job}/items/000000/mask",
        content=encode_mask(drawn()),
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.json()["who"] == "ann"
