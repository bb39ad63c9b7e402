"""Thousands of items: scrolled, sorted, filtered, judged by keyboard."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.service.live import until
from tests.service.page.chromium import until_in
from toco.jobs.job import JobOptions, NewItem, Summary
from toco.jobs.settings import load_settings
from toco.jobs.store import Store, image_key
from toco.model.options import preset_options

pytestmark = pytest.mark.slow

ITEMS = 2000
# Of the page's main thread, in processor time: what else the machine does must not count.
LONGEST_TASK_MS = 120
MOST_LONG_TASKS = 5  # of more than 50 ms, in 60 screens


@pytest.fixture(scope="module")
def many(live) -> str:
    """A job of 2,000 labelled items; only the worker's labelling is left out."""
    records = live.records()
    store = Store.open(load_settings(data_dir=live.folder, _env_file=None))
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(16):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((640, 480)).save(file, "JPEG")
        pictures.append(file.getvalue())
    job = records.begin_job()
    for number, picture in enumerate(pictures):
        store.put(image_key(job, f"{number:06}"), picture)
    items = [
        NewItem(f"photo_{n:04}.jpg", image_key(job, f"{n % 16:06}"), size=999, width=640, height=480, tags=("cat",))
        for n in range(ITEMS)
    ]
    options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
    records.create_job(job, items, options, name="Many")
    for number in range(ITEMS):
        lease = records.lease(job, f"{number:06}", owner="test", seconds=600, max_attempts=3)
        if isinstance(lease, str):
            continue  # the sweep was faster: the worker labels it
        share = number / ITEMS
        records.complete(
            lease,
            Summary(
                tags=("dog",) if number % 4 == 0 else ("cat",),
                tag_source="user",
                ignore_ratio=share,
                area_ratio=1 - share,
                score=share,
                doubt=(number * 7919 % ITEMS) / ITEMS,
                width=640,
                height=480,
            ),
        )
    records.redis.close()
    return job


def names(page: Page) -> list[str]:
    return page.locator("article .name").all_inner_texts()


def main_thread_tasks(trace: bytes) -> list[float]:
    """Return the processor time in ms of each task of the page's main thread."""
    events = json.loads(trace)["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask") and "tdur" in event and (event["pid"], event["tid"]) in threads
    ]


def test_two_thousand_items_scroll_smoothly(open_page, browser, many, record_property):
    page = open_page(f"#/jobs/{many}?order=doubt")
    expect(page.get_by_text("2,000 items")).to_be_visible()
    expect(page.locator("article img").first).to_be_visible()
    page.mouse.move(600, 600)
    browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
    for _ in range(60):
        page.mouse.wheel(0, 1000)
        page.wait_for_timeout(30)
    tasks = main_thread_tasks(browser.stop_tracing())
    assert page.locator("article").count() < 100  # only what is near the window is there
    page.keyboard.press("End")
    expect(page.locator("article", has_text="doubt 0.00").first).to_be_visible()
    expect(page.locator("article img").last).to_be_visible()
    long = [round(task) for task in tasks if task > 50]
    record_property("long_tasks_ms", long)
    record_property("busy_ms", round(sum(tasks)))
    assert len(tasks) > 100
    assert max(tasks) < LONGEST_TASK_MS
    assert len(long) <= MOST_LONG_TASKS, long


def test_the_worst_labels_come_first(open_page, many, http):
    page = open_page(f"#/jobs/{many}")
    page.get_by_role("combobox", name="Sort").select_option("Most doubtful first")
    worst = http.get(f"/v1/jobs/{many}/items", params={"order": "doubt", "descending": True, "limit": 5}).json()[
        "items"
    ]
    expect(page.locator("article .name").first).to_have_text(worst[0]["name"])
    assert names(page)[:5] == [item["name"] for item in worst]


def test_filters_narrow_down(open_page, many):
    page = open_page(f"#/jobs/{many}")
    expect(page.get_by_text("2,000 items")).to_be_visible()
    page.get_by_role("combobox", name="Tag").select_option("dog")
    expect(page.get_by_text("500 items of 2000")).to_be_visible()
    page.get_by_label("Ignored, at least, in percent").fill("90")
    page.keyboard.press("Tab")
    expect(page.get_by_text("50 items of 2000")).to_be_visible()
    page.get_by_role("combobox", name="State").select_option("Failed")
    expect(page.get_by_text("Nothing fits")).to_be_visible()
    page.get_by_role("button", name="Clear 3 filters").click()
    expect(page.get_by_text("2,000 items")).to_be_visible()
    page.get_by_label("Labelled area, at most, in percent").fill("10")
    page.keyboard.press("Tab")
    expect(page.get_by_text("200 items of 2000")).to_be_visible()
    page.reload()  # the address holds the filters
    expect(page.get_by_text("200 items of 2000")).to_be_visible()


