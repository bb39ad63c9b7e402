"""Masks from elsewhere put on a photo in the page: chosen or dropped, refused in the service's words, overtaken."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FileChooser, Locator, Page, expect

from tests.service.page.chromium import PHONE, until_in
from tests.service.page.editor import CAT, DOG, OPEN, mask_of
from tests.service.page.test_whole_way import drop
from toco.model.formats.artifacts import encode_mask

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 64, 48  # of the photo


@pytest.fixture
def job(submit, finished, smooth_photo) -> str:
    made = submit({"smooth.png": smooth_photo}, tags="cat,dog")
    finished(made)
    return made


def drawn(cat: int = CAT) -> np.ndarray:
    """A cat beside a dog, and a strip that nobody can tell."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 5:25] = cat
    mask[10:30, 35:60] = DOG
    mask[40:] = OPEN
    return mask


def grey(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def run_lengths(mask: np.ndarray) -> bytes:
    """Encode a mask as the API wants it: column by column, beginning outside."""
    regions = []
    for label, index in (("cat", CAT), ("dog", DOG), ("open", OPEN)):
        inside = (mask == index).T.ravel()
        changes = np.flatnonzero(np.diff(inside, prepend=False))
        counts = np.diff([0, *changes, inside.size]).tolist()
        regions.append({"label": label, "segmentation": {"size": list(mask.shape), "counts": counts}})
    return json.dumps({"regions": regions}).encode()


def opened(page: Page) -> Locator:
    """The panel of a photo that is shown."""
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()
    return page.get_by_role("region", name="Upload a mask")


def choose(panel: Locator, name: str, content: bytes) -> None:
    panel.locator("input").set_input_files({"name": name, "mimeType": "", "buffer": content})


def hows(http, job: str) -> list[str]:
    found = http.get(f"/v1/jobs/{job}/items/000000/revisions").json()["revisions"]
    return [each["how"] for each in found]


def test_a_png_is_chosen_and_becomes_the_label(open_page, job, http):
    page = open_page(f"#/jobs/{job}/items/000000")
    panel = opened(page)
    with page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Choose a mask").click()
    chooser.value.set_files({"name": "mine.png", "mimeType": "image/png", "buffer": encode_mask(drawn())})
    expect(page.get_by_text("mine.png is revision 1 of smooth.png.")).to_be_visible()
    assert np.array_equal(mask_of(http, job), drawn())
    revisions = page.get_by_role("region", name="Revisions")
    expect(revisions.locator("[aria-current]")).to_contain_text("Mask sent")
    expect(page.get_by_role("region", name="Legend")).to_contain_text("ignored 16.7 %")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.45)
    expect(page.locator(".readout")).to_contain_text("Pseudo mask dog")  # what is drawn is what was sent

    choose(panel, "second.png", grey(drawn(OPEN)))  # on top of the one before, without a reload
    expect(page.get_by_text("second.png is revision 2 of smooth.png.")).to_be_visible()
    expect(revisions.get_by_role("button", name="Use")).to_have_count(2)  # the list knows the second by now
    revisions.get_by_role("button", name="Use").first.click()
    expect(page.get_by_text("Revision 1 is the label again.")).to_be_visible()
    assert np.array_equal(mask_of(http, job), drawn())
    assert hows(http, job) == ["upload", "upload", "machine"]


def test_run_lengths_are_dropped_on_the_photo(open_page, job, http):
    page = open_page(f"#/jobs/{job}/items/000000")
    panel = opened(page)
    drop(page, {"one.json": b"{}", "two.json": b"{}"}, "Let go to send it")
    expect(panel.get_by_role("alert")).to_have_text("One mask at a time: this photo has one label.")
    drop(page, {"regions.json": run_lengths(drawn())}, "Let go to send it")
    expect(page.get_by_text("regions.json is revision 1 of smooth.png.")).to_be_visible()
    expect(panel.get_by_role("alert")).to_have_count(0)
    assert np.array_equal(mask_of(http, job), drawn())
    assert hows(http, job) == ["upload", "machine"]


