"""`toco datasets` against a real service."""

import json
import zipfile

import pytest


@pytest.fixture
def on_service(toco, live):
    return lambda *arguments: toco(*arguments, "--url", live.url)


def test_two_folders_become_one_data_set(on_service, photos, tmp_path):
    (photos / "broken.jpg").unlink()
    for tag in ("cat", "dog"):
        (photos / "tags.csv").write_text(f"image,tags\na.jpg,{tag}\nb.png,{tag}\nfarm/c.jpg,{tag}\n")
        assert on_service("jobs", "submit", photos, "--preset", "fast", "--tags", photos / "tags.csv").exit_code == 0
    jobs = on_service("jobs", "list", "--limit", "2", "--ids").stdout.split()
    kept = on_service("datasets", "keep", "pets", *jobs)
    assert kept.stdout.splitlines() == ["pets: 6 photos", *(f"  {job}  all: 3 photos" for job in jobs)]
    assert on_service("datasets", "show", "pets").stdout == kept.stdout
    assert "pets" in on_service("datasets", "list").stdout.split()
    out = tmp_path / "pets.zip"
    exported = on_service("datasets", "export", "pets", "--out", out, "--format", "yolo", "--split", "50/50")
    assert (exported.exit_code, exported.stdout.strip()) == (0, str(out))
    with zipfile.ZipFile(out) as archive:
        found = json.loads(archive.read("statistics.json"))
    # Each photo is in both jobs: the two stay together, and so no class can be torn from its double.
    assert (found["photos"], found["alike"], found["torn"]) == (6, 6, 0)
    assert on_service("datasets", "delete", "pets").exit_code == 0
    assert on_service("datasets", "show", "pets").exit_code == 2
