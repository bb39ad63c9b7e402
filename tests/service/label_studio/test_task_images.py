"""Photos of tasks: every way in, and every way in that must be shut. The servers are real, on loopback."""

import base64
import json
import threading
import time

import pytest

from tests.dripping import DrippingServer
from toco.jobs.outbound import ForbiddenAddress, Outbound, OutboundFailed, OutboundTooLarge
from toco.jobs.store import InvalidObjectKey, ObjectNotFound, Store
from toco.service.label_studio.task_images import NoImage, TaskImages
from toco.service.label_studio.tool_api import LabelStudioApi, LabelStudioRefused

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef0123456789abcdef01234567"
OPEN = {"outbound_allow_private": ["127.0.0.0/8"]}


@pytest.fixture
def make_images(make_settings):
    """Task images with a Label Studio at an address, or none."""
    opened = []

    def make(url="", token=TOKEN, **fields):
        settings = make_settings(label_studio_url=url, store_url="memory://", **fields)
        outbound = Outbound(settings, trusted_url=url)
        opened.append(outbound)
        return TaskImages(settings, Store.open(settings), outbound, LabelStudioApi(outbound, url, token))

    yield make
    for outbound in opened:
        outbound.close()


def jwt(**claims):
    parts = [{"alg": "HS256"}, claims]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "s"]
    )


def test_photos_of_label_studio_come_with_its_token_though_its_address_is_private(web, make_images):
    web.pages = {"/data/upload/1/a%20b.jpg": (200, {}, b"one"), "/data/local-files/?d=x/c.jpg": (200, {}, b"two")}
    images = make_images(web.url)
    assert images.fetch("/data/upload/1/a%20b.jpg", seconds=5).content == b"one"
    assert images.fetch("/data/local-files/?d=x/c.jpg", seconds=5).content == b"two"
    assert images.fetch(f"{web.url}/data/upload/1/a%20b.jpg", seconds=5).content == b"one"
    assert [headers["authorization"] for _, _, headers, _ in web.asked] == [f"Token {TOKEN}"] * 3


def test_a_label_studio_under_a_path_is_asked_under_that_path(web, make_images):
    web.pages["/studio/data/upload/1/a.jpg"] = (200, {}, b"one")
    images = make_images(f"{web.url}/studio/")
    assert images.fetch("/data/upload/1/a.jpg", seconds=5).content == b"one"
    assert images.fetch("/studio/data/upload/1/a.jpg", seconds=5).content == b"one"


def test_the_token_goes_to_no_other_host(web, other_web, make_images):
    other_web.pages["/a.jpg"] = (200, {}, b"photo")
    web.pages["/data/upload/1/moved.jpg"] = (302, {"location": f"{other_web.url}/a.jpg"}, b"")
    images = make_images(web.url, **OPEN)
    assert images.fetch(f"{other_web.url}/a.jpg", seconds=5).content == b"photo"
    assert images.fetch("/data/upload/1/moved.jpg", seconds=5).content == b"photo"
    same_name = f"http://localhost:{web.port}/data/upload/1/moved.jpg"
    images.fetch(same_name, seconds=5)
    assert [headers.get("authorization") for headers in other_web.headers_of("/a.jpg")] == [None] * 3
    assert [h.get("authorization") for h in web.headers_of("/data/upload/1/moved.jpg")] == [f"Token {TOKEN}", None]


def test_private_addresses_are_refused_in_every_spelling_and_after_redirects(web, other_web, make_images):
    web.pages["/data/upload/1/trap.jpg"] = (302, {"location": f"{other_web.url}/a.jpg"}, b"")
    images = make_images(web.url)
    port = other_web.port
    for address in (
        f"http://127.0.0.1:{port}/a.jpg",
        f"http://localhost:{port}/a.jpg",
        f"http://[::1]:{port}/a.jpg",
        f"http://[::ffff:127.0.0.1]:{port}/a.jpg",
        f"http://0x7f.1:{port}/a.jpg",
        f"http://2130706433:{port}/a.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/a.jpg",
        "/data/upload/1/trap.jpg",
    ):
        with pytest.raises((ForbiddenAddress, OutboundFailed)) as caught:
            images.fetch(address, seconds=5)
        assert isinstance(caught.value, ForbiddenAddress) or "resolved" in str(caught.value), address
    assert other_web.asked == []


@pytest.mark.parametrize(
    "reference",
    [
        "//127.0.0.1/a.jpg",
        "/\\127.0.0.1/a.jpg",
        "ftp://example.org/a.jpg",
        "file:///etc/passwd",
        "http://user:secret@example.org/a.jpg",
        "javascript:alert(1)",
        "photo.jpg",
        "http://",
        "http://[::1/a.jpg",
    ],
)
def test_what_is_no_address_is_refused(web, make_images, reference):
    with pytest.raises(ForbiddenAddress):
        make_images(web.url).fetch(reference, seconds=5)
    assert web.asked == []


def test_a_path_needs_a_configured_label_studio(make_images):
    with pytest.raises(ForbiddenAddress, match="TOCO_LABEL_STUDIO_URL"):
        make_images().fetch("/data/upload/1/a.jpg", seconds=5)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_an_answer_without_a_photo_says_what_to_check(web, make_images, status):
    web.pages["/data/upload/1/a.jpg"] = (status, {}, b"")
    with pytest.raises(NoImage, match=str(status)):
        make_images(web.url).fetch("/data/upload/1/a.jpg", seconds=5)


