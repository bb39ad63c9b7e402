"""A job of own words in the page, from drop to export: the phase that learns, its report, the model that it leaves."""

import pytest
from playwright.sync_api import expect

from tests.drawn_words import drawn_job
from tests.service.page.test_whole_way import drop

pytestmark = pytest.mark.slow


def test_own_words_and_two_misspelt_known_ones_from_drop_to_export(open_page, client, tmp_path):
    page = open_page()
    expect(page.get_by_text("4 classes")).to_be_visible()
    photos = drawn_job(57)
    words = {name: list(found) for name, (found, _) in photos.items()}
    cats = [name for name, found in words.items() if found == ["cat"]]
    words[cats[0]], words[cats[1]] = ["cta"], ["catt"]
    rows = [f"{name},{';'.join(found)}" for name, found in words.items()]
    table = "\n".join(["image,tags", *rows]).encode()
    drop(page, {name: content for name, (_, content) in photos.items()} | {"tags.csv": table})

    asked = page.get_by_role("status", name="Words")
    expect(asked.get_by_text("Learnt first, from 58 photos: gadget, widget")).to_be_visible()
    for word in ("cta", "catt"):
        line = asked.locator("p", has_text=word).first
        expect(line).to_contain_text("Did you mean")
        line.get_by_role("button", name="cat", exact=True).click()
    expect(asked.get_by_text("cta → cat (as you said)")).to_be_visible()

    page.get_by_text("One scale. For a first look.").click()
    page.get_by_label("Name of the job").fill("Workshop")
    page.get_by_role("button", name="Label 58 photos").click()
    learning = page.get_by_role("region", name="Learning")
    expect(learning).to_be_visible()
    expect(learning.get_by_text("2 words learnt")).to_be_visible()
    expect(learning.get_by_role("row", name="gadget")).to_contain_text("Learnt")
    expect(learning.get_by_role("row", name="rarity")).to_contain_text("too few photos")
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible()
    expect(page.locator("article").first).to_contain_text("gadget")

    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="Build the export").click()
    expect(page.get_by_text("wholly open, left out")).to_be_visible()
    page.get_by_role("button", name="Close").click()

    learning.get_by_role("link", name="Workshop-").click()
    versions = page.get_by_role("region", name="Versions of Workshop-")
    expect(versions.get_by_text("Current")).to_be_visible()
    with page.expect_download() as download:
        versions.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.startswith("Workshop-")
    versions.get_by_role("button", name="Delete the model").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("is deleted")).to_be_visible()
    expect(versions).to_have_count(0)
    assert not [model for model in client.models()["models"] if model["name"].startswith("Workshop-")]
