"""A TIFF of many pages at every door: the first page, with a note, or each as a photo of its own."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.odd_inputs import picture, several
from tests.service.cli.conftest import quick, toco  # noqa: F401 - fixtures of the command line

pytestmark = pytest.mark.slow

PAGES = ["scan.page-1.tif", "scan.page-2.tif", "scan.page-3.tif"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "scan.tif").write_bytes(several("TIFF"))
    (folder / "moving.gif").write_bytes(several("GIF"))
    (folder / "tags.csv").write_text("image,tags,split\nscan.tif,cat,val\nmoving.gif,dog,train\n")
    return folder


def test_the_command_line(photos, toco, quick, tmp_path):  # noqa: F811 - the fixtures of that name
    out = tmp_path / "out"
    first = toco("label", photos, "--out", out, *quick)
    assert "2 labelled" in first.stdout
    assert "Files of several pictures (frames, pages), the first labelled: 2 photos" in first.stdout
    asked = ("label", photos, "--out", out, "--pages", "each", "--format", "voc,yolo-seg", *quick)
    each = toco(*asked)
    assert each.exit_code == 0, each.output
    assert "3 labelled, 1 finished before" in each.stdout
    assert "the first labelled: 1 photos" in each.stdout  # the frames of an animation are no pages
    for number, name in enumerate(PAGES):
        result = json.loads((out / "artifacts" / name / "result.json").read_text())
        assert (result["tags"], result["pictures"]) == (["cat"], 1)
        exported = Image.open(out / "yolo-seg" / "images" / "val" / name)
        assert np.array_equal(np.asarray(exported), np.asarray(picture(seed=number)))
    assert "0 labelled, 4 finished before" in toco(*asked).stdout


def test_the_client_and_rest(photos, client, http):
    job = client.label_folder(photos, pages="each", preset="fast")
    assert client.wait(job["id"], timeout_seconds=120)["state"] == "succeeded"
    items = list(client.items(job["id"]))
    assert [item["name"] for item in items] == ["moving.gif", *PAGES]
    assert [item["tags"] for item in items] == [["dog"], ["cat"], ["cat"], ["cat"]]
    for number, item in enumerate(items[1:]):
        photo = http.get(f"/v1/jobs/{job['id']}/items/{item['id']}/image").content
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(photo))), np.asarray(picture(seed=number)))
    form = {"preset": "fast", "tags": "cat"}
    files = [("images", ("scan.tif", several("TIFF")))]
    for pages, names in (("each", PAGES), ("first", ["scan.tif"]), (None, ["scan.tif"])):
        answer = http.post("/v1/jobs", data=form | ({"pages": pages} if pages else {}), files=files)
        assert answer.status_code == 202, answer.text
        assert [item["name"] for item in client.items(answer.json()["id"])] == names