def test_bytes_are_capped_as_they_come_in(web, make_images):
    web.pages["/data/big.jpg"] = (200, {}, b"x" * 5000)
    with pytest.raises(OutboundTooLarge):
        make_images(web.url, max_image_bytes=4096).fetch("/data/big.jpg", seconds=5)


def test_photos_that_do_not_come_in_time_are_given_up_and_the_others_are_kept(web, make_images):
    over = threading.Event()

    def slow(_):
        over.wait(60)
        return 200, {}, b"late"

    web.pages = {"/data/slow.jpg": slow, "/data/quick.jpg": (200, {}, b"here")}
    images = make_images(web.url)
    found = images.fetch_all(["/data/slow.jpg", "/data/quick.jpg", None, " "], seconds=2)
    over.set()
    assert [type(image.error) for image in found] == [OutboundFailed, type(None), NoImage, NoImage]
    assert found[1].content == b"here"


@pytest.mark.parametrize("head_at_once", [True, False])
def test_photos_that_drip_end_in_time_and_leave_room_for_the_next(web, make_images, head_at_once):
    web.pages["/good.jpg"] = (200, {}, b"photo")
    images = make_images(**OPEN)
    with DrippingServer(head_at_once=head_at_once) as dripping:
        begun = time.monotonic()
        found = images.fetch_all([f"{dripping.url}/{number}.jpg" for number in range(16)], seconds=1.5)
        assert time.monotonic() - begun < 30, "they drip for minutes"
        assert {type(image.error) for image in found} == {OutboundFailed}
        assert images.fetch(f"{web.url}/good.jpg", seconds=30).content == b"photo"


def test_data_uris_are_decoded(make_images):
    images = make_images(max_image_bytes=1024)
    encoded = base64.b64encode(b"\xff\xd8photo").decode()
    assert images.fetch(f"data:image/jpeg;base64,{encoded}", seconds=1).content == b"\xff\xd8photo"
    assert images.fetch("data:image/svg,%3Csvg%3E", seconds=1).content == b"<svg>"
    with pytest.raises(NoImage):
        images.fetch("data:image/jpeg;base64,@@@", seconds=1)
    with pytest.raises(OutboundTooLarge):
        images.fetch("data:image/jpeg;base64," + base64.b64encode(b"x" * 1500).decode(), seconds=1)
    with pytest.raises(OutboundTooLarge):
        images.fetch("data:image/jpeg;base64," + "A" * 5000, seconds=1)


def test_objects_of_the_configured_store_are_labelled_in_place(make_settings):
    settings = make_settings(store_url="s3://photos/toco", label_studio_url="")

    class Objects:
        def head(self, key):
            if key != "inputs/cat 1.jpg":
                raise ObjectNotFound(key)

    outbound = Outbound(settings)
    images = TaskImages(settings, Objects(), outbound, LabelStudioApi(outbound, "", ""))
    assert images.fetch("s3://photos/toco/inputs/cat%201.jpg", seconds=1).key == "inputs/cat 1.jpg"
    with pytest.raises(ObjectNotFound):
        images.fetch("s3://photos/toco/inputs/none.jpg", seconds=1)
    for outside in ("s3://photos/toco/jobs/1/a.jpg", "s3://other/toco/inputs/a.jpg"):
        with pytest.raises(ForbiddenAddress):
            images.fetch(outside, seconds=1)
    with pytest.raises(InvalidObjectKey):
        images.fetch("s3://photos/toco/inputs/../jobs/a", seconds=1)
    outbound.close()


# Tokens and calls


def test_a_personal_token_is_exchanged_once_for_a_short_one(web, make_images):
    short = jwt(token_type="access", exp=time.time() + 300)
    web.json("POST /api/token/refresh", {"access": short})
    web.pages["/data/a.jpg"] = (200, {}, b"photo")
    personal = jwt(token_type="refresh", exp=time.time() + 1e9)
    images = make_images(web.url, token=personal)
    for _ in range(2):
        assert images.fetch("/data/a.jpg", seconds=5).content == b"photo"
    assert web.bodies("POST", "/api/token/refresh") == [{"refresh": personal}]
    assert [headers["authorization"] for headers in web.headers_of("/data/a.jpg")] == [f"Bearer {short}"] * 2


def test_a_short_token_that_ends_is_exchanged_anew_and_one_that_is_given_is_used_as_it_is(web, make_images):
    web.json("POST /api/token/refresh", {"access": jwt(token_type="access", exp=time.time() + 5)})
    web.pages["/data/a.jpg"] = (200, {}, b"photo")
    images = make_images(web.url, token=jwt(token_type="refresh"))
    for _ in range(2):
        images.fetch("/data/a.jpg", seconds=5)
    assert len(web.bodies("POST", "/api/token/refresh")) == 2
    access = jwt(token_type="access")
    make_images(web.url, token=access).fetch("/data/a.jpg", seconds=5)
    assert web.headers_of("/data/a.jpg")[-1]["authorization"] == f"Bearer {access}"


def test_a_refused_call_says_what_label_studio_said(web, make_settings):
    web.json("/api/ml?project=1", {"detail": "Invalid token."}, status=401)
    web.pages["/api/none"] = (200, {}, b"<html>")
    outbound = Outbound(make_settings(), trusted_url=web.url)
    api = LabelStudioApi(outbound, web.url, "a.b.c")
    with pytest.raises(LabelStudioRefused, match="Invalid token") as caught:
        api.call("GET", "/api/ml", query={"project": "1"})
    assert caught.value.status == 401
    with pytest.raises(LabelStudioRefused, match="no JSON"):
        api.call("GET", "/api/none")
    outbound.close()
