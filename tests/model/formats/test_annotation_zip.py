"""Zips that CVAT exports come back as the masks that were corrected there."""

import io
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.environments import environment
from tests.model.formats.conftest import draw_label, encode_label
from toco.model.formats.annotation_zip import InvalidAnnotations, read_annotation_zip
from toco.model.formats.cvat import encode_runs
from toco.model.formats.export import export_items
from toco.model.formats.item import LabelledItem
from toco.model.formats.sink import FolderSink, ZipSink
from toco.model.formats.writer import ExportOptions
from toco.model.photos.classes import VOC

CAT, PERSON = 8, 15
SIZE = (90, 120)


def sizes(name: str) -> tuple[int, int] | None:
    return SIZE if name in ("a", "farm/b") else None


def packed(tmp_path, files: dict[str, bytes | str]):
    path = tmp_path / "task.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


NOISE = png(np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(np.uint8))


def shapes(mask: np.ndarray, label: str) -> str:
    *runs, x1, y1, x2, y2 = encode_runs(mask)
    box = f'left="{x1}" top="{y1}" width="{x2 - x1 + 1}" height="{y2 - y1 + 1}"'
    return f'<mask label="{label}" source="manual" occluded="0" rle="{", ".join(map(str, runs))}" {box} z_order="0"/>'


def images(*parts: str, name: str = "a.jpg", size=SIZE) -> str:
    head = f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">'
    return f'<?xml version="1.0"?><annotations><version>1.1</version>{head}{"".join(parts)}</image></annotations>'


def test_our_own_export_for_cvat_is_read_back_pixel_for_pixel(tmp_path):
    label = draw_label()
    artifacts = encode_label(label)
    items = [LabelledItem(name, artifacts.get) for name in ("a.jpg", "farm/b.jpg", "other.jpg")]
    with (tmp_path / "task.zip").open("wb") as file, ZipSink(file) as sink:
        export_items(items, {"cvat": sink}, VOC, ExportOptions(images=False))
    found = {sent.name: sent for sent in read_annotation_zip(tmp_path / "task.zip", VOC, sizes)}
    assert found.keys() == {"a", "farm/b"}, "photos that are not asked for are left out"
    wanted = np.where(label.pseudo_mask == 255, 0, label.pseudo_mask)
    for sent in found.values():
        assert np.array_equal(sent.mask, wanted)
        assert (sent.error, sent.unknown) == (None, ())


def test_a_label_map_as_datumaro_writes_it(tmp_path):
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:20] = (250, 50, 83), (51, 221, 255)
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nCat:250,50,83::\nmug:51,221,255::\n"
    (sent,) = read_annotation_zip(
        packed(tmp_path, {"labelmap.txt": text, "SegmentationClass/a.png": png(pixels)}), VOC, sizes
    )
    assert sent.mask[0, [0, 15, 30]].tolist() == [CAT, 255, 0]
    assert sent.unknown == ("mug",)


def test_masks_and_polygons_of_cvat_for_images_lie_in_drawing_order(tmp_path):
    mask = draw_label().pseudo_mask == CAT
    polygon = '<polygon label="person" points="0.00,0.00;30.00,0.00;30.00,90.00;0.00,90.00" z_order="-1"/>'
    path = packed(tmp_path, {"annotations.xml": images(shapes(mask, "cat"), polygon, '<box label="dog" xtl="1"/>')})
    (sent,) = read_annotation_zip(path, VOC, sizes)
    wanted = np.zeros(SIZE, np.uint8)
    wanted[:, :30] = PERSON
    wanted[mask] = CAT
    assert np.array_equal(sent.mask, wanted), "the polygon is below, though it comes later in the file"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"labelmap.txt": "cat:1,2,3::\n", "SegmentationClass/a.png": png(np.zeros((9, 9, 3), np.uint8))}, "9 x 9"),
        ({"labelmap.txt": "cat:1,2,3::\n", "SegmentationClass/a.png": png(np.zeros((*SIZE, 3), np.uint8))}, "#000000"),
        ({"labelmap.txt": "cat:1,2,3::\n", "SegmentationClass/a.png": b"junk"}, "no image"),
        ({"annotations.xml": images(size=(9, 9))}, "9 x 9"),
        ({"annotations.xml": images('<mask label="cat" rle="5" left="0" top="0" width="9" height="9"/>')}, "5 pixels"),
        ({"annotations.xml": images('<mask label="cat" rle="x" left="0" top="0" width="9" height="9"/>')}, "numbers"),
        ({"annotations.xml": images('<polygon label="cat" points="1,2;x,3"/>')}, "numbers"),
        ({"annotations.xml": images('<polygon label="cat" points="1,2;3,3;4,9" z_order="top"/>')}, "numbers"),
        ({"labelmap.txt": "cat:1,2,3::\n", "SegmentationClass/a.png": NOISE[:-4000]}, "cut short"),
    ],
)
def test_what_does_not_fit_is_told_photo_by_photo(tmp_path, files, said):
    (sent,) = read_annotation_zip(packed(tmp_path, files), VOC, sizes)
    assert sent.mask is None
    assert said in str(sent.error)


