"""Usable by everyone: axe's rules, light and dark, 360 pixels wide, no other host, a strict policy."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.service.live import until
from tests.service.page.chromium import PHONE

pytestmark = pytest.mark.slow

SERIOUS = ("serious", "critical")
LONG_NAME = f"{'long-name-' * 6}set"


@pytest.fixture
def looked_at(submit, finished, client, smooth_photo):
    """A job with a labelled and a failed item, and a data set of it."""
    job = submit({"smooth.png": smooth_photo, "broken.jpg": b"\xff\xd8\xff\xe0"}, tags="cat, dog", name="A name " * 8)
    finished(job)
    client.keep_data_set(LONG_NAME, [job])
    yield job
    client.delete_data_set(LONG_NAME)


@pytest.fixture
def views(looked_at, smooth_photo):
    """Ways to each view of the page, dialogs included."""

    def label(page: Page) -> None:
        page.goto(page.url.partition("#")[0])
        page.set_input_files("input[type=file]", [{"name": "a.png", "mimeType": "image/png", "buffer": smooth_photo}])
        page.get_by_role("combobox", name="Tags of a.png", exact=True).press_sequentially("unicorn, ca")
        expect(page.get_by_role("option", name="cat")).to_be_visible()

    def jobs(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + "#/jobs")
        expect(page.get_by_role("listitem").first).to_be_visible()

    def job(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + f"#/jobs/{looked_at}")
        page.get_by_role("button", name="show why").click()
        page.get_by_role("group", name="Show").scroll_into_view_if_needed()  # cards far from the window are not drawn
        expect(page.locator("article img").first).to_be_visible()

    def export(page: Page) -> None:
        page.get_by_role("button", name="Export").click()
        page.get_by_text("More settings").click()
        expect(page.get_by_role("radio", name="voc PASCAL VOC")).to_be_visible()

    def item(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + f"#/jobs/{looked_at}/items/000000")
        expect(page.locator("canvas")).to_be_visible()
        page.get_by_role("button", name="Wipe").click()
        page.get_by_role("button", name="CAM", exact=True).click()

    def upload(page: Page) -> None:
        panel = page.get_by_role("region", name="Upload a mask")
        panel.locator("input").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"no mask"})
        expect(panel.get_by_role("alert")).to_be_visible()

    def mend(page: Page) -> None:
        page.get_by_role("button", name="Mend").click()
        expect(page.get_by_role("radio", name="cat")).to_be_attached()
        expect(page.get_by_role("listitem").filter(has_text="As labelled")).to_be_visible()

    def reports(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + f"#/jobs/{looked_at}/reports")
        page.get_by_role("button", name="Look for trouble").or_(page.get_by_role("button", name="Look again")).click()
        page.get_by_role("button", name="Count").click()
        expect(page.get_by_text("Small photos")).to_be_visible()
        expect(page.get_by_role("row", name="cat")).to_be_visible()

    def data_sets(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + "#/data-sets")
        expect(page.get_by_role("listitem").filter(has_text=LONG_NAME)).to_be_visible()
        page.get_by_role("searchbox").fill("a name")
        page.get_by_role("checkbox", name="A name").first.check()
        page.get_by_label("Name", exact=True).fill(LONG_NAME)
        expect(page.get_by_role("alert")).to_be_visible()

    def data_set(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + f"#/data-sets/{LONG_NAME}")
        expect(page.get_by_role("link", name="Audit of A name")).to_be_visible()
        count = page.get_by_role("region", name="Statistics").get_by_role("button", name=re.compile("Count"))
        count.click()
        expect(page.get_by_role("row", name="cat")).to_be_visible()
        page.get_by_role("button", name="Change its jobs").click()
        expect(page.get_by_role("checkbox", name="A name").first).to_be_checked()

    def data_set_export(page: Page) -> None:
        page.get_by_role("button", name="Export").click()
        page.get_by_role("combobox", name="Split").select_option("By shares")
        expect(page.get_by_label("Seed")).to_be_visible()

    def models(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + "#/models")
        expect(page.get_by_text("Vocabulary, 4")).to_be_visible()

    def trainings(page: Page) -> None:
        page.goto(page.url.partition("#")[0] + "#/trainings")
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()

    def sign_in(page: Page) -> None:
        page.get_by_role("button", name="Sign in with an API key").click()
        expect(page.get_by_label("API key", exact=True)).to_be_visible()

    return [
        label,
        jobs,
        job,
        export,
        item,
        upload,
        mend,
        reports,
        data_sets,
        data_set,
        data_set_export,
        models,
        trainings,
        sign_in,
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(open_page, views, node_modules, scheme):
    axe = (node_modules / "axe-core" / "axe.min.js").read_text()
    page = open_page(color_scheme=scheme)
    for view in views:
        view(page)
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        faults = [
            f"{fault['id']}: {node['html'][:200]} {node['failureSummary']}"
            for fault in found
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]
        assert not faults, f"{view.__name__}:\n" + "\n".join(faults)


def test_nothing_is_wider_than_a_phone(open_page, views):
    page = open_page(**PHONE)
    for view in views:
        view(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view.__name__


def test_the_keyboard_reaches_everything_and_shows_where_it_is(open_page):
    page = open_page()
    expect(page.get_by_text("4 classes")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_long_vocabularies_are_scrolled_by_keyboard(open_page):
    page = open_page("#/models")
    region = page.get_by_role("region", name="Vocabulary of tiny")
    region.evaluate("region => region.style.maxHeight = '60px'")  # four classes are not long
    page.get_by_label("Search the vocabulary of tiny").focus()
    page.keyboard.press("Tab")
    expect(region).to_be_focused()
    page.keyboard.press("End")
    until(lambda: region.evaluate("region => region.scrollTop + region.clientHeight >= region.scrollHeight - 1"))


def test_colours_follow_the_system_or_the_choice(open_page):
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_role("button", name="Colours: system").click()
    assert page.evaluate(background) != dark
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(background) == dark
