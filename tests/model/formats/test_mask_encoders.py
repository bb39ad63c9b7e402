"""Every mask encoder against the decoder of the tool that it is for, on the masks that encoders get wrong.

Empty, full, one pixel, holes, borders, corners that touch, and random ones; polygons too hold the very pixels of the
mask, and only simplification may move their outline.
"""

import json
import subprocess

import cv2
import cvat_sdk.masks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from pycocotools import mask as coco_mask

from tests.environments import label_studio
from toco.model.errors import InvalidArray, InvalidOption
from toco.model.formats.cvat import encode_bits, encode_runs
from toco.model.formats.label_studio import encode_brush_rle
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import classes_in, connected_regions, drop_specks
from toco.model.formats.rle import encode_rle, rle_box

# pycocotools 2.0.11 decodes by an array protocol that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HAND_MADE = {
    "empty": np.zeros((3, 5), bool),
    "full": np.ones((4, 3), bool),
    "one pixel mask": np.ones((1, 1), bool),
    "no pixel": np.zeros((1, 1), bool),
    "first pixel": np.pad(np.ones((1, 1), bool), ((0, 4), (0, 6))),
    "last pixel": np.pad(np.ones((1, 1), bool), ((4, 0), (6, 0))),
    "frame": ~np.pad(np.ones((4, 5), bool), 1),
    "two holes": np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool),
    "chessboard": np.indices((6, 7)).sum(axis=0) % 2 == 0,
    "island in a hole": np.pad(np.pad(np.pad(np.ones((1, 1), bool), 1), 1, constant_values=True), 1),
    "leaking hole": np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1]], bool),
    "row": np.array([[1, 1, 0, 1, 0, 0, 1]], bool),
    "column": np.array([[1], [0], [1], [1]], bool),
    "long runs": np.arange(400 * 700).reshape(400, 700) % 200_000 > 70_000,
}


@st.composite
def random_masks(draw):
    """Noise of any density, or a few boxes set and cleared, which gives holes and borders."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    if draw(st.booleans()):
        return draw(hypothesis_numpy.arrays(bool, (height, width)))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 6))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
        mask[top:bottom, left:right] = draw(st.booleans())
    return mask


every_hand_made = pytest.mark.parametrize("mask", HAND_MADE.values(), ids=HAND_MADE.keys())
thorough = settings(max_examples=150)


# COCO


def check_rle(mask):
    rle = json.loads(json.dumps(encode_rle(mask)))
    assert np.array_equal(coco_mask.decode(rle).astype(bool), mask)
    x, y, width, height = (int(value) for value in rle_box(rle))
    assert mask[y : y + height, x : x + width].sum() == mask.sum() == coco_mask.area(rle)


@every_hand_made
def test_coco_rle_of_hand_made_masks(mask):
    check_rle(mask)


@thorough
@given(random_masks())
def test_coco_rle_of_random_masks(mask):
    check_rle(mask)


# CVAT


def check_cvat(mask):
    points = encode_runs(mask)
    assert points == cvat_sdk.masks.encode_mask(mask)
    assert all(type(value) is int for value in points)
    size = {"image_width": mask.shape[1], "image_height": mask.shape[0]}
    assert np.array_equal(cvat_sdk.masks.decode_mask(points, **size), mask)
    *bits, x1, y1, x2, y2 = encode_bits(mask)
    assert [x1, y1, x2, y2] == points[-4:]
    assert np.array_equal(np.reshape(bits, (y2 - y1 + 1, x2 - x1 + 1)), mask[y1 : y2 + 1, x1 : x2 + 1])


@every_hand_made
def test_cvat_points_of_hand_made_masks(mask):
    check_cvat(mask)


@thorough
@given(random_masks())
def test_cvat_points_of_random_masks(mask):
    check_cvat(mask)


# Label Studio


def decode_brush_rle(data):
    """The published decoder (rle-pack of thi.ng, as in Label Studio's page), written anew as an oracle."""
    bits = "".join(f"{byte:08b}" for byte in data)
    position = 0

    def read(size):
        nonlocal position
        position += size
        return int(bits[position - size : position], 2)

    total, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        repeat, length = read(1), None
        length = 1 + read(sizes[read(2)])
        values += [read(word)] * length if repeat else [read(word) for _ in range(length)]
    assert position <= len(bits) < position + 16
    return np.array(values, np.uint8)


def check_brush(mask):
    data = encode_brush_rle(mask)
    assert all(type(byte) is int and 0 <= byte <= 255 for byte in data)
    picture = decode_brush_rle(data).reshape(*mask.shape, 4)
    assert np.array_equal(picture, np.repeat(mask[..., None] * np.uint8(255), 4, axis=2))


@every_hand_made
def test_brush_rle_of_hand_made_masks(mask):
    check_brush(mask)


@thorough
@given(random_masks())
def test_brush_rle_of_random_masks(mask):
    check_brush(mask)


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 64, 65, 16384, 16385, 32768, 32769])
def test_brush_rle_where_the_size_of_a_run_changes(pixels):
    check_brush(np.ones((1, pixels), bool))


