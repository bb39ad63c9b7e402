"""Reports over the API: what may be wrong with tags, what would mend it, and what there is of each class."""

import asyncio
import json
import zipfile

import pytest

from tests.service.api.test_jobs import finished, submit
from toco.service.client.async_client import AsyncClient
from toco.service.client.client import ServiceError

pytestmark = pytest.mark.slow


@pytest.fixture
def job(http, jpeg) -> str:
    """Five small photos; the first and the last look alike, and their tags differ."""
    photos = [(f"{name}.jpg", jpeg(seed, (128, 112))) for name, seed in zip("abcde", (1, 2, 3, 4, 1), strict=True)]
    tags = ["cat", "cat,person", "horse,unicorn", "dog", "dog"]
    return finished(http, submit(http, photos, tags=tags)["id"])["id"]


def kinds(findings: list[dict]) -> set[str]:
    return {finding["kind"] for finding in findings}


def test_the_doctor_finds_what_deserves_a_look_and_changes_nothing(http, client, job):
    before = http.get(f"/v1/jobs/{job}/items").json()
    seen = []
    report = client.report(job, "doctor", progress=seen.append)
    assert (report["photos"], report["total"], report["unreadable"], report["state"]) == (5, 5, 0, "done")
    assert seen[-1] == report
    found = list(client.findings(report))
    assert {"looks_alike", "too_few"} <= kinds(found)
    assert {finding["tag"] for finding in found if finding["kind"] == "too_few"} == {
        "cat", "dog", "horse", "person", "unicorn",
    }  # fmt: skip
    unchecked = {finding["tag"]: finding["detail"] for finding in found if finding["kind"] == "not_checked"}
    assert unchecked["unicorn"] == "'unicorn' is not checked: 10 photos have to have it, and 1 do."
    assert all(0 <= finding["score"] <= 1 for finding in found)
    assert http.get(f"/v1/jobs/{job}/items").json() == before


def test_a_finding_has_its_photos_with_a_picture_and_a_cure_that_mends_it(http, client, job):
    report = client.report(job, "doctor")
    (alike,) = client.findings(report, kind="looks_alike")
    assert [(photo["name"], photo["tags"]) for photo in alike["photos"]] == [("a.jpg", ["cat"]), ("e.jpg", ["dog"])]
    picture = http.get(alike["photos"][0]["preview_url"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert [cure["says"] for cure in alike["cures"]] == ["Tag 'a.jpg' with 'dog' too.", "Tag 'e.jpg' with 'cat' too."]
    for cure in alike["cures"]:
        finished(http, client.cure(cure)["id"])
    assert http.get(f"/v1/jobs/{job}/items/000000").json()["tags"] == ["cat", "dog"]

    (agreeing,) = client.findings(report, kind="looks_alike")
    (reject,) = agreeing["cures"]
    assert reject["says"] == "Reject 'e.jpg': 'a.jpg' stays."
    client.cure(reject)
    assert http.get(f"/v1/jobs/{job}/items/000004").json()["decision"] == "reject"
    (settled,) = client.findings(report, kind="looks_alike")
    assert (settled["settled"], settled["cures"]) == (True, [])


def test_a_cure_never_undoes_what_somebody_else_changed_meanwhile(http, client, job):
    (alike,) = client.findings(client.report(job, "doctor"), kind="looks_alike")
    finished(http, client.change_tags(job, "000000", ["person"])["id"])
    with pytest.raises(ServiceError) as refused:
        client.cure(alike["cures"][0])
    assert refused.value.status == 412


def test_statistics_are_those_of_an_export(client, job, tmp_path):
    found = client.statistics(client.report(job, "statistics"))
    with zipfile.ZipFile(client.export(job, "voc", tmp_path / "out.zip")) as archive:
        exported = json.loads(archive.read("statistics.json"))
    assert found == exported
    assert (found["photos"], {row["name"]: row["tagged"] for row in found["classes"]}) == (
        5, {"cat": 2, "dog": 2, "horse": 1, "person": 1}
    )  # fmt: skip


def test_verdicts_limit_a_report(client, job):
    client.decide(job, "000003", "reject")
    client.decide(job, "000000", "accept")
    for decisions, photos in (("accepted", 1), ("not_rejected", 4)):
        report = client.report(job, "statistics", decisions=decisions)
        assert client.statistics(report)["photos"] == photos


def test_the_same_request_of_an_unchanged_job_is_the_same_report(client, job):
    first, again = (client.report(job, "doctor")["id"] for _ in range(2))
    client.decide(job, "000000", "accept")
    assert first == again != client.report(job, "doctor")["id"]
    assert [report["kind"] for report in client.reports(job)] == ["doctor", "doctor"]


def test_a_data_set_is_looked_at_as_one(http, client, job, jpeg):
    other = finished(http, submit(http, [("a.jpg", jpeg(1, (128, 112)))], tags="horse")["id"])["id"]
    client.keep_data_set("zoo", [job, {"job": other}])
    report = client.report_data_set("zoo", "doctor")
    assert (report["job"], report["data_set"], report["photos"]) == (job, "zoo", 6)
    (alike,) = client.findings(report, kind="looks_alike")
    assert [(photo["job"], photo["name"]) for photo in alike["photos"]] == [
        (job, "a.jpg"), (job, "e.jpg"), (other, "a.jpg"),
    ]  # fmt: skip
    assert client.statistics(client.report_data_set("zoo", "statistics"))["photos"] == 6
    client.delete(other)
    (left,) = client.findings(report, kind="looks_alike")
    assert [photo["job"] for photo in left["photos"]] == [job, job], "what is gone is not shown"


def test_findings_come_a_page_at_a_time(http, client, job):
    report = client.report(job, "doctor")
    place = f"/v1/jobs/{job}/reports/{report['id']}/findings"
    whole = http.get(place).json()
    assert sum(whole["counts"].values()) == len(whole["findings"]) > 2
    pages, start = [], 0
    while start is not None:
        page = http.get(place, params={"limit": 2, "start": start}).json()
        pages += page["findings"]
        start = page["next"]
    assert pages == whole["findings"]


def test_a_report_of_the_other_kind_or_of_nothing_is_told(http, client, job):
    report = client.report(job, "statistics")
    refused = http.get(f"/v1/jobs/{job}/reports/{report['id']}/findings")
    assert (refused.status_code, refused.json()["code"]) == (409, "report_not_ready")
    missing = http.get(f"/v1/jobs/{job}/reports/{'0' * 26}")
    assert (missing.status_code, missing.json()["code"]) == (404, "report_not_found")
    assert http.post(f"/v1/jobs/{job}/reports", json={"kind": "weather"}).status_code == 422


def test_a_deleted_job_leaves_no_report(live, client, job):
    report = client.report(job, "doctor")
    client.delete(job)
    redis = live.records().redis
    assert not redis.exists(f"toco:report:{report['id']}", f"toco:job:{job}:reports")
    assert redis.zscore("toco:reports:active", report["id"]) is None


def test_the_asynchronous_client_reads_a_report_too(live, job):
    async def ask() -> list[dict]:
        async with AsyncClient(live.url) as client:
            return await client.findings(await client.report(job, "doctor"), kind="looks_alike")

    assert len(asyncio.run(ask())) == 1