def test_an_entry_whose_packed_bytes_are_damaged_is_told_and_not_the_end(tmp_path):
    path = packed(tmp_path, {"labelmap.txt": "cat:1,2,3::\n", "SegmentationClass/a.png": b"\0" * 5000})
    packed_bytes = bytearray(path.read_bytes())
    start = packed_bytes.index(b"SegmentationClass/a.png") + len("SegmentationClass/a.png")
    packed_bytes[start : start + 8] = b"\xff" * 8  # no block of deflate begins so
    path.write_bytes(packed_bytes)
    (sent,) = read_annotation_zip(path, VOC, sizes)
    assert sent.mask is None
    assert "cannot be unpacked" in str(sent.error)


def test_an_image_without_a_name_is_left_out(tmp_path):
    path = packed(tmp_path, {"annotations.xml": images(name="")})
    assert list(read_annotation_zip(path, VOC, sizes)) == []


def test_what_is_no_export_is_refused(tmp_path):
    (tmp_path / "junk.zip").write_bytes(b"junk")
    for path in (
        tmp_path / "junk.zip",
        packed(tmp_path, {"readme.txt": "no"}),
        packed(tmp_path, {"annotations.xml": "<annotations>"}),
        packed(tmp_path, {"labelmap.txt": "cat\n"}),
    ):
        with pytest.raises(InvalidAnnotations):
            list(read_annotation_zip(path, VOC, sizes))


WRITTEN_BY_DATUMARO = """
import sys
from datumaro import Dataset
dataset = Dataset.import_from(sys.argv[1], "voc_segmentation")
dataset.export(sys.argv[2], "voc_segmentation", save_media=False, apply_colormap=True, label_map="source")
"""


@pytest.mark.slow
def test_what_datumaro_writes_for_cvat_is_read_pixel_for_pixel(tmp_path):
    """Datumaro writes CVAT's "Segmentation mask 1.1"; it pins much, so it has an environment of its own."""
    python = environment("datumaro-1.13.12", "datumaro==1.13.12")
    label = draw_label()
    artifacts = encode_label(label)
    items = [LabelledItem(name, artifacts.get) for name in ("a.jpg", "farm/b.jpg")]
    with FolderSink(tmp_path / "before") as sink:
        export_items(items, {"cvat": sink}, VOC, ExportOptions(images=False))
    command = [python, "-W", "ignore", "-c", WRITTEN_BY_DATUMARO, tmp_path / "before", tmp_path / "after"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(tmp_path / "after"): path for path in (tmp_path / "after").rglob("*") if path.is_file()}
    path = packed(tmp_path, {name.as_posix(): content.read_bytes() for name, content in written.items()})
    found = {sent.name: sent for sent in read_annotation_zip(path, VOC, sizes)}
    wanted = np.where(label.pseudo_mask == 255, 0, label.pseudo_mask)
    assert found.keys() == {"a", "farm/b"}
    assert all(np.array_equal(sent.mask, wanted) for sent in found.values()), [sent.error for sent in found.values()]