def test_brush_rle_refuses_what_its_length_field_cannot_hold():
    with pytest.raises(InvalidArray, match="32768"):
        encode_brush_rle(np.broadcast_to(np.False_, (32768, 32768)))


SDK_CHECK = """
import json, sys
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle
for case in json.load(sys.stdin):
    mask = np.array(case["mask"], np.uint8) * 255
    assert mask2rle(mask) == case["rle"], mask
    assert np.array_equal(decode_rle(case["rle"]).reshape(*mask.shape, 4)[..., 3], mask)
print("same bytes")
"""


@pytest.mark.slow
def test_brush_rle_is_byte_for_byte_that_of_label_studio_sdk():
    """The SDK pins an older NumPy, so it lives in Label Studio's environment."""
    random = np.random.default_rng(7)
    masks = [*HAND_MADE.values(), *(random.random((23, 17)) < density for density in np.linspace(0, 1, 21))]
    cases = [{"mask": mask.astype(int).tolist(), "rle": encode_brush_rle(mask)} for mask in masks]
    command = [label_studio(), "-c", SDK_CHECK]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert done.stdout == "same bytes\n", done.stderr


# Polygons


def fill(polygons, shape):
    """Rasterise as pycocotools does."""
    if not polygons:
        return np.zeros(shape, bool)
    rings = [polygon.bridged().ravel().tolist() for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, *shape))).astype(bool)


def signed_area(ring):
    x, y = ring.astype(np.int64).T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


@every_hand_made
def test_hand_made_masks_come_back_from_polygons(mask):
    assert np.array_equal(fill(mask_to_polygons(mask), mask.shape), mask)


@thorough
@given(random_masks())
def test_random_masks_come_back_from_polygons(mask):
    assert np.array_equal(fill(mask_to_polygons(mask), mask.shape), mask)


@thorough
@given(random_masks())
def test_rings_are_axis_parallel_and_their_areas_add_up(mask):
    polygons = mask_to_polygons(mask)
    regions, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(polygons) == regions - 1
    for polygon in polygons:
        for ring in (polygon.outer, *polygon.holes):
            steps = np.abs(np.roll(ring, -1, axis=0) - ring)
            assert ((steps > 0).sum(axis=1) == 1).all()
        assert signed_area(polygon.outer) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.holes)
        assert polygon.area == signed_area(polygon.outer) + sum(map(signed_area, polygon.holes))
        assert polygon.area == signed_area(polygon.bridged())


def test_pixels_that_touch_at_a_corner_are_separate_polygons():
    polygons = mask_to_polygons(np.eye(3, dtype=bool))
    assert [polygon.outer.tolist() for polygon in polygons] == [
        [[i, i], [i + 1, i], [i + 1, i + 1], [i, i + 1]] for i in range(3)
    ]


