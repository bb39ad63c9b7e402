"""Pictures for people: what they show where, and that the heat colours are even."""

import numpy as np
import pytest

from toco.model.errors import InvalidArray
from toco.model.photos.classes import IGNORE, VOC
from toco.model.photos.palette import PALETTE
from toco.model.photos.pictures import (
    SheetRow,
    contact_sheet,
    heat_colours,
    heat_map,
    heat_picture,
    mask_picture,
    oklab,
    overlay_picture,
)

CAT = 8
GREY = np.full((60, 80, 3), 120, np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 10:40] = CAT
    mask[10:40, 50:70] = IGNORE
    return mask


def test_heat_colours_get_lighter_in_even_steps():
    lab = oklab(heat_colours())
    assert (np.diff(lab[:, 0]) > 0).all()
    # 8-bit colours cannot step evenly one by one: look at fifteen steps together.
    steps = np.linalg.norm(np.diff(lab[::15], axis=0), axis=1)
    assert steps.max() / steps.min() < 1.15


def test_oklab_has_the_published_values():
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    expected = [[1, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585], [0.45201, -0.03246, -0.31153]]
    assert np.abs(oklab(colours) - expected).max() < 1e-4


def test_a_heat_map_runs_from_dark_to_light_and_clips():
    found = heat_map(np.array([[0.0, 1.0, -3.0, 7.0]], np.float16))
    assert found.dtype == np.uint8
    assert np.array_equal(found[0], heat_colours()[[0, 255, 0, 255]])


def test_a_heat_picture_has_the_size_of_the_photo():
    cam = np.zeros((6, 8), np.float32)
    cam[:, 4:] = 1
    found = heat_picture(cam, GREY, opacity=1.0)
    assert np.array_equal(found[30, [5, 75]], heat_colours()[[0, 255]])
    assert found.shape == GREY.shape
    assert heat_picture(cam, GREY, side=40).shape == (30, 40, 3)
    assert np.array_equal(heat_picture(cam), heat_map(cam))


def test_a_heat_picture_shows_the_photo_in_grey():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    found = heat_picture(np.zeros((4, 4), np.float32), red, opacity=0.0)
    assert (found == found[..., :1]).all()


def test_an_overlay_colours_classes_leaves_background_and_hatches_ignored_pixels(mask):
    found = overlay_picture(GREY, mask, opacity=0.5)
    assert np.array_equal(found[mask == 0], GREY[mask == 0])
    assert np.array_equal(found[25, 25], np.round(GREY[0, 0] / 2 + PALETTE[CAT] / 2))
    assert (found[10, 10:40] == 255).all()  # the outline, inside the region
    assert len(np.unique(found[mask == IGNORE], axis=0)) == 2  # stripes


def test_an_overlay_takes_masks_and_photos_of_other_sizes(mask):
    large = np.repeat(np.repeat(GREY, 3, axis=0), 3, axis=1)
    found = overlay_picture(large, mask, side=160)
    assert found.shape == (120, 160, 3)
    assert np.array_equal(found[5, 5], GREY[0, 0])
    assert not np.array_equal(found[50, 50], GREY[0, 0])


def test_a_legend_names_what_is_shown_and_only_that(mask):
    plain, named = overlay_picture(GREY, mask), overlay_picture(GREY, mask, legend=VOC)
    assert not np.array_equal(plain, named)
    assert (named == PALETTE[CAT]).all(axis=-1).any()
    empty = np.zeros_like(mask)
    assert np.array_equal(overlay_picture(GREY, empty, legend=VOC), GREY)


def test_a_mask_picture_has_the_colours_of_the_palette(mask):
    assert np.array_equal(mask_picture(mask), PALETTE[mask])


def test_a_contact_sheet_has_a_row_a_photo(mask):
    cams = np.stack([np.linspace(0, 1, 48).reshape(6, 8)] * 3).astype(np.float16)
    rows = [
        SheetRow("wide.jpg", ("cat",), GREY, cams[:1], mask, note="ignored 13 %"),
        SheetRow("tall.jpg", ("cat", "dog", "person"), GREY.transpose(1, 0, 2).copy(), cams, mask.T.copy()),
        SheetRow("none.jpg", (), GREY, cams[:0], np.zeros_like(mask)),
    ]
    sheet = contact_sheet(rows, VOC, cell=160)
    assert sheet.shape == (28 + (120 + 160 + 120) + 3 * (24 + 8), 4 * 168 + 8, 3)
    first = sheet[28 + 24 : 28 + 24 + 120]
    photo, cam, drawn, overlay = (first[:, 8 + 168 * at : 168 * (at + 1)] for at in range(4))
    assert (photo == 120).all()
    assert np.array_equal(drawn[50, 50], PALETTE[CAT])
    assert len(np.unique(cam.reshape(-1, 3), axis=0)) > 50
    assert np.array_equal(overlay[2, 2], GREY[0, 0])


def test_wrong_input_is_named(mask):
    with pytest.raises(InvalidArray, match=r"\(60, 80\)"):
        overlay_picture(GREY[..., 0], mask)
    with pytest.raises(InvalidArray, match="int64"):
        overlay_picture(GREY, mask.astype(int))
    with pytest.raises(InvalidArray, match="CAM"):
        heat_map(np.zeros((0, 3), np.float32))
    with pytest.raises(InvalidArray, match="no photos"):
        contact_sheet([], VOC)
