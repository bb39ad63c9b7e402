"""A key that expires, a connection that is lost: the work goes on where it was."""

import pytest
from playwright.sync_api import expect

from tests.service.live import until
from tests.service.page.chromium import until_in
from tests.service.page.conftest import is_up
from toco.jobs.api_keys import ApiKeys

pytestmark = pytest.mark.slow

DAY_SECONDS = 86_400


def test_an_expired_key_is_asked_for_and_nothing_is_lost(open_page, second_api, live, jpeg):
    records = live.records()
    keys = ApiKeys(records)
    key, token = keys.create("first", frozenset({"label", "read"}), days=1)
    _, url = second_api(TOCO_AUTH="true")
    page = open_page(url=url)
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_contain_text("This service asks for an API key.")
    dialog.get_by_label("API key").fill("toco_wrong_key")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_contain_text("not valid")
    dialog.get_by_label("API key").fill(token)
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("4 classes")).to_be_visible()

    page.set_input_files("input[type=file]", [{"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": jpeg()}])
    field = page.get_by_role("combobox", name="Tags of cat.jpg", exact=True)
    field.press_sequentially("cat,")
    records.redis.hset(f"toco:key:{key.id}", "expires_at", key.created_at - 1)  # time flies
    page.get_by_role("button", name="Label 1 photo").click()
    expect(dialog).to_contain_text("expired")
    _, renewed = keys.create("second", frozenset({"label", "read"}))
    dialog.get_by_label("API key").fill(renewed)
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible()
    expect(page.locator("article img")).to_be_visible()  # pictures are fetched with the key too

    stored = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
    assert renewed not in page.evaluate(stored)
    page.reload()
    dialog.get_by_label("API key").fill(renewed)
    dialog.get_by_label("Keep it until this tab is closed").check()
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator("article img")).to_be_visible()
    page.reload()
    expect(page.locator("article img")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    page.get_by_role("button", name="Forget the API key").click()
    assert renewed not in page.evaluate(stored)
    records.redis.close()


def test_a_lost_connection_comes_back_by_itself(open_page, second_api, submit, jpeg):
    api, url = second_api()
    job = submit({f"{n}.jpg": jpeg(n % 20) for n in range(120)})
    page = open_page(f"#/jobs/{job}", url=url)
    expect(page.locator("[data-figure=ended]")).to_be_visible()
    api.stop()
    if page.locator("dl").get_by_text("Done", exact=True).is_visible():
        page.get_by_role("combobox", name="Sort").select_option(
            "Most doubtful first"
        )  # it was quick: ask for something
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    api.start()
    until(lambda: is_up(url), 120)
    expect(page.get_by_text("The service does not answer.")).to_be_hidden()
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible()
    expect(page.locator("[data-figure=ended]")).to_have_text("120 of 120")
    expect(page.locator("article img").first).to_be_visible()


def test_a_large_upload_goes_on_where_the_connection_broke(open_page, second_api, http, jpeg, tmp_path):
    api, url = second_api()
    photos = [tmp_path / f"{n}.jpg" for n in range(4)]
    for number, photo in enumerate(photos):
        photo.write_bytes(jpeg(number) + bytes(40 * 2**20))  # what follows the end of a JPEG is not looked at
    page = open_page(url=url)
    expect(page.get_by_text("4 classes")).to_be_visible()
    page.set_input_files("input[type=file]", photos)
    page.get_by_role("combobox", name="Tags for all photos").press_sequentially("cat,")
    offsets: list[int] = []
    page.on("request", lambda request: offsets.append(int(request.headers.get("upload-offset", -1))))
    page.get_by_role("button", name="Label 4 photos").click()
    until_in(page, lambda: len([offset for offset in offsets if offset >= 0]) > 3, 120)
    api.stop()
    expect(page.get_by_text("The service does not answer.")).to_be_visible()
    api.start()
    until(lambda: is_up(url), 120)
    expect(page.locator("dl").get_by_text("Done", exact=True)).to_be_visible()
    sent = sorted(offset for offset in offsets if offset >= 0)
    assert len(sent) < 1.5 * len(set(sent))  # hardly any piece went twice
    job = page.url.partition("/jobs/")[2]
    items = http.get(f"/v1/jobs/{job}/items").json()["items"]
    assert [(item["name"], item["tags"]) for item in items] == [(photo.name, ["cat"]) for photo in photos]
