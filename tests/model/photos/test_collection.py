"""Folders: photos by content, odd files refuse only themselves, what is left out is said."""

import io
import os

import pytest
from PIL import Image

from toco.model.photos.collection import find_images, read_folder
from toco.model.photos.images import UnreadableImage


def encoded() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    contents = {
        "b/no-suffix": encoded(), "a.jpg": b"broken", "tags.csv": b"image,tags", ".hidden.png": encoded(),
        ".cache/x.png": encoded(), "b/C.PNG": encoded(), "photo.2024-01-15": encoded(), "notes.txt": b"hello",
        "desktop.ini": b"x", "a.json": b"{}",
    }  # fmt: skip
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    return root


PHOTOS = ["a.jpg", "b/C.PNG", "b/no-suffix", "photo.2024-01-15"]


def test_photos_are_told_by_content_or_by_their_claim(folder):
    found = read_folder(folder)
    assert found.photos == PHOTOS
    assert [table.name for table in found.tables] == ["tags.csv"]
    assert found.tables[0].load() == b"image,tags"
    assert not found.refused
    assert {reason: sorted(names) for reason, names in found.left_out.items()} == {
        "no photo": ["notes.txt"],
        "hidden or the system's own": [".cache", ".hidden.png", "desktop.ini"],
        "a note on one photo": ["a.json"],
    }
    said = " ".join(found.notes())
    for name in ("notes.txt", "desktop.ini", "a.json"):
        assert name in said
    assert find_images(folder) == [folder / name for name in PHOTOS]
    assert find_images(folder / "a.jpg") == [folder / "a.jpg"]
    assert read_folder(folder / "a.jpg").photos == ["a.jpg"]


def test_odd_files_refuse_only_themselves(folder):
    (folder / "link.jpg").symlink_to(folder / "b" / "C.PNG")
    (folder / "dangling.jpg").symlink_to(folder / "gone")
    (folder / "dangling").symlink_to(folder / "gone")
    (folder / "again").symlink_to(folder)  # a circle
    (folder / "line\nbreak.jpg").write_bytes(encoded())
    (folder / "back\\slash.jpg").write_bytes(encoded())
    (folder / os.fsdecode(b"latin\xe9.jpg")).write_bytes(encoded())
    (folder / ("L" * 246 + ".jpg")).write_bytes(encoded())
    os.mkfifo(folder / "pipe.jpg")
    found = read_folder(folder)
    assert found.photos == sorted([*PHOTOS, "link.jpg", "L" * 246 + ".jpg"], key=lambda name: name.split("/"))
    assert {name: error.code for name, error in found.refused.items()} == {
        "dangling.jpg": "unreadable_image",
        "line\nbreak.jpg": "invalid_name",
        "back\\slash.jpg": "invalid_name",
        os.fsdecode(b"latin\xe9.jpg"): "invalid_name",
    }
    assert found.left_out["a link to a folder"] == ["again"]
    assert found.left_out["no plain file"] == ["pipe.jpg"]
    assert found.left_out["cannot be opened"] == ["dangling"]
    assert "dangling.jpg" in " ".join(found.notes())


def test_results_in_the_same_place_are_passed_over(folder):
    assert read_folder(folder, but=[folder / "b", None]).photos == ["a.jpg", "photo.2024-01-15"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UnreadableImage, match="none"):
        read_folder(tmp_path / "none")
