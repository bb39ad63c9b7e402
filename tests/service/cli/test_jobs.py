"""`toco jobs` against a real service."""

import json
import zipfile

import numpy as np
import pytest

from toco.model.formats.artifacts import encode_mask
from toco.model.photos.images import read_mask


@pytest.fixture
def on_service(toco, live):
    return lambda *arguments: toco("jobs", *arguments, "--url", live.url)


def test_a_folder_is_exported_in_several_formats_and_what_is_left_out_is_told(on_service, live, photos, tmp_path):
    (photos / "tags.csv").write_text("image,tags\na.jpg,cat\nb.png,dog\nfarm/c.jpg,cat\nbroken.jpg,cat\n")
    submitted = on_service("submit", photos, "--preset", "fast", "--tags", photos / "tags.csv")
    assert submitted.exit_code == 1, "one photo is broken"
    job = submitted.stdout.split()[0]
    out = tmp_path / "labels.zip"
    whole = on_service("export", job, "--format", "voc, coco", "--out", out)
    assert (whole.exit_code, whole.stdout.strip()) == (0, str(out))
    with zipfile.ZipFile(out) as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"voc", "coco"}
    (live.folder / "objects" / "jobs" / job / "artifacts" / "000000" / "cam.npz").unlink()
    left = on_service("export", job, "--format", "npz,cvat", "--out", out)
    assert left.exit_code == 1
    assert "left out of npz: a.jpg" in left.stderr
    with zipfile.ZipFile(out) as archive:
        (line,) = archive.read("left_out.jsonl").decode().splitlines()
        assert (json.loads(line)["name"], json.loads(line)["code"]) == ("a.jpg", "object_not_found")
        assert len([name for name in archive.namelist() if name.startswith("cvat/SegmentationClass")]) == 3


def test_an_unknown_format_is_told(on_service, photos):
    (photos / "broken.jpg").unlink()
    job = on_service("submit", photos, "--preset", "fast").stdout.split()[0]
    refused = on_service("export", job, "--format", "voc,psd")
    assert refused.exit_code == 2
    assert "psd" in refused.stderr


def test_a_mask_is_put_fetched_and_taken_back(on_service, live, photos, tmp_path):
    with live.client() as client:
        answer = client.label(photos / "a.jpg", ["cat"], preset="fast")
    job, item, size = answer["job"]["id"], answer["item"]["id"], (answer["item"]["height"], answer["item"]["width"])
    drawn, fetched = tmp_path / "drawn.png", tmp_path / "fetched.png"
    drawn.write_bytes(encode_mask(np.zeros(size, np.uint8)))
    put = on_service("put-mask", job, item, drawn, "--how", "brush", "--if-revision", "0")
    assert (put.exit_code, put.stdout.strip()) == (0, "revision 1")
    assert on_service("get", job, item, "--out", fetched).exit_code == 0
    assert (read_mask(fetched) == 0).all()
    outdated = on_service("put-mask", job, item, drawn, "--tags", "cat", "--if-revision", "0")
    assert outdated.exit_code == 2
    assert "revision 1" in outdated.stderr
    assert on_service("choose", job, item, "0").exit_code == 0
    listed = on_service("revisions", job, item).stdout
    assert "0 *" in listed
    assert "brush" in listed
