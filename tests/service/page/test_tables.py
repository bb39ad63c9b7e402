"""A table of tags in the page: shown on the photos before anything is sent; and a folder of odd inputs."""

import pytest
from playwright.sync_api import expect

from tests.odd_inputs import make
from tests.service.page.test_whole_way import drop, tag
from tests.service.test_odd_inputs import refused, sizes, through_the_service

pytestmark = pytest.mark.slow

TABLE = b"image,tags,split,note\ntom.jpg,cat,val,x\nrex.jpg,hors,train,\nlost.jpg,cow,train,\n"


def test_a_table_is_shown_on_the_photos(open_page, jpeg, client):
    page = open_page()
    drop(page, {"tom.jpg": jpeg(31), "rex.jpg": jpeg(32), "new.jpg": jpeg(33), "tags.csv": TABLE})
    table = page.get_by_role("region", name="Table of tags")
    expect(table.get_by_text("also used: split, left aside: note")).to_be_visible()
    expect(table.get_by_text("1 row of 'tags.csv' names no photo: 'lost.jpg'.")).to_be_visible()
    expect(page.get_by_role("list", name="Tags of tom.jpg by the table")).to_have_text("cat val")
    expect(page.get_by_role("list", name="Tags of rex.jpg by the table")).to_have_text("hors train")
    words = page.get_by_role("status", name="Words")
    expect(words.get_by_role("button", name="horse", exact=True)).to_be_visible()  # hors: did you mean it?
    words.get_by_role("button", name="horse", exact=True).click()
    expect(words.get_by_text("hors → horse (as you said)")).to_be_visible()

    table.get_by_label("1 photo that no row lists").select_option("skip")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")  # rows out of sight are not drawn
    tag(page, "Tags of new.jpg", "cat")
    expect(table.get_by_label("1 photo that no row lists")).to_have_count(0)
    page.get_by_text("One scale. For a first look.").click()
    page.get_by_label("Name of the job").fill("By a table")
    page.get_by_role("button", name="Label 3 photos").click()
    expect(page.get_by_role("heading", name="By a table")).to_be_visible()
    job = next(iter(client.jobs()))
    assert client.wait(job["id"], timeout_seconds=120)["state"] == "succeeded"
    found = {item["name"]: item["summary"]["tags"] for item in client.items(job["id"])}
    assert found == {"tom.jpg": ["cat"], "rex.jpg": ["horse"], "new.jpg": ["cat"]}


def test_a_broken_table_is_said_where_it_is_shown(open_page, jpeg):
    page = open_page()
    drop(page, {"tom.jpg": jpeg(31), "tags.csv": b"\x00\x01\x02"})
    table = page.get_by_role("region", name="Table of tags")
    expect(table.get_by_role("alert")).to_be_visible()
    table.get_by_role("button", name="Leave it out").click()
    expect(table).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_folder_of_odd_inputs_goes_through_the_page(open_page, client, tmp_path):
    folder = tmp_path / "odd"
    found = make(folder)
    page = open_page()
    page.locator("input[webkitdirectory]").set_input_files(folder)
    tag(page, "Tags for all photos", "cat")
    page.get_by_text("One scale. For a first look.").click()
    page.get_by_label("Name of the job").fill("Odd")
    page.get_by_role("button", name="Label").last.click()
    expect(page.get_by_role("heading", name="Odd")).to_be_visible(timeout=60_000)
    masks, errors = through_the_service(client, next(iter(client.jobs())))
    # What is no photo is refused too, but for what the browser leaves out itself.
    others = {name for name, odd in found.items() if odd.passed_over and not name.startswith((".", "__MACOSX"))}
    told = {name.removeprefix("odd/"): code for name, code in errors.items()}
    assert {name: code for name, code in told.items() if name not in others} == refused(found)
    assert {told[name] for name in others & told.keys()} == {"unsupported_image_format"}
    assert {f"odd/{name}": size for name, size in sizes(found).items()} == masks
