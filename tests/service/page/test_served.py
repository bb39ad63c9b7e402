"""How the page and the small pictures come over HTTP."""

import gzip
import io
import re

import httpx
import pytest
from PIL import Image


@pytest.fixture
def assets(http: httpx.Client) -> list[str]:
    return re.findall(r'(?:src|href)="\./(assets/[^"]+)"', http.get("/").text)


def test_the_page_is_under_a_strict_policy(http):
    answer = http.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert not re.search(r"https?://", answer.text)


def test_assets_are_kept_and_the_page_is_asked_for_anew(http, assets):
    assert len(assets) >= 3
    for asset in assets:
        answer = http.get(f"/{asset}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    page = http.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_scripts_are_sent_packed_to_those_who_take_it(live, assets):
    script = next(asset for asset in assets if asset.endswith(".js"))
    with httpx.Client(base_url=live.url) as client:
        plain = client.get(f"/{script}", headers={"accept-encoding": "identity"})
        with client.stream("GET", f"/{script}", headers={"accept-encoding": "gzip"}) as packed:
            body = b"".join(packed.iter_raw())
    assert plain.headers["content-type"].startswith("text/javascript")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == plain.content
    assert len(body) < len(plain.content) / 2


def test_an_unknown_asset_is_a_problem(http):
    answer = http.get("/assets/../../app.py")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert http.get("/assets/nothing.js").json()["code"] == "asset_not_found"


def test_previews_are_small_upright_and_kept(http, submit, finished):
    file = io.BytesIO()
    photo = Image.new("RGB", (200, 100), "red")
    exif = photo.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo.save(file, "TIFF", exif=exif)
    job = submit({"turned.tif": file.getvalue(), "broken.jpg": b"\xff\xd8\xff"}, outputs="overlay")
    finished(job)
    address = f"/v1/jobs/{job}/items/000000/preview"
    for layer in ("photo", "overlay"):
        answer = http.get(address, params={"side": 50, "layer": layer})
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (25, 50)
        kept = {"if-none-match": answer.headers["etag"]}
        assert http.get(address, params={"side": 50, "layer": layer}, headers=kept).status_code == 304
        assert http.get(address, params={"side": 40, "layer": layer}, headers=kept).status_code == 200
    assert http.get(address, params={"side": 9}).status_code == 422
    assert http.get(f"/v1/jobs/{job}/items/000001/preview").json()["code"] == "preview_not_found"
    assert http.get(address.replace("000000", "000009")).status_code == 404