def test_simplified_outlines_stay_close():
    y, x = np.mgrid[:200, :300]
    mask = (np.hypot(y - 100, x - 150) < 90) & (np.hypot(y - 90, x - 140) > 30)
    (exact,), (simple,) = mask_to_polygons(mask), mask_to_polygons(mask, tolerance=1.0)
    found = fill([simple], mask.shape)
    assert (found & mask).sum() / (found | mask).sum() > 0.98
    assert len(simple.bridged()) < len(exact.bridged()) / 4
    assert simple.area == exact.area == mask.sum()


def test_a_region_too_small_to_simplify_keeps_its_corners():
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    (polygon,) = mask_to_polygons(mask, tolerance=50.0)
    assert polygon.outer.tolist() == [[2, 2], [3, 2], [3, 3], [2, 3]]


def test_specks_are_left_out_and_pin_holes_filled():
    mask = np.zeros((12, 12), bool)
    mask[1:9, 1:9] = True
    mask[4, 4] = False
    mask[11, 11] = True
    (polygon,) = mask_to_polygons(mask, min_area=2)
    assert (polygon.area, polygon.holes) == (64, ())


@thorough
@given(random_masks(), st.integers(2, 20))
def test_polygons_without_specks_are_those_of_the_mask_without_specks(mask, min_area):
    clean = drop_specks(mask, min_area)
    polygons = mask_to_polygons(mask, min_area=min_area)
    assert np.array_equal(fill(polygons, mask.shape), clean)
    assert sum(polygon.area for polygon in polygons) == clean.sum()
    assert len(polygons) == cv2.connectedComponents(clean.astype(np.uint8), connectivity=4)[0] - 1


def test_wrong_input_is_named():
    with pytest.raises(InvalidArray, match="uint8"):
        mask_to_polygons(np.zeros((2, 2), np.uint8))
    with pytest.raises(InvalidArray, match=r"\(0, 3\)"):
        mask_to_polygons(np.zeros((0, 3), bool))
    with pytest.raises(InvalidOption, match="-1"):
        mask_to_polygons(np.zeros((2, 2), bool), tolerance=-1)


# Regions


@thorough
@given(random_masks(), st.sampled_from([4, 8]), st.integers(0, 5))
def test_regions_are_the_connected_parts_from_the_largest_down(mask, connectivity, min_area):
    regions = list(connected_regions(mask, min_area=min_area, connectivity=connectivity))
    assert [region.area for region in regions] == sorted((region.mask.sum() for region in regions), reverse=True)
    for region in regions:
        assert cv2.connectedComponents(region.mask.astype(np.uint8), connectivity=connectivity)[0] == 2
    if min_area <= 1:
        assert np.array_equal(sum((region.mask.astype(int) for region in regions), np.zeros(mask.shape, int)), mask)
    else:
        assert all(region.area >= min_area for region in regions)


@thorough
@given(random_masks(), st.integers(2, 9))
def test_nothing_small_is_left_when_specks_are_dropped(mask, min_area):
    clean = drop_specks(mask, min_area)
    assert all(region.area >= min_area for region in connected_regions(clean, connectivity=4))
    for hole in connected_regions(~clean):
        at_border = hole.mask[[0, -1]].any() or hole.mask[:, [0, -1]].any()
        assert hole.area >= min_area or at_border
    assert np.array_equal(drop_specks(clean, min_area), clean)


def test_the_classes_of_a_mask_leave_background_and_ignored_pixels_out(vocabulary):
    mask = np.array([[0, 255, 8], [15, 15, 8]], np.uint8)
    found = {entry.name: region.tolist() for entry, region in classes_in(mask, vocabulary)}
    assert found == {"cat": [[False, False, True], [False, False, True]], "person": [[False] * 3, [True, True, False]]}
