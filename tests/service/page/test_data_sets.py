"""Data sets in the page: made of jobs, counted, reported on, split, exported as one, changed and forgotten."""

import io
import json
import re
import zipfile

import pytest
from playwright.sync_api import expect

from tests.service.page.chromium import PHONE

pytestmark = pytest.mark.slow


@pytest.fixture
def jobs(submit, finished, jpeg) -> tuple[str, str]:
    """Two weeks: four photos, of which one is rejected later, and two."""
    first = submit(
        {f"{name}.jpg": jpeg(seed, (96, 72)) for name, seed in zip("abcd", (51, 52, 53, 54), strict=True)},
        tags=["cat", "dog", "cat,person", "horse"],
        name="First week",
    )
    second = submit({"a.jpg": jpeg(55, (96, 72)), "e.jpg": jpeg(51, (96, 72))}, tags=["cat", "cat"], name="Second week")
    finished(first)
    finished(second)
    return first, second


@pytest.fixture
def pets(client, jobs):
    """A data set of both, forgotten afterwards; tests share a service."""
    client.keep_data_set("pets", list(jobs))
    yield "pets"
    if "pets" in client.data_sets():
        client.delete_data_set("pets")


def test_from_jobs_to_one_export(open_page, http, client, jobs, pets):
    first, second = jobs
    client.delete_data_set(pets)
    http.patch(f"/v1/jobs/{first}/items/000003", json={"decision": "reject"}).raise_for_status()
    page = open_page()
    page.get_by_role("navigation").get_by_role("link", name="Data sets").click()
    form = page.get_by_role("region", name="New data set")
    form.get_by_role("searchbox").fill("week")
    form.get_by_role("checkbox", name="First week").first.check()
    form.get_by_role("combobox", name="Labels of First week").select_option("All but the rejected")
    form.get_by_role("checkbox", name="Second week").first.check()
    form.get_by_role("combobox", name="Labels of Second week").select_option("All")
    expect(form.get_by_role("button", name="Keep 2 jobs")).to_be_disabled()  # without a name
    form.get_by_label("Name", exact=True).fill("pets")
    form.get_by_role("button", name="Keep 2 jobs").click()

    expect(page.get_by_role("heading", name="pets")).to_be_visible()
    expect(page.get_by_text("5 labelled photos of 2 jobs")).to_be_visible()
    kept = client.data_set("pets")["members"]
    assert [(member["job"], member["decisions"]) for member in kept] == [(first, "not_rejected"), (second, "all")]
    expect(page.get_by_role("row", name="First week All but the rejected 3")).to_be_visible()

    statistics = page.get_by_role("region", name="Statistics")
    statistics.get_by_role("button", name="Count").click()
    row = statistics.get_by_role("row", name="cat")
    expect(row).to_be_visible()
    found = client.statistics(client.report_data_set("pets", "statistics"))
    (cat,) = [entry for entry in found["classes"] if entry["name"] == "cat"]
    assert row.get_by_role("cell").all_inner_texts()[:2] == [str(cat["tagged"]), str(cat["photos"])]
    assert cat["tagged"] == 4

    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export")
    expect(dialog.get_by_text("Which labels")).to_have_count(0)  # the data set has said that
    dialog.get_by_role("radio", name="coco COCO").check()
    dialog.get_by_role("combobox", name="Split").select_option("By shares")
    dialog.get_by_label("Train / val / test, percent").fill("50/60")
    dialog.get_by_role("button", name="Build the export").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The split '50/60' does not add up to 100.")
    dialog.get_by_label("Train / val / test, percent").fill("60/40")
    dialog.get_by_label("Seed").fill("3")
    dialog.get_by_role("button", name="Build the export").click()
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download", exact=True).first.click()
    assert saved.value.suggested_filename == "pets-coco.zip"
    bundle = zipfile.ZipFile(io.BytesIO(saved.value.path().read_bytes()))
    parts = {
        name.rpartition("/")[2]: {image["file_name"] for image in json.loads(bundle.read(name))["images"]}
        for name in bundle.namelist()
        if name.endswith(".json") and "images" in json.loads(bundle.read(name))
    }
    assert len(parts) == 2
    assert sorted(len(names) for names in parts.values()) == [2, 3]
    (doubles,) = [names for names in parts.values() if any("e.jpg" in name for name in names)]
    assert any(name.endswith("a.jpg") for name in doubles)  # look alike: in one part


