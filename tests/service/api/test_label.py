"""One image in, its label out, within one request."""

import email
import email.policy
import io

import numpy as np
import pytest
from PIL import Image


def test_one_image_is_labelled_within_the_request(http, jpeg):
    answer = http.post("/v1/label", files={"image": ("cat.jpg", jpeg())}, data={"tags": "cat, puppy"})
    assert answer.status_code == 200, answer.text
    item = answer.json()["item"]
    assert item["state"] == "done"
    assert item["summary"]["tags"] == ["cat", "dog"]
    assert {part["name"] for part in item["artifacts"]} == {
        "cam.npz", "heat_cat.jpg", "heat_dog.jpg", "overlay.jpg", "pseudo_mask.png", "result.json",
        "tokens.npz",
    }  # fmt: skip
    for part in item["artifacts"]:
        found = http.get(part["url"])
        assert (found.status_code, len(found.content)) == (200, part["size"])
        assert found.headers["content-type"] == part["media_type"]


def test_accept_png_answers_with_the_mask(http, jpeg):
    photo, tags = jpeg(size=(50, 30)), {"tags": ["cat", "dog"]}
    answer = http.post("/v1/label", files={"image": photo}, data=tags, headers={"accept": "image/png"})
    mask = np.array(Image.open(io.BytesIO(answer.content)))
    assert mask.shape == (30, 50)
    assert set(np.unique(mask)) <= {0, 8, 12, 255}


def test_accept_multipart_answers_with_every_artifact(http, jpeg):
    answer = http.post(
        "/v1/label", files={"image": jpeg()}, data={"tags": "cat"}, headers={"accept": "multipart/form-data"}
    )
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    parts = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_parts()}
    assert {"pseudo_mask.png", "result.json", "cam.npz"} <= parts.keys()
    Image.open(io.BytesIO(parts["pseudo_mask.png"])).verify()


def test_without_tags_the_classifier_finds_them(http, jpeg):
    item = http.post("/v1/label", files={"image": jpeg()}, data={"options": '{"tag_threshold": 0.01}'}).json()["item"]
    assert item["summary"]["tag_source"] == "model"
    assert item["summary"]["tags"] == ["cat", "dog", "horse", "person"]


def test_no_wait_answers_202_with_the_job(http, jpeg):
    answer = http.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat", "wait_seconds": "0"})
    assert answer.status_code in (200, 202)
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job']['id']}"


@pytest.mark.parametrize(
    ("content", "data", "status", "code"),
    [
        (b"%PDF-1.4", {}, 415, "unsupported_image_format"),
        (b"", {}, 415, "unsupported_image_format"),
        (b"\xff\xd8\xff\xe0 and no more", {}, 422, "unreadable_image"),
        (None, {"model": "none"}, 404, "model_not_found"),
        (None, {"preset": "best"}, 422, "invalid_option"),
        (None, {"options": "{"}, 422, "invalid_option"),
        (None, {"options": '{"long_side": 1}'}, 422, "invalid_option"),
        (None, {"outputs": "mask"}, 422, "invalid_request"),
    ],
)
def test_what_does_not_fit_is_a_typed_problem(http, jpeg, content, data, status, code):
    photo = jpeg() if content is None else content
    answer = http.post("/v1/label", files={"image": photo}, data={"tags": "cat"} | data)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_formats_are_known_by_content_not_by_name(http, jpeg):
    for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"):
        photo, form = ("photo.jpg", jpeg(kind=kind)), {"tags": "cat", "preset": "fast"}
        answer = http.post("/v1/label", files={"image": photo}, data=form)
        assert answer.status_code == 200, (kind, answer.text)


def test_a_truncated_image_fails_with_its_own_error(http, jpeg):
    answer = http.post("/v1/label", files={"image": jpeg(size=(256, 256), kind="PNG")[:-200]}, data={"tags": "cat"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_image")


def test_segmentation_is_made_when_it_is_asked_for(http, jpeg):
    answer = http.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat", "outputs": "segmentation"})
    assert {part["name"] for part in answer.json()["item"]["artifacts"]} == {"segmentation.png", "result.json"}
