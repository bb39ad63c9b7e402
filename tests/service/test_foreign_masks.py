"""Masks without classes go in at every door, and come out as parts of the label: the same ones everywhere."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.service.cli.conftest import quick, toco  # noqa: F401 - fixtures of the command line
from toco import Labeler

pytestmark = pytest.mark.slow

CAT = 8
OPTIONS = {"cam": {"size": 64}, "long_side": 64, "masks": {"within": 0.0}}


@pytest.fixture
def folders(tmp_path):
    """Photos, and masks without classes of one of them: the whole photo in two halves."""
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir()
    masks.mkdir()
    blocks = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST).save(photos / name)
    halves = np.ones((48, 64), np.uint8)
    halves[:, 32:] = 2
    Image.fromarray(halves).save(masks / "a.png")
    (photos / "tags.csv").write_text("image,tags\na.png,cat\nb.png,cat\n")
    return photos, masks


def zipped(folder) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return data.getvalue()


def halves_are_whole(mask: np.ndarray) -> bool:
    """Each half of the photo shows one thing; where the label showed the cat, all of it is the cat."""
    return {frozenset(np.unique(half)) for half in (mask[:, :32], mask[:, 32:])} <= {
        frozenset({CAT}), frozenset({0}), frozenset({255}), frozenset({0, 255})
    }  # fmt: skip


def test_the_command_line_and_python(folders, toco, quick, tiny_model, tmp_path):  # noqa: F811 - fixtures of that name
    photos, masks = folders
    out = tmp_path / "out"
    asked = ("label", photos, "--masks", masks, "--out", out, *quick, "--set", "masks.within=0.0")
    result = toco(*asked)
    assert result.exit_code == 0, result.output
    assert "Masks: 1 of 2 photos have none." in result.stderr
    assert "Merged with masks from elsewhere: 1 photos" in result.stdout
    merged = np.array(Image.open(out / "artifacts" / "a.png" / "pseudo_mask.png"))
    plain = np.array(Image.open(out / "artifacts" / "b.png" / "pseudo_mask.png"))
    assert np.any(plain == CAT)
    assert halves_are_whole(merged)
    assert not np.array_equal(merged, plain)
    described = json.loads((out / "artifacts" / "a.png" / "result.json").read_text())
    assert described["masks"]["given"] == 2
    assert described["options"]["masks"] == {"within": 0.0, "covers": 0.85, "filled": 0.25, "rest": "open"}
    assert "0 labelled, 2 finished before" in toco(*asked).output
    Image.fromarray(np.ones((48, 64), np.uint8)).save(masks / "a.png")
    assert "1 labelled, 1 finished before" in toco(*asked).output

    labeler = Labeler.from_folder(tiny_model, device="cpu")
    left = np.zeros((48, 64), bool)
    left[:, :32] = True
    options = labeler.spec.label_options("fast", **OPTIONS)
    label = labeler.label_one(photos / "a.png", ["cat"], options, masks=[left, ~left])
    assert np.array_equal(label.pseudo_mask, merged)


def test_masks_that_do_not_fit_refuse_their_photo_alone(folders, toco, quick, tmp_path):  # noqa: F811 - fixtures of that name
    photos, masks = folders
    Image.fromarray(np.ones((64, 48), np.uint8)).save(masks / "a.png")
    result = toco("label", photos, "--masks", masks, "--out", tmp_path / "out", *quick)
    assert result.exit_code == 1
    (failure,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert (failure["image"], failure["code"]) == ("a.png", "invalid_mask")
    assert "48 x 64 pixels, the photo, upright, 64 x 48" in failure["detail"]
    (masks / "a.png").rename(masks / "nobody.png")
    assert toco("label", photos, "--masks", masks, "--out", tmp_path / "out", *quick).exit_code == 2


def test_rest_and_the_client(folders, client, http):
    photos, masks = folders
    settings = {"preset": "fast", "options": OPTIONS}
    job = client.label_folder(photos, masks=masks, **settings)
    assert "Masks: 1 of 2 photos have none." in job["notes"]
    found = masks_of(client, job["id"])
    assert halves_are_whole(found["a.png"])
    assert not np.array_equal(found["a.png"], found["b.png"])
    form = {"preset": "fast", "options": json.dumps(OPTIONS), "tags": "cat"}
    files = [("archive", ("p.zip", zipped(photos))), ("masks", ("m.zip", zipped(masks)))]
    answer = http.post("/v1/jobs", data=form, files=files)
    assert answer.status_code == 202, answer.text
    again = masks_of(client, answer.json()["id"])
    assert all(np.array_equal(found[name], again[name]) for name in found)
    nobodys = [("images", ("other.png", (photos / "a.png").read_bytes())), ("masks", ("m.zip", zipped(masks)))]
    refused = http.post("/v1/jobs", data=form, files=nobodys)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_mask_matches")


def masks_of(client, job: str) -> dict[str, np.ndarray]:
    assert client.wait(job, timeout_seconds=120)["state"] == "succeeded"
    return {
        item["name"]: np.array(Image.open(io.BytesIO(client.artifact(job, item["id"], "pseudo_mask.png"))))
        for item in client.items(job)
    }