def test_what_is_a_data_sets_is_not_shown_as_its_first_jobs(open_page, jobs, pets):
    page = open_page(f"#/data-sets/{pets}")
    for panel, button in (("Tag doctor", "Look for trouble"), ("Statistics", "Count")):
        region = page.get_by_role("region", name=panel)
        region.get_by_role("button", name=button).click()
        expect(region.get_by_role("button", name=re.compile("again"))).to_be_enabled()
    alike = page.get_by_role("region", name="Tag doctor").get_by_role("listitem").filter(has_text="look alike")
    expect(alike.get_by_role("link", name="Open e.jpg")).to_be_visible()  # across jobs
    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="Build the export").click()
    expect(page.get_by_role("button", name="Download", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Statistics").get_by_role("row", name="cat")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_text("Built before")).to_be_visible()
    page.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="Audit of First week").click()
    expect(page.get_by_role("region", name="Audit").get_by_role("button", name="Draw a sample")).to_be_enabled()
    statistics = page.get_by_role("region", name="Statistics")
    expect(statistics.get_by_role("button", name="Count", exact=True)).to_be_enabled()  # the job was never counted
    expect(page.get_by_role("button", name="Look for trouble")).to_be_enabled()
    page.get_by_role("link", name="Labels of the job").click()
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("radio", name="voc PASCAL VOC")).to_be_visible()
    expect(page.get_by_label("All (4)")).to_be_visible()
    expect(page.get_by_text("Built before")).to_have_count(0)


def test_a_data_set_is_changed_and_forgotten(open_page, client, jobs, pets):
    first, second = jobs
    client.keep_data_set(pets, [{"job": first, "items": ["000000", "000002"]}])
    page = open_page("#/data-sets", **PHONE)
    listed = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=pets, exact=True))
    expect(listed).to_contain_text(re.compile("^pets *2 photos of 1 job"))
    page.get_by_label("Name", exact=True).fill(pets)  # what is there is not replaced by the way
    expect(page.get_by_role("alert")).to_contain_text("There is a data set of this name")
    page.get_by_role("alert").get_by_role("link").click()
    expect(page.get_by_role("heading", name=pets)).to_be_visible()
    change = page.get_by_role("button", name="Change its jobs")
    change.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 photos of it chosen")).to_be_visible()
    page.get_by_role("checkbox", name="Second week").first.check()
    page.get_by_role("button", name="Keep 2 jobs").click()
    expect(page.get_by_text("4 labelled photos of 2 jobs")).to_be_visible()
    assert [(member["job"], member["items"]) for member in client.data_set(pets)["members"]] == [
        (first, ["000000", "000002"]),
        (second, []),
    ]
    page.get_by_role("button", name="Delete the data set").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("pets is forgotten; its jobs stay.")).to_be_visible()
    expect(page.get_by_role("heading", name="Data sets")).to_be_visible()
    assert pets not in client.data_sets()
    page.goto(f"{page.url.partition('#')[0]}#/data-sets/{pets}")
    expect(page.get_by_text("There is no data set 'pets'.")).to_be_visible()


def test_a_job_that_is_gone_is_told_and_taken_out(open_page, http, client, jobs, pets):
    first, second = jobs
    page = open_page(f"#/data-sets/{pets}")
    page.get_by_role("button", name="Change its jobs").click()
    expect(page.get_by_role("checkbox", name="Second week").first).to_be_checked()
    http.delete(f"/v1/jobs/{second}").raise_for_status()
    page.get_by_role("button", name="Keep 2 jobs").click()
    expect(page.get_by_role("alert")).to_contain_text(second)  # the service's words: which job there is not
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("1 job of it was deleted.")).to_be_visible()
    expect(page.get_by_role("button", name="Export")).to_be_disabled()
    page.get_by_role("button", name="Change its jobs").click()
    page.get_by_role("checkbox", name=f"Deleted job {second}").uncheck()
    page.get_by_role("button", name="Keep 1 job").click()
    expect(page.get_by_text("4 labelled photos of 1 job")).to_be_visible()
    expect(page.get_by_role("button", name="Export")).to_be_enabled()
    assert [member["job"] for member in client.data_set(pets)["members"]] == [first]
