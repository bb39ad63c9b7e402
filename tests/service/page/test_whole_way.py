"""From dropping photos to the exported zip, as a person does it."""

import base64
import io
import re
import zipfile

import pytest
from playwright.sync_api import Page, expect

from tests.service.live import until

pytestmark = pytest.mark.slow


def drop(page: Page, files: dict[str, bytes], told: str = "Let go to add them") -> None:
    """Drag files over the page, which tells what happens then, and let go."""
    encoded = [[name, base64.b64encode(content).decode()] for name, content in files.items()]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, data] of files)
                transfer.items.add(new File([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))], name));
            return transfer;
        }""",
        encoded,
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text(told)).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def tag(page: Page, label: str, text: str) -> None:
    """Write a tag and press Enter."""
    field = page.get_by_role("combobox", name=label, exact=True)
    field.press_sequentially(text)
    field.press("Enter")


def test_from_upload_to_export(open_page, jpeg, http):
    page = open_page()
    expect(page.get_by_text("4 classes")).to_be_visible()
    drop(page, {"tom.jpg": jpeg(1), "rex.jpg": jpeg(2), "farm.jpg": jpeg(3), "broken.jpg": b"\xff\xd8\xff\xe0 no more"})

    tag(page, "Tags of tom.jpg", "kitten")  # a synonym
    expect(page.get_by_role("button", name="Remove cat")).to_be_visible()
    field = page.get_by_role("combobox", name="Tags of rex.jpg", exact=True)
    field.press_sequentially("pup")
    expect(page.get_by_role("option", name="dog puppy")).to_be_visible()
    field.press("Enter")
    tag(page, "Tags of farm.jpg", "horse, person")
    tag(page, "Tags of broken.jpg", "cat")

    tag(page, "Tags of farm.jpg", "hrose")
    words = page.get_by_role("status", name="Words")
    explained = words.get_by_text("is not understood, 1 photo.")
    expect(explained).to_be_visible()
    expect(page.get_by_role("listbox")).to_have_count(0)  # which would lie over what is explained
    words.get_by_role("combobox").select_option("Refuse the job")
    expect(page.get_by_role("button", name="Label 4 photos")).to_be_disabled()
    words.get_by_role("button", name="horse", exact=True).click()
    expect(explained).to_be_hidden()
    expect(words.get_by_text("hrose → horse (as you said)")).to_be_visible()

    page.get_by_text("One scale. For a first look.").click()
    page.get_by_label("Name of the job").fill("Whole way")
    page.get_by_role("button", name="Label 4 photos").click()
    expect(page.get_by_role("heading", name="Whole way")).to_be_visible()
    expect(page.locator("dl").get_by_text("Done, some failed")).to_be_visible()

    page.get_by_role("button", name="1, show why").click()
    expect(page.get_by_label("Failures").get_by_text("broken.jpg")).to_be_visible()
    expect(page.get_by_label("Failures").get_by_role("heading")).to_have_text("1 photo: unreadable image")
    page.get_by_role("button", name="Retry failed").click()
    expect(page.get_by_text("None can be tried again")).to_be_visible()

    page.get_by_role("combobox", name="Sort").select_option("Most doubtful first")
    cards = page.get_by_role("article")
    expect(cards).to_have_count(3)
    cards.first.get_by_role("link").click()
    expect(page.locator("canvas")).to_be_visible()
    page.get_by_role("button", name="Accept").click()
    page.keyboard.press("j")
    expect(page.get_by_text("2 of 3")).to_be_visible()
    expect(page.locator("[aria-busy=false] canvas")).to_be_visible()  # what is not seen yet is not judged
    page.keyboard.press("r")
    expect(page.get_by_text("3 of 3")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="pseudo_mask.png").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    page.keyboard.press("Escape")

    job = page.url.partition("/jobs/")[2].partition("?")[0]

    def judged(decision: str) -> list[dict]:
        return http.get(f"/v1/jobs/{job}/items", params={"decision": decision}).json()["items"]

    until(lambda: len(judged("accept")) == len(judged("reject")) == 1)  # they are shown before they are stored
    page.get_by_role("button", name="Export").click()
    for choice in ("All (3)", "All but the rejected (2)", "Accepted only (1)"):
        expect(page.get_by_label(choice)).to_be_visible()
    assert page.get_by_role("radio", name=re.compile("^(voc|coco|yolo)")).count() >= 3
    page.get_by_label("Accepted only (1)").check()
    page.get_by_role("button", name="Build the export").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download", exact=True).first.click()
    names = zipfile.ZipFile(io.BytesIO(saved.value.path().read_bytes())).namelist()
    masks = [name for name in names if name.startswith("SegmentationClass/")]
    (accepted,) = judged("accept")
    assert [mask.partition("/")[2].partition(".")[0] for mask in masks] == [accepted["name"].partition(".")[0]]


def test_progress_is_live(open_page, submit, jpeg):
    page = open_page("#/jobs")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    page.evaluate(
        """() => {
            window.seen = { ended: new Set(), left: new Set(), rate: new Set() };
            new MutationObserver(() => {
                for (const [name, texts] of Object.entries(window.seen)) {
                    const figure = document.querySelector(`[data-figure=${name}]`);
                    if (figure) texts.add(figure.textContent);
                }
            }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    job = submit({f"{n}.jpg": jpeg(n % 20) for n in range(120)}, preset="paper")
    page.locator(f"a[href='#/jobs/{job}']").click()  # it appears by itself
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible(timeout=180_000)
    seen = page.evaluate("Object.fromEntries(Object.entries(window.seen).map(([name, texts]) => [name, [...texts]]))")
    assert "120 of 120" in seen["ended"]
    assert len(seen["ended"]) > 2, seen
    assert any(re.search(r"photos/(s|min)", text) for text in seen["rate"]), seen
    assert any(re.fullmatch(r"\d+ s|\d+ min \d+ s", text) for text in seen["left"]), seen


def test_a_job_is_cancelled_and_resumed(open_page, submit, jpeg):
    job = submit({f"{n}.jpg": jpeg(n % 20) for n in range(300)}, preset="paper")  # the page is there before its end
    page = open_page(f"#/jobs/{job}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile("photos? cancelled"))).to_be_visible()
    expect(page.locator("dl").get_by_text("Cancelled", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("queued again")).to_be_visible()
    expect(page.locator("dl").get_by_text(re.compile("Running|Queued|Done"))).to_be_visible()
    page.get_by_role("button", name="Delete the job").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.locator(f"a[href*='{job}']")).to_have_count(0)
