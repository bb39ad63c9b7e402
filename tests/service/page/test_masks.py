"""What the item view draws, read back pixel by pixel."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from toco.model.photos.classes import VOC
from toco.model.photos.palette import PALETTE

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 64, 48
INDEX = {name: VOC.classes[VOC.channel(name)].index for name in ("cat", "dog")}


@pytest.fixture
def item(submit, finished, smooth_photo, open_page) -> Page:
    """The item view of one photo with two tags."""
    job = submit({"smooth.png": smooth_photo}, tags="cat, dog", outputs="cam,pseudo_mask,segmentation,overlay")
    assert finished(job)["state"] == "succeeded"
    page = open_page(f"#/jobs/{job}/items/000000")
    expect(page.locator("canvas")).to_be_visible()
    page.get_by_label("Opacity").fill("1")
    page.get_by_label("Hatch ignored pixels").uncheck()
    return page


def photo_pixels(page: Page) -> np.ndarray:
    """Read the canvas at the middle of each pixel of the photo. Returns (48, 64, 3) uint8."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    values = page.evaluate(
        """([width, height]) => {
            const canvas = document.querySelector('canvas');
            const { zoom, x, y } = canvas.dataset;
            const ratio = devicePixelRatio;
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = [];
            for (let row = 0; row < height; row++) {
                for (let column = 0; column < width; column++) {
                    const left = Math.floor(ratio * (Number(x) + Number(zoom) * (column + 0.5)));
                    const top = Math.floor(ratio * (Number(y) + Number(zoom) * (row + 0.5)));
                    found.push(...data.slice(4 * (top * canvas.width + left), 4 * (top * canvas.width + left) + 3));
                }
            }
            return found;
        }""",
        [WIDTH, HEIGHT],
    )
    return np.array(values, np.uint8).reshape(HEIGHT, WIDTH, 3)


def classes_of(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) mask indices of pixels in a class's colour, 0 elsewhere."""
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for index in INDEX.values():
        mask[(pixels == PALETTE[index]).all(axis=2)] = index
    return mask


def set_threshold(page: Page, label: str, value: float) -> None:
    page.get_by_label("Thresholds").get_by_label(label).fill(str(value))


def test_the_stored_mask_is_drawn_as_it_is(item, http):
    job = item.url.split("/")[-3]
    content = http.get(f"/v1/jobs/{job}/items/000000/artifacts/pseudo_mask.png").content
    stored = np.array(Image.open(io.BytesIO(content)))
    drawn = classes_of(photo_pixels(item))
    assert np.array_equal(drawn, np.where(stored == 255, 0, stored))


def test_thresholds_change_the_mask_at_once_as_the_server_would(item, http, finished):
    job = item.url.split("/")[-3]
    set_threshold(item, "Ignored up to", 0.8)
    expect(item.get_by_role("button", name="Before CRF")).to_have_attribute("aria-pressed", "true")
    few = classes_of(photo_pixels(item))
    set_threshold(item, "Ignored up to", 0.4)
    many = classes_of(photo_pixels(item))
    assert np.count_nonzero(many) > np.count_nonzero(few) > 0
    assert np.array_equal(few[few > 0], many[few > 0])  # lowering it only adds pixels

    options = {"refine": "none", "thresholds": {"high": 0.4, "low": 0.25}}
    finished(http.post(f"/v1/jobs/{job}/items/000000/revisions", json={"options": options}).json()["id"])
    content = http.get(f"/v1/jobs/{job}/items/000000/artifacts/pseudo_mask.png").content
    server = np.array(Image.open(io.BytesIO(content)))
    # Scores come as 8 bits, so a pixel within 1/510 of a threshold may fall on its other side.
    assert np.mean(many == np.where(server == 255, 0, server)) > 0.99


def test_without_an_ignored_band_every_pixel_is_decided(item, http):
    item.get_by_label("Leave doubtful pixels open").uncheck()
    set_threshold(item, "Background up to", 0.01)
    job = item.url.split("/")[-3]
    content = http.get(f"/v1/jobs/{job}/items/000000/artifacts/cam.npz").content
    with np.load(io.BytesIO(content)) as stored:
        score = stored["cams"].max(axis=0)
    # Scores come as 8 bits, so a pixel within 1/510 of a threshold may fall on its other side.
    assert np.mean((classes_of(photo_pixels(item)) > 0) == (score > 0.01)) > 0.99
    legend = item.get_by_label("Legend").get_by_role("row", name="ignored")
    expect(legend).to_contain_text("0.0 %")


