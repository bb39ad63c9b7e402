"""Regions of annotation tools come back as the pixels that were drawn."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toco.model.formats.cvat import encode_runs
from toco.model.formats.drawn_regions import decode_box_runs, decode_brush_rle, fill_polygon, label_studio_region
from toco.model.formats.label_studio import encode_brush_rle
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.sent_mask import InvalidMask


def disc(height=60, width=80) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (35, 28), 20, 1, -1)
    cv2.circle(mask, (35, 28), 6, 0, -1)
    return mask > 0


def region(kind: str, value: dict, size=(60, 80)) -> dict:
    return {"type": kind, "original_height": size[0], "original_width": size[1], "image_rotation": 0, "value": value}


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_a_brush_region_is_read_as_it_was_written(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    assert np.array_equal(decode_brush_rle(encode_brush_rle(mask), mask.shape), mask)


def test_runs_of_single_values_are_read_too():
    """What the editor itself writes: values one by one where they do not repeat."""
    values = [0, 0, 0, 0, 9, 9, 9, 255]
    text = f"{len(values):032b}{7:05b}" + "".join(f"{bits - 1:04b}" for bits in (3, 4, 8, 16))
    text += f"{0:01b}{0:02b}{len(values) - 1:03b}" + "".join(f"{value:08b}" for value in values)
    text += "0" * (-len(text) % 8)
    rle = [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]
    assert decode_brush_rle(rle, (1, 2)).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "rle", [[], [1, 2, 3], ["x"], [300], encode_brush_rle(disc())[:40], encode_brush_rle(disc(61))]
)
def test_a_damaged_brush_region_is_told(rle):
    with pytest.raises(InvalidMask):
        decode_brush_rle(rle, (60, 80))


def test_cvats_run_lengths_are_read_as_they_were_written():
    *runs, x1, y1, x2, y2 = encode_runs(disc())
    box = (x1, y1, x2 - x1 + 1, y2 - y1 + 1)
    assert np.array_equal(decode_box_runs(runs, box, (60, 80)), disc())
    for wrong in ((runs[:-1], box), (runs, (70, *box[1:])), ([-1, *runs], box), (runs, (0, 0, 0, 0))):
        with pytest.raises(InvalidMask):
            decode_box_runs(*wrong, (60, 80))


def test_a_polygon_covers_what_it_was_made_of():
    solid = disc() | np.pad(np.ones((12, 12), bool), ((22, 26), (29, 39)))
    (polygon,) = mask_to_polygons(solid, tolerance=0.0, min_area=0)
    filled = fill_polygon(polygon.outer, solid.shape)
    assert (filled & solid).sum() / (filled | solid).sum() > 0.98
    assert not fill_polygon([(1, 1), (5, 5)], solid.shape).any(), "two corners hold nothing"
    assert fill_polygon([(-1e300, -1e300), (1e300, -1e300), (1e300, 1e300), (-1e300, 1e300)], (4, 4)).all()
    for wrong in ([("a", "b")], [(float("nan"), 0)] * 3, [(1, 2, 3)]):
        with pytest.raises(InvalidMask):
            fill_polygon(wrong, (4, 4))


def test_what_says_nothing_of_pixels_is_no_region():
    for kind, value in (
        ("choices", {"choices": ["cat"]}),
        ("keypointlabels", {"x": 1, "y": 1}),
        ("rectanglelabels", {"x": 0, "y": 0, "width": 50, "height": 50}),
    ):
        assert label_studio_region(region(kind, value), (60, 80)) is None
    assert label_studio_region("junk", (60, 80)) is None


def test_a_region_of_another_photo_or_turned_is_refused():
    brush = {"format": "rle", "rle": encode_brush_rle(disc())}
    assert np.array_equal(label_studio_region(region("brushlabels", brush), (60, 80)), disc())
    half = label_studio_region(region("polygonlabels", {"points": [[0, 0], [50, 0], [50, 100], [0, 100]]}), (60, 80))
    assert half[:, :39].all()
    assert not half[:, 41:].any()
    for wrong in (
        region("brushlabels", brush, (80, 60)),
        region("brushlabels", brush) | {"image_rotation": 90},
        region("polygonlabels", {"points": [1, 2]}),
        region("polygonlabels", {}),
    ):
        with pytest.raises(InvalidMask):
            label_studio_region(wrong, (60, 80))
