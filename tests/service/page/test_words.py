"""Words in the page: what each means is shown before a job is sent, and what was left open afterwards."""

import pytest
from playwright.sync_api import expect

from tests.service.page.test_whole_way import drop, tag

pytestmark = pytest.mark.slow


def test_own_words_from_drop_to_export(open_page, jpeg, client):
    page = open_page()
    expect(page.get_by_text("4 classes")).to_be_visible()
    drop(page, {"tom.jpg": jpeg(21), "cup.jpg": jpeg(22), "rex.jpg": jpeg(23)})
    tag(page, "Tags of tom.jpg", "kitty")
    tag(page, "Tags of cup.jpg", "mug")
    tag(page, "Tags of rex.jpg", "Hund")
    words = page.get_by_role("status", name="Words")
    expect(words.get_by_text("kitty → cat (a kind of it)")).to_be_visible()
    expect(words.get_by_text("2 words not understood, on 2 photos")).to_be_visible()

    words.get_by_role("button", name="Map words to classes").click()
    page.get_by_label("Meaning of Hund").select_option("dog")
    page.get_by_role("button", name="Close").click()
    expect(words.get_by_text("Hund → dog (as you said)")).to_be_visible()
    expect(words.get_by_text("1 word not understood, on 1 photo")).to_be_visible()
    expect(words.get_by_text("a word has to be on 5 photos or more")).to_be_visible()

    page.get_by_text("One scale. For a first look.").click()
    page.get_by_label("Name of the job").fill("Own words")
    page.get_by_role("button", name="Label 3 photos").click()
    expect(page.get_by_role("heading", name="Own words")).to_be_visible()
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible()
    expect(page.get_by_role("note").get_by_text("1 word not understood")).to_be_visible()
    badge = page.get_by_title("Not understood: what it may be is left open")
    expect(badge).to_have_text("mug?")
    page.get_by_role("combobox", name="Words").select_option("Not understood")
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article")).to_contain_text("cup.jpg")

    job = next(iter(client.jobs()))
    (opened,) = client.items(job["id"], open_tags=True)
    assert (opened["summary"]["open_tags"], opened["summary"]["doubt"]) == (["mug"], 1.0)
    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="Build the export").click()
    expect(page.get_by_text("1 photo wholly open, left out")).to_be_visible()
    page.get_by_label("Photos too that are wholly open").check()
    page.get_by_role("button", name="Build the export").click()
    expect(page.get_by_text("voc: 3 photos")).to_be_visible()
