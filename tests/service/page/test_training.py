"""A training in the page: from a job's photos to a model that is promoted."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.slow

WORDS = ("cat", "lamp")
PATIENCE_MS = 240_000


def photo(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((64, 48), Image.Resampling.NEAREST).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def trainer(live):
    live.trainer.start()
    yield
    live.trainer.stop()


def test_a_job_is_trained_on_followed_and_the_model_promoted(trainer, open_page, submit, finished, tmp_path: Path):
    job = submit({f"{n}.jpg": photo(n) for n in range(12)}, tags=[WORDS[n % 2] for n in range(12)], name="Lamps")
    finished(job)
    page = open_page(f"#/jobs/{job}")
    page.get_by_role("link", name="Train on it").click()
    expect(page.get_by_label("Photos and tags")).to_have_value(job)
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    page.get_by_label("Name of the model").fill("lamps")

    def shorter(route):  # what the page offers takes minutes
        asked = route.request.post_data_json
        assert (asked["name"], asked["job"], asked["preset"]) == ("lamps", job, "quick")
        route.continue_(post_data=json.dumps(asked | {"settings": {"steps": 12}}))

    page.route("**/v1/models", lambda route: shorter(route) if route.request.method == "POST" else route.continue_())
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="lamps")).to_be_visible()
    expect(page.get_by_role("img", name="Losses over 12 steps")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("Version 1, beside the model before")).to_be_visible(timeout=PATIENCE_MS)
    row = page.get_by_role("row", name="lamp")
    expect(row.get_by_role("cell").nth(1)).to_have_text("\u2013")  # the model before does not know it
    expect(page.get_by_role("img", name="the model after").first).to_be_visible()
    expect(page.get_by_role("img", name="the model before").first).to_be_visible()
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("In use")).to_be_visible()
    page.get_by_role("button", name="Throw away").click()
    expect(page.get_by_text("Thrown away", exact=True)).to_be_visible()
    page.get_by_role("link", name="All trainings").click()
    expect(page.get_by_role("link", name="lamps")).to_be_visible()


def test_files_of_ones_own_are_trained_on(trainer, open_page):
    page = open_page("#/trainings")
    page.get_by_label("Name of the model").fill("own")
    files = [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": photo(n)} for n in range(8)]
    page.get_by_label("Photos, or a zip").set_input_files(files)
    table = "".join(f"{n}.jpg,{WORDS[n % 2]}\n" for n in range(7)).encode()
    page.get_by_label("Table of tags").set_input_files(
        {"name": "tags.csv", "mimeType": "text/csv", "buffer": b"image,tags\n" + table}
    )
    page.get_by_label("Classes, between commas").fill("lamp, mug")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("No photo shows 'mug'")).to_be_visible()  # said before any work
    page.get_by_label("Classes, between commas").fill("lamp, cat")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="own")).to_be_visible()
    expect(page.get_by_text("1 photo was left out: no tags.").first).to_be_visible()
    expect(page.get_by_text("lamp, cat", exact=True)).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Delete the training").click()
    expect(page.get_by_text("The training is deleted.")).to_be_visible()
