"""Masks without classes as other tools leave them: found by the names of photos, and read pixel by pixel."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from toco.model.formats import mask_files
from toco.model.formats.mask_files import (
    MaskFile,
    NoMaskMatches,
    digest_of,
    find_masks,
    folder_files,
    pack_masks,
    read_masks,
    unpack_masks,
)
from toco.model.formats.sent_mask import InvalidMask
from toco.model.method import mask_merge

SIZE = (5, 7)

LARGEST = """
import io, resource, sys
import numpy as np
from PIL import Image
from toco.model.formats.mask_files import MaskFile, read_masks
from toco.model.method.mask_merge import merge_masks
from toco.model.options import MaskMerge
data = io.BytesIO()
picture = Image.new("L", (20_000, 20_000))
picture.paste(1, (0, 0, 20_000, 15_000))
picture.paste(2, (100, 100, 5000, 5000))
picture.save(data, "PNG", compress_level=1)
del picture
masks = read_masks([MaskFile("cow.png", data.getvalue)], (20_000, 20_000))
_, counts = merge_masks(np.full((20_000, 20_000), 8, np.uint8), masks, MaskMerge())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(counts.taken, peak * (1 if sys.platform == "darwin" else 1024))
"""


def file(name: str, content: bytes = b"") -> MaskFile:
    return MaskFile(name, lambda: content)


def png(values, mode: str | None = None, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.fromarray(values, mode).save(data, kind)
    return data.getvalue()


def drawn(content: bytes | str | list | dict) -> list[np.ndarray]:
    """The masks of a file as (H, W) bool."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return [mask_of(pixels()) for pixels in read_masks([file("cow", data)], SIZE)]


def mask_of(pixels: np.ndarray) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask.flat[pixels] = True
    return mask


def one() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[1:3, 2:6] = True
    return mask


def found(*names: str, photos: tuple[str, ...] = ("farm/cow.jpg", "cat.png")) -> dict[str, list[str]]:
    masks = find_masks([file(name) for name in names], photos)
    return {photo: [entry.name for entry in entries] for photo, entries in masks.files.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["farm/cow.png"],
        ["farm/cow.jpg.png"],
        ["farm/cow.json"],
        ["farm/cow/0.png", "farm/cow/1.png"],
        ["farm/cow.png", "farm/cow.json", "farm/cow/0.png"],
        ["cow.png"],
        ["masks/farm/cow.png"],
        ["masks/farm/cow/17.tif"],
    ],
)
def test_masks_are_named_for_their_photo(names):
    assert found(*names) == {"farm/cow.jpg": names}


def test_a_mask_that_may_be_of_several_photos_is_of_none_and_said():
    photos = ("a/1.jpg", "b/1.jpg", "b/2.jpg")
    masks = find_masks([file("1.png"), file("2.png"), file("other.png"), file("readme.txt")], photos)
    assert set(masks.files) == {"b/2.jpg"}
    assert masks.notes() == [
        "Masks: 2 of 3 photos have none.",
        "Masks, of none of the photos: 'other.png'.",
        "Masks, of several photos alike, so of none: '1.png'.",
    ]


def test_numbered_masks_in_a_photos_folder_are_not_those_of_a_photo_of_that_number():
    assert found("cow/1.png", "cow/2.png", photos=("1.jpg", "cow.jpg")) == {"cow.jpg": ["cow/1.png", "cow/2.png"]}
    assert found("cow/1.png", photos=("cow/1.jpg", "cow.jpg")) == {"cow/1.jpg": ["cow/1.png"]}


def test_no_masks_of_any_photo_are_a_wrong_folder():
    with pytest.raises(NoMaskMatches, match="'other"):
        find_masks([file("other.png")], ["cow.jpg"]).require_match()


