"""`toco jobs` against a real service."""

import json
import zipfile

import numpy as np
import pytest

from toco.model.formats.artifacts import encode_mask
from toco.model.photos.images import read_mask
from toco.service.cli.words import missing


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


@pytest.mark.slow
def test_others_learn_from_a_correction_and_an_audit_says_how_good_they_are(on_service, photos, tmp_path, live):
    (photos / "broken.jpg").unlink()
    (photos / "tags.csv").write_text("image,tags\na.jpg,cat\nb.png,cat\nfarm/c.jpg,cat\n")
    job = on_service("submit", photos, "--preset", "fast", "--tags", photos / "tags.csv").stdout.split()[0]
    nothing = on_service("relearn", job)
    assert nothing.exit_code == 1
    assert "No label of the job was corrected" in nothing.stderr
    first = on_service("next", job)
    assert len(first.stdout.splitlines()) == 3
    assert "3 of 3 labels are undecided" in first.stderr
    item = first.stdout.split()[0]
    audit = on_service("audit", job, "--photos", "2", "--seed", "1")
    assert audit.exit_code == 0
    drawn = [line.split()[0] for line in audit.stdout.splitlines()[1:]]
    assert len(drawn) == 2
    with live.client() as client:
        found = client.item(job, item)
        client.put_mask(job, item, encode_mask(np.full((found["height"], found["width"]), 8, np.uint8)), how="brush")
        for name in drawn:
            client.decide(job, name, "accept")
    shown = on_service("audit", job, audit.stdout.split()[0])
    assert "mean" in shown.stdout
    relearnt = on_service("relearn", job)
    assert relearnt.exit_code == 0, relearnt.stderr
    learnt = relearnt.stdout.split()[0]
    assert "learnt from 1 corrected masks" in relearnt.stdout
    assert on_service("undo-relearn", job, learnt).exit_code == 0
    revised = on_service("revise", job, item, "--tags", "dog")
    assert "revision" in revised.stdout
    assert on_service("import", job, photos / "tags.csv").exit_code == 2


@pytest.mark.parametrize(
    ("open_tags", "empty_tags", "told"),
    [
        ([], [], []),
        (["yeti"], [], ["not understood: yeti"]),
        ([], ["car", "cat"], ["no pixel found: car, cat"]),
        (["yeti"], ["car"], ["not understood: yeti", "no pixel found: car"]),
    ],
)
def test_tags_that_a_mask_does_not_show_are_told_with_why(open_tags, empty_tags, told):
    assert list(missing(open_tags, empty_tags)) == told