def test_the_first_click_on_a_card_opens_it(open_page, many):
    page = open_page(f"#/jobs/{many}?order=index")
    expect(page.locator("article img").first).to_be_visible()
    page.mouse.wheel(0, 5000)

    def places() -> list[float]:
        return page.evaluate(
            "[scrollY, ...[...document.querySelectorAll('article')].map((card) => card.getBoundingClientRect().top)]"
        )

    def has_settled() -> bool:
        before = places()
        page.wait_for_timeout(500)
        return before[0] > 1000 and places() == before

    until(has_settled)
    name = page.evaluate(
        "[...document.querySelectorAll('article')].filter((card) => card.getBoundingClientRect().top > 40)[0]"
        ".querySelector('.name').innerText"
    )
    box = page.locator("article", has_text=name).locator("a").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()  # as slow as a hand is: the page must not move meanwhile
    page.wait_for_timeout(300)
    page.mouse.up()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_the_last_verdict_on_a_photo_is_stored_last(open_page, many, http):
    page = open_page(f"#/jobs/{many}?order=score")
    first = page.locator("article").first
    expect(first).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.fallback()

    def let_go() -> None:
        until_in(page, lambda: held)
        page.wait_for_timeout(300)  # time enough for another to be sent beside it
        assert len(held) == 1
        held.pop().continue_()

    page.route("**/items/*", hold)
    first.locator("a").first.focus()
    for key in ("a", "ArrowLeft", "r", "ArrowLeft", "u"):
        page.keyboard.press(key)
        page.wait_for_timeout(100)
    for _ in range(3):
        let_go()
    item = http.get(f"/v1/jobs/{many}/items", params={"order": "score", "limit": 1}).json()["items"][0]
    until(lambda: http.get(f"/v1/jobs/{many}/items/{item['id']}").json()["decision"] is None)
    expect(page.locator("article.accept, article.reject")).to_have_count(0)


def test_a_verdict_outlives_an_answer_that_was_on_its_way_before_it(open_page, labelled, http):
    job = labelled(photos=3)
    page = open_page(f"#/jobs/{job}?order=index")
    page.get_by_role("checkbox", name="Pick 0.jpg").check(force=True)
    field = page.get_by_role("combobox", name="Tags for the picked photos")
    field.press_sequentially("horse,")
    held: list[Route] = []
    answers: list[APIResponse] = []

    def hold(route: Route) -> None:
        if held:
            route.fallback()
        else:
            held.append(route)  # before the answer comes: another question may be asked meanwhile
            answers.append(route.fetch())

    page.route("**/items?*", hold)
    page.get_by_label("Picked photos").get_by_role("button", name="Add").click()
    until_in(page, lambda: answers)  # the list as it was before the verdict
    page.get_by_role("button", name="Accept 2.jpg").click(force=True)
    until(lambda: http.get(f"/v1/jobs/{job}/items/000002").json()["decision"] == "accept")
    held[0].fulfill(response=answers[0])
    expect(page.locator("article", has_text="0.jpg")).to_contain_text("horse")
    expect(page.get_by_role("button", name="Accept 2.jpg")).to_have_attribute("aria-pressed", "true")


def test_labels_are_judged_by_keyboard(open_page, many, http):
    page = open_page(f"#/jobs/{many}?order=ignore_ratio")
    first = page.locator("article").first
    expect(first).to_be_visible()
    order = names(page)
    page.keyboard.press("a")  # accept, and go on
    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    expect(page.locator("article.accept")).to_have_count(2)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    expect(page.locator("article.accept")).to_have_count(1)

    def judged(decision: str) -> list[str]:
        return [
            item["name"] for item in http.get(f"/v1/jobs/{many}/items", params={"decision": decision}).json()["items"]
        ]

    # The page shows a decision before the server has it.
    until(lambda: (judged("accept"), judged("reject")) == ([order[0]], [order[1]]))

    page.keyboard.press("Enter")
    expect(page.get_by_text("4 of 2000").or_(page.get_by_text("4 of 2,000"))).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name=order[2])).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("article.selected .name")).to_have_text(order[2])
