"""Masks that were corrected in CVAT come back into the job that they are of."""

import zipfile

import numpy as np
import pytest

from toco.model.formats.cvat import encode_runs
from toco.model.photos.images import read_mask


@pytest.fixture
def job(client, tmp_path, jpeg):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    made = client.label_folder(tmp_path, tags={f"{number}.jpg": ["cat"] for number in range(3)}, preset="fast")
    client.wait(made["id"], timeout_seconds=120)
    return made["id"]


def cvat_zip(path, masks: dict[str, np.ndarray]):
    """Write "CVAT for images 1.1" as CVAT does: a mask a label, run lengths in its box."""
    parts = []
    for number, (name, mask) in enumerate(masks.items()):
        *runs, x1, y1, x2, y2 = encode_runs(mask > 0)
        box = f'left="{x1}" top="{y1}" width="{x2 - x1 + 1}" height="{y2 - y1 + 1}"'
        shape = f'<mask label="dog" rle="{", ".join(map(str, runs))}" {box} z_order="0"/>'
        size = f'width="{mask.shape[1]}" height="{mask.shape[0]}"'
        parts.append(f'<image id="{number}" name="{name}" {size}>{shape}</image>')
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.xml", f"<annotations>{''.join(parts)}</annotations>")
    return path


def test_corrected_masks_become_revisions_and_the_same_zip_twice_changes_nothing(client, job, tmp_path):
    items = {item["name"]: item for item in client.items(job)}
    before = read_mask(client.mask(job, "000000"))
    drawn = np.zeros(before.shape, np.uint8)
    drawn[5:20, 5:30] = 1
    path = cvat_zip(tmp_path / "task.zip", {"0.jpg": drawn, "1.jpg": drawn[:-1], "unknown.jpg": drawn})
    found = client.import_masks(job, path, accept=True)
    assert (found["revisions"], found["same"], list(found["refused"])) == (1, 0, ["1"])
    after = read_mask(client.mask(job, items["0.jpg"]["id"]))
    assert np.array_equal(after, np.where(drawn == 1, 12, np.where(before == 255, 255, 0)))
    item = client.item(job, items["0.jpg"]["id"])
    assert (item["revision"]["how"], item["decision"]) == ("cvat", "accept")
    again = client.import_masks(job, path, accept=True)
    assert (again["revisions"], again["same"]) == (0, 1)


def test_our_own_export_makes_no_revision(client, job, tmp_path):
    client.export(job, "cvat", tmp_path / "ours.zip", options={"images": False, "open_photos": True})
    found = client.import_masks(job, tmp_path / "ours.zip")
    assert (found["revisions"], found["same"], found["refused"]) == (0, 3, {})