def test_what_is_no_mask_of_the_photo_is_refused_in_the_words_of_the_service(open_page, job, http):
    page = open_page(f"#/jobs/{job}/items/000000")
    panel = opened(page)
    before = mask_of(http, job)
    unicorn = run_lengths(drawn()).replace(b'"dog"', b'"unicorn"')
    short = run_lengths(drawn()[:20])
    for name, content, value, way_out in (
        (
            "small.png",
            grey(drawn()[:20]),
            "The mask has 64 x 20 pixels, the photo 64 x 48.",
            "size of the upright photo",
        ),
        ("odd.png", grey(drawn(77)), "The mask holds the index 77", "Use 0 background, 255 open, 8 cat"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "no PNG, and no JSON object", "or COCO run lengths as JSON"),
        ("empty.png", b"", "The body is empty.", "Send a palette or 8-bit grey PNG"),
        ("unicorn.json", unicorn, "'unicorn' is no class of the job's model.", "Use background, open, cat"),
        ("short.json", short, "The mask has 64 x 20 pixels", "size of the upright photo"),
        ("other.json", b'{"shapes": []}', "Field required", "or COCO run lengths as JSON"),
    ):
        choose(panel, name, content)
        alert = panel.get_by_role("alert")
        expect(alert).to_contain_text(f"{name}: ")
        expect(alert).to_contain_text(value)
        expect(alert).to_contain_text(way_out)
    assert hows(http, job) == ["machine"]
    assert np.array_equal(mask_of(http, job), before)


@pytest.mark.parametrize("keeps", ["mine", "theirs"])
def test_somebody_elses_change_is_told_and_nothing_is_lost(open_page, job, http, keeps):
    page = open_page(f"#/jobs/{job}/items/000000")
    panel = opened(page)
    theirs = np.full((HEIGHT, WIDTH), OPEN, np.uint8)
    assert http.put(f"/v1/jobs/{job}/items/000000/mask?how=cvat", content=grey(theirs)).status_code == 200
    choose(panel, "mine.png", grey(drawn()))
    alert = panel.get_by_role("alert")
    expect(alert).to_contain_text("is at revision 1 by now. Somebody else changed this label")
    expect(page.get_by_role("region", name="Revisions").locator("[aria-current]")).to_contain_text("From CVAT")
    assert (mask_of(http, job) == OPEN).all()
    if keeps == "mine":
        alert.get_by_role("button", name="Use mine all the same").click()
        expect(page.get_by_text("mine.png is revision 2 of smooth.png.")).to_be_visible()
        assert np.array_equal(mask_of(http, job), drawn())
    else:
        alert.get_by_role("button", name="Leave theirs").click()
    expect(alert).to_have_count(0)
    assert hows(http, job) == (["upload", "cvat", "machine"] if keeps == "mine" else ["cvat", "machine"])


def test_a_phone_and_a_keyboard_do_as_well(open_page, job, http):
    page = open_page(f"#/jobs/{job}/items/000000", **PHONE)
    choosers: list[FileChooser] = []

    def asked(chooser: FileChooser) -> None:
        choosers.append(chooser)

    page.on("filechooser", asked)  # long before the key, which may else be faster than the wish to be asked
    panel = opened(page)
    expect(panel.get_by_text("or drop it here")).to_be_hidden()  # nobody drags there
    button = panel.get_by_role("button", name="Choose a mask")
    button.focus()
    page.keyboard.press("Enter")
    until_in(page, lambda: choosers)
    choosers[0].set_files({"name": "mine.png", "mimeType": "image/png", "buffer": grey(drawn())})
    expect(page.get_by_text("mine.png is revision 1 of smooth.png.")).to_be_visible()
    assert np.array_equal(mask_of(http, job), drawn())
