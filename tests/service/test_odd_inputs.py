"""Sixty odd inputs go through at every door: each is labelled at its own size or refused with a clear reason."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.odd_inputs import Odd, make
from tests.service.cli.conftest import quick, toco  # noqa: F401 - fixtures of the command line

pytestmark = pytest.mark.slow


@pytest.fixture
def odd(tmp_path):
    folder = tmp_path / "odd"
    found = make(folder)
    assert len(found) >= 60
    return folder, found


def refused(found: dict[str, Odd]) -> dict[str, str]:
    return {name: odd.code for name, odd in found.items() if odd.code}


def sizes(found: dict[str, Odd]) -> dict[str, tuple[int, int]]:
    return {name: odd.size for name, odd in found.items() if odd.size}


def through_the_service(client, job) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    client.wait(job["id"], timeout_seconds=400)
    masks, errors = {}, {}
    for item in client.items(job["id"]):
        if item["state"] == "done":
            mask = Image.open(io.BytesIO(client.artifact(job["id"], item["id"], "pseudo_mask.png")))
            masks[item["name"]] = mask.size[::-1]
        else:
            errors[item["name"]] = item["error"]["code"]
            assert item["error"]["detail"], item["name"]
    return masks, errors


def test_the_command_line(odd, toco, quick, tmp_path):  # noqa: F811 - the fixture of that name
    folder, found = odd
    out = tmp_path / "out"
    result = toco("label", folder, "--tag", "cat", "--out", out, "--format", "voc,coco", *quick)
    assert result.exit_code == 1
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {failure["image"]: failure["code"] for failure in failures} == refused(found)
    assert all(failure["detail"] and failure["fix"] for failure in failures)
    masks = {
        str(path.parent.relative_to(out / "artifacts")): np.array(Image.open(path)).shape
        for path in (out / "artifacts").rglob("pseudo_mask.png")
    }
    assert masks == sizes(found)
    for name in ("clip.mp4", "notes.txt", ".hidden.jpg", "__MACOSX", "Thumbs.db"):
        assert name in result.stderr
    assert "Files of several pictures" in result.stdout


def test_the_client(odd, client):
    folder, found = odd
    job = client.label_folder(folder, tags={name: ["cat"] for name in sizes(found) | refused(found)}, preset="fast")
    assert through_the_service(client, job) == (sizes(found), refused(found))
    assert "clip.mp4" in " ".join(job["notes"])


def test_an_archive_over_rest(odd, client, http):
    _, found = odd
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, odd_input in found.items():
            archive.writestr(name, odd_input.content)
    answer = http.post(
        "/v1/jobs", files=[("archive", ("odd.zip", file.getvalue()))], data={"tags": "cat", "preset": "fast"}
    )
    assert answer.status_code == 202, answer.text
    assert through_the_service(client, answer.json()) == (sizes(found), refused(found))
    assert "clip.mp4" in " ".join(answer.json()["notes"])
