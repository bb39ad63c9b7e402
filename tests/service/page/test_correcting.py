"""The whole way of a correction: what to look at first, mended, kept, learnt from, taken back, exported."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.model.method.test_smart_strokes import IN_CAT, scene
from tests.service.page.editor import CAT, DOG, Editor, mask_of

pytestmark = pytest.mark.slow

SCALE = 4
PHOTOS = 4


def shot(page: Page, name: str) -> None:
    """Take a picture for people to look at, where a folder for it is named."""
    if folder := os.environ.get("TOCO_TEST_PICTURES"):
        page.screenshot(path=Path(folder, f"{name}.png"))


def item_of(page: Page) -> str:
    return page.url.partition("/items/")[2].partition("?")[0]


def test_from_what_to_look_at_first_to_an_export_of_what_was_mended(open_page, labelled, http):
    job = labelled(photos=PHOTOS, scale=SCALE)
    here = f"/v1/jobs/{job}"
    doubt = {item["id"]: item["summary"]["doubt"] for item in http.get(f"{here}/items").json()["items"]}
    before = {item: mask_of(http, job, item) for item in doubt}
    page = open_page(f"#/jobs/{job}")
    panel = page.get_by_label("Next to look at")
    expect(panel).to_contain_text(f"{PHOTOS} of {PHOTOS} labels undecided")
    shot(page, "1-job")

    panel.get_by_role("link", name="Start correcting").click()
    expect(page.get_by_text(f"1 of {PHOTOS}", exact=True)).to_be_visible()
    first = item_of(page)
    assert doubt[first] == max(doubt.values())
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    shot(page, "2-first")

    editor = Editor(page)
    editor.draw_anew(SCALE)
    shot(page, "3-mended")
    assert np.array_equal(mask_of(http, job, first), before[first])  # nothing is stored unasked
    page.keyboard.press("a")
    expect(page.get_by_text("Kept as revision 1, accepted.")).to_be_visible()
    expect(page.get_by_text(f"{PHOTOS - 1} of {PHOTOS} labels undecided")).to_be_visible()
    expect(page.get_by_text(f"2 of {PHOTOS}", exact=True)).to_be_visible()  # and on to the next one, the editor open
    expect(page.locator("[aria-busy=false] canvas.top")).to_be_visible()
    shot(page, "4-next")

    mended = mask_of(http, job, first)
    cat = np.zeros(scene(SCALE)[1].shape, bool)
    cat[80:280, 40:200] = True
    found = mended == CAT
    assert (found & cat).sum() / (found | cat).sum() > 0.85
    assert (mended[200:300, 291:309] == DOG).all()
    assert mended[10, 500] == 0

    page.keyboard.press("Escape")
    page.get_by_role("link", name="All items").click()
    panel = page.get_by_label("Learn again", exact=True)
    panel.get_by_role("button", name="Learn again").click()
    expect(panel.get_by_text(f"from 1 corrected mask; {PHOTOS - 1} labels changed.")).to_be_visible()
    panel.get_by_text("What changed most").click()
    expect(panel.get_by_role("listitem")).to_have_count(PHOTOS - 1)
    shot(page, "5-learnt")
    others = [item for item in doubt if item != first]
    assert all((mask_of(http, job, item) != before[item]).any() for item in others)
    assert np.array_equal(mask_of(http, job, first), mended)  # a person's mask is nobody else's to change

    panel.get_by_role("button", name="Take back").click()
    expect(panel.get_by_text("undone")).to_be_visible()
    shot(page, "6-taken-back")
    assert all(np.array_equal(mask_of(http, job, item), before[item]) for item in others)

    page.get_by_role("button", name="Export").click()
    page.get_by_label("Accepted only (1)").check()
    page.get_by_role("button", name="Build the export").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download", exact=True).first.click()
    shot(page, "7-export")
    bundle = zipfile.ZipFile(io.BytesIO(saved.value.path().read_bytes()))
    stem = http.get(f"{here}/items/{first}").json()["name"].removesuffix(".jpg")
    assert [name for name in bundle.namelist() if name.startswith("SegmentationClass/")] == [
        f"SegmentationClass/{stem}.png"
    ]
    exported = np.array(Image.open(io.BytesIO(bundle.read(f"SegmentationClass/{stem}.png"))))
    assert np.array_equal(exported, mended)


def test_behind_the_last_one_it_begins_anew_until_none_is_left(open_page, labelled):
    job = labelled(photos=2)
    page = open_page(f"#/jobs/{job}")
    page.get_by_role("link", name="Start correcting").click()
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    passed_over = item_of(page)
    page.keyboard.press("j")
    expect(page.get_by_text("2 of 2", exact=True)).to_be_visible()
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    expect(page.get_by_text("1 of 2 labels undecided")).to_be_visible()
    assert item_of(page) == passed_over
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_label("Next to look at")).to_contain_text("Every label was judged or mended")
    expect(page.get_by_role("link", name="Start correcting")).to_be_hidden()
    page.get_by_role("combobox", name="Sort").select_option("What to look at first")
    expect(page.get_by_text("Nothing fits")).to_be_visible()


def test_a_key_pressed_before_the_list_has_come_counts_once_it_has(open_page, labelled):
    job = labelled(photos=2)
    page = open_page(f"#/jobs/{job}")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.get_by_role("link", name="Start correcting").hover()
    page.route("**/next?*", hold)
    page.get_by_role("link", name="Start correcting").click()
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("k")  # nothing comes before the first one
    page.wait_for_timeout(300)
    expect(page.get_by_text("2 of 2", exact=True)).to_be_hidden()
    for route in held:
        route.continue_()
    expect(page.get_by_text("2 of 2", exact=True)).to_be_visible()


def test_40_megapixels_are_mended_and_what_is_not_touched_stays_as_it_was(open_page, labelled, http):
    scale = 58  # 7424 x 5568 pixels: each of them is kept, though fewer are drawn
    job = labelled(scale=scale)
    before = mask_of(http, job)
    height, width = before.shape
    assert height * width > 40_000_000
    # A mask of single pixels: what is drawn coarser must not be stored coarser.
    noise = np.where(np.random.default_rng(0).random(before.shape) < 0.5, before, CAT).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    address = f"/v1/jobs/{job}/items/000000/mask"
    sent = http.put(address, content=file.getvalue(), headers={"content-type": "image/png"}, timeout=120)
    assert sent.status_code == 200, sent.text

    page = open_page(f"#/jobs/{job}/items/000000")
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    editor = Editor(page)
    shot(page, "large-1-opened")
    editor.choose("Brush", "dog")
    editor.size(101)
    editor.drag((1000, 2000), (3000, 2000))
    editor.choose("Smart stroke", "background")
    editor.smart(IN_CAT[0] * scale, IN_CAT[1] * scale)
    page.keyboard.press("z")  # the smart stroke is undone: only the brush is left
    shot(page, "large-2-mended")
    for _ in range(8):
        page.mouse.move(*editor.at(1000, 2000))
        page.mouse.wheel(0, -400)
    page.wait_for_timeout(300)
    shot(page, "large-3-close")
    editor.keep()
    kept = mask_of(http, job)
    rows, columns = np.nonzero(kept != noise)
    assert kept.shape == noise.shape
    # A pixel of the screen is ten of the photo: the brush may be off by one.
    assert abs(rows.min() - 1950) <= 10
    assert abs(rows.max() - 2050) <= 10
    assert abs(columns.min() - 950) <= 10
    assert abs(columns.max() - 3050) <= 10
    assert (kept[1965:2035, 1010:2990] == DOG).all()
    assert (kept[kept != noise] == DOG).all()
