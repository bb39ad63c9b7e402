"""Smart strokes over REST: what a click takes, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.model.method.test_smart_strokes import overlap, scene
from toco.jobs.settings import load_settings
from toco.jobs.store import Store, artifact_key
from toco.model.formats.artifacts import TOKENS, encode_tokens
from toco.model.method.reduced_tokens import reduce_tokens

CAT = 8


def noisy_photo(scale: int) -> tuple[bytes, np.ndarray]:
    image, kinds = scene(scale)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92)
    return file.getvalue(), kinds


@pytest.fixture
def labelled(http, live):
    """Label a photo of a cat, a dog and grass, with tokens that tell them apart; return its address and kinds."""
    store = Store.open(load_settings(redis_url=live.valkey.url, data_dir=live.folder, _env_file=None))

    def make(scale: int = 1) -> tuple[str, np.ndarray]:
        photo, kinds = noisy_photo(scale)
        answer = http.post("/v1/label", files={"image": ("a.jpg", photo)}, data={"tags": "cat,dog", "preset": "fast"})
        item = answer.json()["item"]
        middle = kinds[4 * scale :: 8 * scale, 4 * scale :: 8 * scale]
        tokens = np.random.default_rng(1).normal(size=(3, 64))[middle]
        store.put(artifact_key(item["job"], item["id"], TOKENS), encode_tokens(reduce_tokens(tokens)))
        return f"/v1/jobs/{item['job']}/items/{item['id']}", kinds

    return make


def region_mask(region: dict, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of a region of an answer."""
    height, width = region["size"]
    mask = np.zeros(shape, bool)
    runs = region["counts"]
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[region["y"] : region["y"] + height, region["x"] : region["x"] + width] = inside.reshape(width, height).T
    return mask


def click(x: float, y: float, value: int = CAT) -> dict:
    return {"strokes": [{"value": value, "width": 3, "points": [[x, y]]}]}


def test_a_click_takes_what_it_hits(http, labelled):
    address, kinds = labelled()
    answer = http.post(f"{address}/strokes", json=click(30, 45))
    assert answer.status_code == 200, answer.text
    (region,) = answer.json()["regions"]
    first_cat = np.zeros_like(kinds, bool)
    first_cat[20:70, 10:50] = True
    assert region["value"] == CAT
    assert overlap(region_mask(region, kinds.shape), first_cat) > 0.9
    both = http.post(f"{address}/strokes", json=click(30, 45) | {"touching": False}).json()["regions"][0]
    assert overlap(region_mask(both, kinds.shape), kinds == 1) > 0.8


def test_no_strokes_make_the_photo_ready(http, labelled):
    address, _ = labelled()
    assert http.post(f"{address}/strokes", json={}).json() == {"regions": []}


def test_a_stroke_on_12_megapixels_takes_pixels_of_the_whole_photo(http, labelled):
    address, kinds = labelled(scale=31)  # 3968 x 2976 pixels
    answer = http.post(f"{address}/strokes", json=click(40 * 31, 45 * 31))
    assert region_mask(answer.json()["regions"][0], kinds.shape)[45 * 31, 40 * 31]


def test_what_does_not_fit_is_refused(http, labelled):
    address, _ = labelled()
    for body, said in (
        (click(1, 1, value=256), "strokes"),
        (click(1e9, 1), "points"),
        ({"strokes": [{"value": 1, "points": []}]}, "points"),
        ({"strokes": [{"value": 1, "points": [[0, 0]] * 15_000}] * 2}, "20000 points"),
        (click(1, 1) | {"reach": 2}, "reach"),
    ):
        answer = http.post(f"{address}/strokes", json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


def test_a_label_without_tokens_says_so(http, jpeg):
    made = http.post("/v1/label", files={"image": jpeg(7)}, data={"tags": "cat", "outputs": "pseudo_mask"}).json()
    answer = http.post(f"/v1/jobs/{made['job']['id']}/items/000000/strokes", json=click(1, 1))
    assert (answer.status_code, answer.json()["code"]) == (409, "no_tokens")
