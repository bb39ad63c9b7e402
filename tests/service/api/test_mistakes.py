"""What a user gets wrong is told as a problem of 4xx, never as a fault of ours."""

import pytest

LONG = "9" * 5000


def told(answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert len(answer.text) < 2500, "what the user sent is shown cut"
    return answer.status_code, answer.json()["code"]


def json_job(client, options: str, key: str = '"inputs/a.jpg"'):
    body = f'{{"items": [{{"key": {key}}}], "options": {options}}}'
    return client.post("/v1/jobs", content=body.encode(), headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    "options",
    [
        '{"preset": "fast"}',
        '{"self": 1}',
        '{"name": 1}',
        f'{{"long_side": {LONG}}}',
        f'{{"crf": {{"iterations": {LONG}}}}}',
        f'{{"cam": {{"scales": [{LONG}]}}}}',
        '{"cam": {"scales": [1e-300]}}',
        '{"crf": {"bilateral_srgb": 1e-40}}',
        '{"crf": {"gaussian_sxy": 1e-310}}',
        '{"crf": {"bilateral_weight": 1e300}}',
        '{"cam": {"affinity": {"power": NaN}}}',
        '{"thresholds": {"high": Infinity}}',
        f'{{"{"x" * 100_000}": 1}}',
        f'{{"refine": "{"x" * 100_000}"}}',
        '{"segmentation": 5}',
        '{"refine": "\\ud800"}',
        "[" * 2000,
    ],
)
def test_options_that_do_not_fit(alone, jpeg, options):
    assert told(json_job(alone, options)) in ((422, "invalid_option"), (422, "invalid_request"))
    answer = alone.post("/v1/label", files={"image": jpeg()}, data={"tags": "cat", "options": options})
    assert told(answer) == (422, "invalid_option")
    answer = alone.post("/v1/jobs", files={"images": jpeg()}, data={"tags": "cat", "options": options})
    assert told(answer) == (422, "invalid_option")


@pytest.mark.parametrize("key", ["inputs/a\\u0000b", "inputs//a", "inputs/./a", "inputs/", "\\ud800"])
def test_keys_that_no_object_can_have(alone, key):
    assert told(json_job(alone, "{}", f'"{key}"')) in ((422, "invalid_object_key"), (422, "invalid_request"))


def test_keys_outside_the_inputs(alone):
    for key in ("/etc/passwd", "jobs/x/images/000000", "inputs/../a"):
        assert told(json_job(alone, "{}", f'"{key}"')) == (403, "key_not_allowed")


def test_a_key_that_is_long_or_of_another_script_is_a_photo_that_is_not_there(alone):
    for key in ("inputs/" + "a" * 900, "inputs/größe 1\\u00a0.jpg"):
        answer = json_job(alone, "{}", f'"{key}"')
        assert answer.status_code == 202, answer.text
        (item,) = alone.get(answer.json()["links"]["items"]).json()["items"]
        assert item["error"]["code"] == "object_not_found"


@pytest.mark.parametrize(
    ("sent", "status", "length"),
    [
        (f"bytes={LONG}-", 416, 0),
        (f"bytes=0-{LONG}", 200, None),
        (f"bytes=-{LONG}", 200, None),
        (f"bytes=2-{'0' * 5000}5", 206, 4),
        ("bytes=-0", 416, 0),
        ("bytes=5-2", 416, 0),
        ("bytes=a-b", 200, None),
    ],
)
def test_ranges_of_however_many_digits(alone, jpeg, sent, status, length):
    photo = jpeg()
    job = alone.post("/v1/jobs", files={"images": photo}, data={"tags": "cat"}).json()["id"]
    answer = alone.get(f"/v1/jobs/{job}/items/000000/image", headers={"range": sent})
    assert (answer.status_code, len(answer.content)) == (status, len(photo) if length is None else length)


@pytest.mark.parametrize("host", ["[", "[::1", "a[b", "]", ""])
def test_a_host_that_is_none(alone, host):
    assert told(alone.get("/v1/jobs", headers={"host": host})) == (403, "foreign_origin")


def test_an_origin_that_is_none(alone):
    assert told(alone.get("/v1/jobs", headers={"origin": "http://["})) == (403, "foreign_origin")


@pytest.mark.parametrize(
    ("content", "status"), [(b"\xff\xfe{", 400), (b"{", 422), (b"[" * 100_000, 422), (b'"\\ud800"', 422), (b"", 422)]
)
@pytest.mark.parametrize("path", ["/cvat/nuclio", "/v1/jobs", "/labelstudio/setup"])
def test_bodies_that_are_no_json(alone, path, content, status):
    answer = alone.post(path, content=content, headers={"content-type": "application/json"})
    assert told(answer)[0] in (status, 422, 400)
    assert answer.status_code < 500


@pytest.mark.parametrize(
    "query", ["min_score=nan", "max_doubt=inf", f"limit={LONG}", "state=none", "min_area_ratio=-0.1"]
)
def test_queries_that_do_not_fit(alone, jpeg, query):
    job = alone.post("/v1/jobs", files={"images": jpeg()}, data={"tags": "cat"}).json()["id"]
    assert told(alone.get(f"/v1/jobs/{job}/items?{query}")) == (422, "invalid_request")


def test_numbers_in_headers_and_forms(alone, jpeg):
    assert told(alone.post("/v1/uploads", headers={"upload-length": LONG})) == (422, "invalid_request")
    form = {"files": {"image": jpeg()}, "data": {"tags": "cat", "wait_seconds": "nan"}}
    assert told(alone.post("/v1/label", **form)) == (422, "invalid_request")
    assert told(alone.delete("/v1/jobs?older_than_days=nan")) == (422, "invalid_request")


@pytest.mark.parametrize("formats", [[{}], [[]], [1], "voc", {"a": 1}, [None], [""]])
def test_formats_that_are_no_names(alone, jpeg, formats):
    job = alone.post("/v1/jobs", files={"images": jpeg()}, data={"tags": "cat"}).json()["id"]
    code, _ = told(alone.post(f"/v1/jobs/{job}/exports", json={"formats": formats}))
    assert code in (415, 422)