def test_a_coco_file_speaks_of_many_photos():
    rle = coco_mask.encode(np.asfortranarray(one().astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    whole = {
        "images": [{"id": 1, "file_name": "farm/cow.jpg"}, {"id": 2, "file_name": "cat.png"}],
        "annotations": [
            {"image_id": 1, "segmentation": rle},
            {"image_id": 2, "segmentation": [[2, 1, 6, 1, 6, 3, 2, 3]]},
            {"image_id": 1, "segmentation": rle},
        ],
    }
    masks = find_masks([file("all.json", json.dumps(whole).encode())], ["farm/cow.jpg", "cat.png"])
    read = {photo: read_masks(files, SIZE) for photo, files in masks.files.items()}
    assert {photo: len(entries) for photo, entries in read.items()} == {"farm/cow.jpg": 2, "cat.png": 1}
    assert all(np.array_equal(mask_of(pixels()), one()) for entries in read.values() for pixels in entries)
    assert find_masks([file("all.json", b'{"images": 1')], ["cat.png"]).broken == ("all.json",)


def test_binary_pictures_and_maps_of_many_masks():
    assert np.array_equal(drawn(png(one()))[0], one())
    assert np.array_equal(drawn(png(one().astype(np.uint8) * 255))[0], one())
    labels = np.arange(35).reshape(SIZE).astype(np.uint8) // 7
    assert [int(mask.sum()) for mask in drawn(png(labels))] == [7, 7, 7, 7]
    wide = labels.astype(np.uint16) * 300
    assert [int(mask.sum()) for mask in drawn(png(wide))] == [7, 7, 7, 7]
    assert len(drawn(png(wide, kind="TIFF"))) == 4
    palette = Image.fromarray(labels, "P")
    palette.putpalette([9, 9, 9] * 256)
    data = io.BytesIO()
    palette.save(data, "PNG")
    assert len(drawn(data.getvalue())) == 4


def test_each_colour_is_a_mask_and_what_is_transparent_is_none():
    colours = np.zeros((*SIZE, 4), np.uint8)
    colours[0] = (255, 0, 0, 90)
    colours[1] = (0, 0, 255, 90)
    colours[2] = (9, 9, 9, 0)
    masks = drawn(png(colours))
    assert sorted(int(mask.argmax()) for mask in masks) == [0, 7]


@pytest.mark.parametrize("wrapped", [lambda rle: [{"segmentation": rle, "area": 8}], lambda rle: [rle], lambda rle: rle,
                                     lambda rle: {"image": {}, "annotations": [{"segmentation": rle}]}])  # fmt: skip
def test_run_lengths_as_tools_write_them(wrapped):
    plain = {"size": list(SIZE), "counts": [11, 2, 3, 2, 3, 2, 3, 2, 7]}
    packed = coco_mask.encode(np.asfortranarray(one().astype(np.uint8)))
    for rle in (plain, {"size": list(SIZE), "counts": packed["counts"].decode()}):
        (mask,) = drawn(wrapped(rle))
        assert np.array_equal(mask, one())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(np.zeros((7, 5), np.uint8)), "5 x 7 pixels, the photo, upright, 7 x 5"),
        (png(one().astype(np.uint8), kind="JPEG"), "JPEG"),
        (b"no picture", "no image"),
        (b"[{", "no JSON"),
        (b"[1]", "neither run lengths nor polygons"),
        (b'[{"segmentation": {"size": [5, 7], "counts": [1]}}]', "Run lengths of 1 pixels"),
        (b'[{"segmentation": {"size": [7, 5], "counts": [35]}}]', "5 x 7"),
        (b'{"annotations": 5}', "no list of masks"),
        (b'[{"segmentation": [[1, 2]]}]', "no outline"),
    ],
)
def test_what_is_no_mask_of_the_photo_is_refused_by_name(content, said):
    with pytest.raises(InvalidMask, match=said) as caught:
        drawn(content)
    assert "'cow'" in str(caught.value)
    assert caught.value.fix


def test_photos_for_masks_are_refused(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    with pytest.raises(InvalidMask, match="colours: no map of masks"):
        read_masks([file("photo.png", png(noise))], (120, 120))
    monkeypatch.setattr(mask_files, "MAX_RUNS", 10_000)
    with pytest.raises(InvalidMask, match="changes over 10,000 times"):
        read_masks([file("photo.png", png(noise))], (120, 120))


@pytest.mark.parametrize("band", [1, 7, 20, 1000])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, "colours"])
def test_large_masks_are_read_band_by_band(band, kind, monkeypatch):
    for module in (mask_files, mask_merge):
        monkeypatch.setattr(module, "BAND", band)
    random = np.random.default_rng(band)
    values = random.integers(-1 if kind is np.int32 else 0, 3, SIZE)
    values[0, :2] = -1 if kind is np.int32 else 1  # the first pixel begins a mask
    if kind == "colours":
        content = png(np.stack([values, np.zeros(SIZE), values], axis=-1).astype(np.uint8))
    else:
        content = png(values.astype(kind), kind="TIFF")
    wanted = [values == value for value in np.unique(values) if value]
    assert np.array_equal(drawn(content), wanted)
    packed = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in wanted]
    entries = [{"segmentation": {"size": SIZE, "counts": rle["counts"].decode()}} for rle in packed]
    assert np.array_equal(drawn(entries), wanted)


@pytest.mark.slow
def test_masks_of_the_largest_photos_take_a_few_bytes_a_pixel():
    """400 megapixels, in a process of its own: its peak would stay with this one."""
    done = subprocess.run([sys.executable, "-c", LARGEST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, peak = map(int, done.stdout.split())
    assert taken == 2
    assert peak < 8 * 20_000 * 20_000, f"{peak / 2**20:.0f} MiB"  # 5 to 7 bytes a pixel, as machines differ


def test_files_of_a_folder_and_packed(tmp_path):
    for name in ("cow.png", "cow/0.png", ".hidden/1.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(one()))
    files = folder_files(tmp_path)
    assert [entry.name for entry in files] == ["cow.png", "cow/0.png"]
    packed = pack_masks(files)
    assert packed == pack_masks(files)
    again = unpack_masks(packed)
    assert [entry.name for entry in again] == ["cow.png", "0.png"]
    assert all(np.array_equal(mask_of(pixels()), one()) for pixels in read_masks(again, SIZE))
    before = digest_of(files)
    (tmp_path / "cow.png").write_bytes(png(~one()))
    assert digest_of(files) != before
    with pytest.raises(InvalidMask, match="no file or folder"):
        folder_files(tmp_path / "none")
