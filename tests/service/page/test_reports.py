"""What deserves a look, in the page: found, mended with a click, and counted."""

import pytest
from playwright.sync_api import Route, expect

from tests.service.page.chromium import PHONE, until_in

pytestmark = pytest.mark.slow

TAGS = ("cat", "dog", "cat,person", "horse")


@pytest.fixture
def job(submit, finished, jpeg) -> str:
    """Four photos; the last is the first again, with another tag."""
    photos = {f"{name}.jpg": jpeg(seed, (160, 120)) for name, seed in zip("abcd", (1, 2, 3, 1), strict=True)}
    made = submit(photos, tags=[*TAGS])
    finished(made)
    return made


def test_trouble_is_found_and_mended_with_a_click(open_page, http, job):
    page = open_page(f"#/jobs/{job}")
    page.get_by_role("link", name="Tags and statistics").click()
    doctor = page.get_by_role("region", name="Tag doctor")
    doctor.get_by_role("button", name="Look for trouble").click()
    alike = doctor.get_by_role("listitem").filter(has_text="2 photos look alike")
    expect(doctor.get_by_role("heading", name="Words whose tags were not checked")).to_be_visible()
    expect(alike.get_by_role("img")).to_have_count(0)  # pictures that say nothing which their captions do not
    expect(alike.locator("img")).to_have_count(2)
    alike.get_by_role("button", name="Tag 'd.jpg' with 'cat' too").click()
    expect(alike.get_by_role("button", name="Tag 'd.jpg' with 'cat' too")).to_have_count(0)
    assert http.get(f"/v1/jobs/{job}/items/000003").json()["tags"] == ["horse", "cat"]
    alike.get_by_role("button", name="Tag 'a.jpg' with 'horse' too").click()
    alike.get_by_role("button", name="Reject 'd.jpg': 'a.jpg' stays").click()
    expect(alike.get_by_text("Settled")).to_be_visible()
    assert http.get(f"/v1/jobs/{job}/items/000003").json()["decision"] == "reject"
    alike.get_by_role("link", name="Open a.jpg").click()
    expect(page.get_by_role("heading", name="a.jpg")).to_be_visible()


def test_one_photo_is_mended_once_at_a_time(open_page, http, submit, finished, jpeg):
    job = submit({f"{n}.jpg": jpeg(seed, (96, 72)) for n, seed in zip("abcd", (1, 2, 3, 1), strict=True)}, tags=[*TAGS])
    finished(job)
    page = open_page(f"#/jobs/{job}/reports")
    doctor = page.get_by_role("region", name="Tag doctor")
    doctor.get_by_role("button", name="Look for trouble").click()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/tags", hold)
    doctor.get_by_role("button", name="Tag 'd.jpg' with 'cat' too").click()
    small = doctor.get_by_role("listitem").filter(has_text="is small")
    rejected = small.get_by_role("button", name="Reject 'd.jpg'", exact=True)
    expect(rejected).to_be_disabled()
    expect(small.get_by_role("button", name="Reject 'b.jpg'", exact=True)).to_be_enabled()
    until_in(page, lambda: held)
    held[0].continue_()
    expect(rejected).to_be_enabled()
    assert http.get(f"/v1/jobs/{job}/items/000003").json()["tags"] == ["horse", "cat"]  # it is done by then


def test_a_change_of_somebody_else_is_told_and_kept(open_page, client, finished, job):
    page = open_page(f"#/jobs/{job}/reports")
    doctor = page.get_by_role("region", name="Tag doctor")
    doctor.get_by_role("button", name="Look for trouble").click()
    button = doctor.get_by_role("button", name="Tag 'd.jpg' with 'cat' too")
    expect(button).to_be_visible()
    finished(client.change_tags(job, "000003", ["person"])["id"])
    button.click()
    expect(page.locator(".notices")).to_contain_text("is at revision 1 by now")
    expect(doctor.get_by_role("figure", name="d.jpg person")).to_be_visible()  # what it is now
    assert client.item(job, "000003")["tags"] == ["person"]


def test_masks_are_counted(open_page, client, job):
    page = open_page(f"#/jobs/{job}/reports", **PHONE)
    statistics = page.get_by_role("region", name="Statistics")
    statistics.get_by_role("button", name="Count").click()
    row = statistics.get_by_role("row", name="cat")
    expect(row).to_be_visible()
    found = client.statistics(client.report(job, "statistics"))
    (cat,) = [entry for entry in found["classes"] if entry["name"] == "cat"]
    cells = row.get_by_role("cell").all_inner_texts()
    assert cells[:2] == [str(cat["tagged"]), str(cat["photos"])]
    assert "50 to 100 %" in (row.get_by_role("img").get_attribute("aria-label") or "")
    page.reload()
    expect(row).to_be_visible()  # what was counted is there again, without a click


def test_a_random_sample_is_drawn_checked_and_says_how_good_the_labels_are(open_page, client, job):
    page = open_page(f"#/jobs/{job}/reports")
    audit = page.get_by_role("region", name="Audit")
    audit.get_by_label("Photos").fill("2")
    audit.get_by_role("button", name="Draw a sample").click()
    expect(audit.get_by_text("0 of 2 photos checked")).to_be_visible()
    expect(audit.get_by_role("table")).to_have_count(0)  # nothing is known before a person looked
    audit.get_by_role("listitem").first.get_by_role("link").click()
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):  # it is shown before it is stored
        page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("button", name="Accept")).to_have_attribute("aria-pressed", "true")
    page.goto(f"{page.url.partition('#')[0]}#/jobs/{job}/reports")
    expect(audit.get_by_text("1 of 2 photos checked. Until all are")).to_be_visible()
    (listed,) = client.audits(job)
    found = client.audit(job, listed["id"])["estimate"]
    row = audit.get_by_role("row", name="All classes, mean")
    assert row.get_by_role("cell").all_inner_texts()[1] == f"{found['miou']['estimate']:.2f}"