def test_the_server_refines_with_the_chosen_thresholds_in_place(item, http):
    job = item.url.split("/")[-3]
    before = len(http.get("/v1/jobs", params={"limit": 100}).json()["jobs"])
    set_threshold(item, "Ignored up to", 0.45)
    item.get_by_role("button", name="Refine on the server").click()
    expect(item.get_by_text("Revision 1, refined with these thresholds")).to_be_visible()
    expect(item.get_by_role("button", name="Pseudo mask")).to_have_attribute("aria-pressed", "true")
    expect(item.locator("[aria-busy=false] canvas")).to_be_visible()
    result = http.get(f"/v1/jobs/{job}/items/000000/artifacts/result.json").json()
    assert (result["options"]["thresholds"]["high"], result["options"]["refine"]) == (0.45, "crf")
    content = http.get(f"/v1/jobs/{job}/items/000000/artifacts/pseudo_mask.png").content
    refined = np.array(Image.open(io.BytesIO(content)))
    assert np.array_equal(classes_of(photo_pixels(item)), np.where(refined == 255, 0, refined))
    assert len(http.get("/v1/jobs", params={"limit": 100}).json()["jobs"]) == before  # no job more in the list


def test_layers_wipe_opacity_and_hatching(item, smooth_photo):
    photo = np.array(Image.open(io.BytesIO(smooth_photo)))
    item.get_by_role("button", name="Photo", exact=True).click()
    assert np.array_equal(photo_pixels(item), photo)

    item.get_by_role("button", name="CAM", exact=True).click()
    heat = photo_pixels(item)
    item.get_by_role("combobox", name="CAM of").select_option("dog")
    assert not np.array_equal(photo_pixels(item), heat)

    item.get_by_label("Layers").get_by_role("button", name="Wipe").click()
    item.get_by_label("Left of the wipe").select_option("Photo")
    handle = item.get_by_role("slider", name="Wipe between Photo and CAM")
    handle.press("Home")
    right = photo_pixels(item)
    handle.press("End")
    assert np.array_equal(photo_pixels(item), photo)
    handle.press("Home")
    for _ in range(25):
        handle.press("ArrowRight")
    half = photo_pixels(item)
    assert np.array_equal(half[:, : WIDTH // 2 - 1], photo[:, : WIDTH // 2 - 1])
    assert np.array_equal(half[:, WIDTH // 2 + 1 :], right[:, WIDTH // 2 + 1 :])
    item.keyboard.press("w")

    set_threshold(item, "Ignored up to", 0.99)  # nearly all is ignored
    plain = photo_pixels(item)
    item.get_by_label("Hatch ignored pixels").check()
    assert np.mean((photo_pixels(item) != plain).any(axis=2)) > 0.3

    item.get_by_role("button", name="Pseudo mask").click()
    item.get_by_label("Hatch ignored pixels").uncheck()
    item.get_by_label("Opacity").fill("0")
    assert np.array_equal(photo_pixels(item), photo)


def test_zoom_to_single_pixels_and_read_them(item):
    canvas = item.locator("canvas")
    box = canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    item.mouse.move(*middle)
    for _ in range(12):
        item.mouse.wheel(0, -400)
    expect(canvas).to_have_attribute("data-zoom", "64")
    item.get_by_role("button", name="Photo", exact=True).click()
    row = item.evaluate(
        """() => {
            const canvas = document.querySelector('canvas');
            const { data } = canvas.getContext('2d').getImageData(0, canvas.height >> 1, canvas.width, 1);
            return [...data].filter((_, at) => at % 4 === 0);
        }"""
    )
    assert len(set(row)) <= len(row) / 64 + 2  # each photo pixel is one square of 64 equal screen pixels

    before = float(canvas.get_attribute("data-x"))
    item.mouse.move(*middle)
    item.mouse.down()
    item.mouse.move(middle[0] + 80, middle[1], steps=4)
    item.mouse.up()
    assert float(canvas.get_attribute("data-x")) > before + 40

    item.get_by_role("button", name="Show all").click()
    item.mouse.move(middle[0] + 1, middle[1] + 1)
    readout = item.locator(".readout")
    expect(readout).to_contain_text("32, 24")
    for text in ("Pseudo mask", "Before CRF", "Segmentation", "cat 0.", "dog 0."):
        expect(readout).to_contain_text(text)
