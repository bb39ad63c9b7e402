"""Items of several jobs under one name: counted, split and exported as one."""

import json
import zipfile

import pytest

from tests.service.api.test_jobs import finished, submit

pytestmark = pytest.mark.slow


@pytest.fixture
def two_jobs(http, jpeg):
    """Two jobs that both have a photo `a.jpg`."""
    cats = submit(http, [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2))], tags="cat")["id"]
    dogs = submit(http, [("a.jpg", jpeg(3)), ("c.jpg", jpeg(4)), ("d.jpg", jpeg(5))], tags="dog")["id"]
    return [finished(http, job)["id"] for job in (cats, dogs)]


def test_a_data_set_is_counted_and_exported_as_one(client, two_jobs, tmp_path):
    others = [name for name in client.data_sets() if name != "pets"]  # of other tests
    kept = client.keep_data_set("pets", two_jobs)
    assert (kept["photos"], [member["photos"] for member in kept["members"]]) == (5, [2, 3])
    assert client.data_sets() == sorted([*others, "pets"])
    seen = []
    path = client.export_data_set("pets", ["voc", "coco"], tmp_path / "out.zip", progress=seen.append)
    with zipfile.ZipFile(path) as archive:
        statistics = json.loads(archive.read("voc/statistics.json"))
        lines = archive.read("voc/photos.csv").decode().splitlines()[1:]
        sheet = archive.read("coco/README.md").decode()
    assert statistics["photos"] == 5
    assert {entry["name"]: entry["tagged"] for entry in statistics["classes"]} == {"cat": 2, "dog": 3}
    assert [line.partition(",")[0] for line in lines] == ["a.jpg", "b.jpg", "a_2.jpg", "c.jpg", "d.jpg"]
    assert "Data set `pets`, of 2 jobs." in sheet
    assert all(job in sheet for job in two_jobs)
    assert (seen[-1]["data_set"], seen[-1]["job"], seen[-1]["items"], seen[-1]["total"]) == ("pets", two_jobs[0], 5, 5)
    client.delete_data_set("pets")
    assert client.data_sets() == others


def test_chosen_items_and_verdicts_limit_it(http, client, two_jobs, tmp_path):
    cats, dogs = two_jobs
    client.decide(dogs, "000000", "reject")
    client.decide(dogs, "000001", "accept")
    for decisions, photos in (("all", 3), ("accepted", 1), ("not_rejected", 2)):
        kept = client.keep_data_set("some", [{"job": dogs, "decisions": decisions}])
        assert kept["photos"] == photos
        with zipfile.ZipFile(client.export_data_set("some", "voc", tmp_path / "out.zip")) as archive:
            assert json.loads(archive.read("statistics.json"))["photos"] == photos
    chosen = [
        {"job": cats, "items": ["000001"]},
        {"job": dogs, "items": ["000000", "000002"], "decisions": "not_rejected"},
    ]
    assert client.keep_data_set("some", chosen)["photos"] == 2
    with zipfile.ZipFile(
        client.export_data_set("some", "voc", tmp_path / "out.zip", options={"split": "50/50"})
    ) as zipped:
        assert json.loads(zipped.read("statistics.json"))["parts"] == {"train": 2}  # two classes of a photo each
    refused = http.post("/v1/data_sets/some/exports", json={"format": "voc", "decisions": "accepted"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_option")


def test_what_a_job_gains_or_loses_makes_another_export(http, client, two_jobs):
    client.keep_data_set("pets", two_jobs)
    first, again = (http.post("/v1/data_sets/pets/exports", json={"format": "voc"}).json()["id"] for _ in range(2))
    client.decide(two_jobs[1], "000000", "accept")
    assert first == again != http.post("/v1/data_sets/pets/exports", json={"format": "voc"}).json()["id"]


def test_a_job_that_is_gone_is_shown_and_refused(http, client, two_jobs):
    client.keep_data_set("pets", two_jobs)
    client.delete(two_jobs[1])
    assert [member["photos"] for member in client.data_set("pets")["members"]] == [2, None]
    refused = http.post("/v1/data_sets/pets/exports", json={"format": "voc"})
    assert (refused.status_code, refused.json()["code"]) == (404, "job_not_found")
    assert two_jobs[1] in refused.json()["detail"]
    body = {"members": [{"job": two_jobs[1]}]}
    assert http.put("/v1/data_sets/more", json=body).json()["code"] == "job_not_found"


def test_a_data_set_that_is_not_there_is_named(http):
    for method, path in (("get", ""), ("delete", ""), ("post", "/exports")):
        body = {"json": {"format": "voc"}} if method == "post" else {}
        assert http.request(method, f"/v1/data_sets/none{path}", **body).json()["code"] == "data_set_not_found"
