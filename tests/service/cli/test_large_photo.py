"""A photo of 300 megapixels is labelled in bounded memory, its mask at its own size."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from toco.model.photos.images import probe_image

MOST_KIB = 4 * 1024 * 1024

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "options"), [("large.png", {"compress_level": 1}), ("large.jpg", {"quality": 50})])
def test_a_photo_of_300_megapixels_labels_within_4_gib(name, options, quick, photos, tmp_path):
    blocks = Image.open(photos / "b.png").convert("RGB")
    blocks.resize((20_000, 15_000), Image.Resampling.NEAREST).save(tmp_path / name, **options)
    out = tmp_path / "out"
    command = [
        "label",
        tmp_path / name,
        "--tag",
        "cat",
        "--out",
        out,
        "--format",
        "voc,coco",
        "--no-copy-images",
        *quick,
    ]
    process = subprocess.Popen([sys.executable, "-m", "toco", *map(str, command)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss < MOST_KIB
    stem = name.partition(".")[0]
    header = probe_image(out / "voc" / "SegmentationClass" / f"{stem}.png")
    assert (header.width, header.height) == (20_000, 15_000)
    result = json.loads((out / "artifacts" / name / "result.json").read_text())
    assert result["capped"]
