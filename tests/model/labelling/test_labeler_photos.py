"""The facade: photos of any mode, shape and size, one or many, good and bad."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.model.labelling.quick_labels import QUICK, pixels, results, same, saved
from toco.model.crf.errors import CrfError
from toco.model.errors import InvalidArray
from toco.model.labelling.labeler import LabelRequest
from toco.model.method.device import Device
from toco.model.method.label import Label
from toco.model.options import PRESETS, preset_options
from toco.model.photos.images import ImageTooLarge, UnreadableImage, UnsupportedImageFormat

# Photos


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
def test_photos_of_any_mode(mode, labeler, tmp_path):
    image = Image.fromarray(pixels())
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    path = saved(tmp_path, image, "tif")
    assert labeler.label_one(path, ["cat"], QUICK).size == (40, 56)


def test_a_photo_turned_by_exif_is_labelled_upright(labeler, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, pixels(40, 56), "jpg", exif=exif)
    assert labeler.label_one(path, ["cat"], QUICK).size == (56, 40)


def test_file_bytes_and_pixels_give_one_label(labeler, tmp_path):
    path = saved(tmp_path, pixels())
    labels = [labeler.label_one(source, ["cat"], QUICK) for source in (path, path.read_bytes(), pixels())]
    assert same(labels[0], labels[1])
    assert same(labels[0], labels[2])


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_photos_of_extreme_shapes(size, labeler):
    label = labeler.label_one(pixels(*size), ["cat"], QUICK)
    assert label.size == size
    assert label.cams.shape == (1, *size)


@pytest.mark.parametrize(
    "source",
    [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32),
     np.zeros((0, 5, 3), np.uint8)],
)  # fmt: skip
def test_pixels_of_another_layout_are_refused(source, labeler):
    with pytest.raises(InvalidArray) as caught:
        labeler.label_one(source, ["cat"], QUICK)
    assert str(source.shape) in caught.value.detail


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", UnsupportedImageFormat), (b"hello", UnsupportedImageFormat), (b"\xff\xd8\xff\xe0 cut", UnreadableImage)],
)
def test_a_photo_that_cannot_be_read_fails_alone_and_in_its_place(content, error, labeler):
    requests = [LabelRequest(pixels(seed=n), ["cat"], name=str(n)) for n in range(5)]
    requests[2] = LabelRequest(content, ["cat"], name="2")
    found = list(labeler.label(requests, QUICK))
    assert [request.name for request, _ in found] == list("01234")
    assert [isinstance(result, Label) for _, result in found] == [True, True, False, True, True]
    assert isinstance(found[2][1], error)


def test_a_photo_whose_refinement_fails_fails_alone(labeler, monkeypatch):
    refine = labeler._refine

    def fussy(job, maps, options):
        if np.array_equal(job.photo.pixels, pixels(seed=1)):
            raise CrfError("Too narrow.")
        return refine(job, maps, options)

    monkeypatch.setattr(labeler, "_refine", fussy)
    found = results(labeler, [LabelRequest(pixels(seed=n), ["cat"], name=str(n)) for n in range(3)])
    assert [type(result) for result in found] == [Label, CrfError, Label]


def test_photos_that_all_fail_are_all_told(labeler):
    assert all(isinstance(result, UnsupportedImageFormat) for result in results(labeler, [LabelRequest(b"x", [])] * 3))
    assert results(labeler, []) == []


def test_a_missing_file_is_named(labeler, tmp_path):
    with pytest.raises(UnreadableImage, match=r"gone\.jpg"):
        labeler.label_one(tmp_path / "gone.jpg", ["cat"], QUICK)


def test_a_huge_photo_is_refused_before_it_is_decoded(labeler, tmp_path):
    path = tmp_path / "huge.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\1\0IDAT")
    with pytest.raises(ImageTooLarge, match="30,000 x 20,000"):
        labeler.label_one(path, ["cat"], QUICK)


# Sizes


@pytest.mark.parametrize("kind", ["pixels", "file"])
def test_a_long_side_over_the_cap_is_mapped_back_and_told(kind, labeler, tmp_path):
    image = pixels(150, 240)
    source = image if kind == "pixels" else saved(tmp_path, image)
    options = QUICK.model_copy(update={"long_side": 80, "segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(source, ["cat"], options)
    assert label.working_size == (50, 80)
    assert label.cams.shape == (1, 50, 80)
    assert label.size == (150, 240)
    assert label.segmentation.shape == (150, 240)
    assert set(np.unique(label.pseudo_mask)) <= {0, 8, 255}  # indices are never mixed
    whole = labeler.label_one(image, ["cat"], QUICK)
    assert (label.pseudo_mask == whole.pseudo_mask).mean() > 0.9


def test_mixed_sizes_share_a_batch_and_keep_their_order(labeler):
    sizes = [(40, 56), (30, 90), (64, 64), (17, 23), (90, 30), (41, 57), (12, 80)]
    requests = [LabelRequest(pixels(*size, seed=n), ["cat", "horse"], name=str(n)) for n, size in enumerate(sizes)]
    found = list(labeler.label(requests, QUICK))
    assert [request.name for request, _ in found] == [str(n) for n in range(7)]
    assert [label.size for _, label in found] == sizes


@pytest.mark.parametrize(
    "options",
    [QUICK, preset_options("balanced", refine="none", cam={"size": 64}, precision="float32")],
    ids=["fast", "balanced"],
)
def test_a_batch_of_many_is_one_by_one(options, labeler, photo_folder):
    tags = {"cat": ["cat"], "dog": ["dog"], "horses": ["horse"], "astronaut": ["person"], "person": ["dog", "person"]}
    requests = [LabelRequest(photo_folder / f"{name}.png", names) for name, names in tags.items()]
    for request, together in labeler.label(requests, options):
        alone = labeler.label_one(request.source, request.tags, options)
        assert together.tags == alone.tags
        np.testing.assert_allclose(together.cams, alone.cams, atol=1e-4)
        np.testing.assert_allclose(together.tag_probabilities, alone.tag_probabilities, atol=1e-5)
        assert (together.pseudo_mask == alone.pseudo_mask).mean() > 0.999


def test_the_batch_size_follows_the_pixels_that_go_through_the_device(labeler):
    options = preset_options("paper", cam={"size": 100}, batch_pixels=150 * 150 * 2 * 3)
    assert labeler.batch_size(options) == 3  # the largest scale, straight and mirrored
    assert labeler.batch_size(preset_options("fast", cam={"size": 100}, batch_pixels=100 * 100 * 7)) == 7
    assert labeler.batch_size(preset_options("paper", cam={"size": 2048}, batch_pixels=64 * 64)) == 1


def test_without_a_limit_a_processor_takes_a_photo_at_a_time_and_a_gpu_many(labeler, monkeypatch):
    options = preset_options("fast", cam={"size": 448})
    assert labeler.batch_size(options) == 1
    monkeypatch.setattr(labeler, "device", Device("cuda"))
    assert labeler.batch_size(options) == 8


def test_a_stop_leaves_what_was_not_begun_without_result(labeler, photo_folder, monkeypatch):
    monkeypatch.setattr(labeler, "threads", 1)  # one photo at a time
    path = photo_folder / "cat.png"
    taken = []

    def requests():
        for number in range(5):
            taken.append(number)
            yield LabelRequest(path, ["cat"], name=str(number))

    answers = iter([False, True])
    found = labeler.label(requests(), preset_options("fast", refine="none"), stop=lambda: next(answers))
    assert [request.name for request, _ in found] == ["0", "1"]
    assert taken == [0, 1, 2]


def test_few_photos_are_held_in_memory_however_many_come(labeler):
    options = preset_options("fast", refine="none", cam={"size": 64}, batch_pixels=2 * 64 * 64)
    size = labeler.batch_size(options)
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield LabelRequest(pixels(seed=number), ["cat"], name=str(number))
            number += 1

    stream = labeler.label(endless(), options)
    for number in range(9):
        request, label = next(stream)
        assert request.name == str(number)
        assert isinstance(label, Label)
        assert len(taken) - number <= 6 * size
    stream.close()


MEASURE = """
import sys
from pathlib import Path
from toco.model.labelling.labeler import Labeler, LabelRequest

def status(field):
    return int(Path("/proc/self/status").read_text().split(field)[1].split()[0])

labeler = Labeler.from_folder(device="cpu")
before = status("VmRSS:")
requests = [LabelRequest(Path(path), ["horse", "person"]) for path in sys.argv[1:]]
assert [label.size for _, label in labeler.label(requests)] == [(3000, 4000)] * len(requests)
print(status("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_photos_need_less_than_two_gibibytes_over_the_model(samples, tmp_path):
    """Photos of 3,000 x 4,000 pixels with noise, the default model and preset, in a process of their own."""
    photo = cv2.resize(cv2.imread(str(samples / "horses.jpg")), (4000, 3000)).astype(np.int16)
    photo += np.random.default_rng(0).integers(-20, 21, photo.shape, np.int16)
    paths = [str(tmp_path / f"large{suffix}") for suffix in (".jpg", ".png")]
    for path in paths:
        cv2.imwrite(path, photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths, *paths], check=True, capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert int(ran.stdout) < 2 * 1024**2  # KiB
