"""`toco jobs doctor` and `statistics`, and those of data sets, against a real service."""

import json
import re
import shlex

import pytest


@pytest.fixture
def job(toco, live, photos) -> str:
    """Three photos and a copy, whose tags differ."""
    (photos / "broken.jpg").unlink()
    (photos / "copy.jpg").write_bytes((photos / "a.jpg").read_bytes())
    (photos / "tags.csv").write_text("image,tags\na.jpg,cat\nb.png,dog;unicorn\nfarm/c.jpg,horse\ncopy.jpg,dog\n")
    sent = toco("jobs", "submit", photos, "--preset", "fast", "--unknown-tags", "open", "--url", live.url)
    return sent.stdout.split()[0]


def test_the_doctor_says_the_command_that_mends_it(toco, live, job):
    told = toco("jobs", "doctor", job, "--url", live.url)
    assert told.exit_code == 0, told.output
    assert "2 photos look alike, and their tags differ. (a.jpg, copy.jpg)" in told.stdout
    assert "'unicorn' is on 1 photo;" in told.stdout
    assert "4 photos looked at, 0 unreadable;" in told.stdout
    (command,) = re.findall(r"toco (jobs revise .* --tags cat,dog)", told.stdout)
    assert toco(*shlex.split(command), "--url", live.url).exit_code == 0
    found = json.loads(toco("jobs", "doctor", job, "--json", "--url", live.url).stdout)["findings"]
    (alike,) = [finding for finding in found if finding["kind"] == "looks_alike"]
    assert [photo["tags"] for photo in alike["photos"]] == [["cat", "dog"], ["dog"]]


def test_a_verdict_is_given_and_taken_back(toco, live, job):
    for word, decision in (("reject", "reject"), ("undo", None)):
        assert toco("jobs", "decide", job, "000000", word, "--url", live.url).exit_code == 0
        with live.client() as client:
            assert client.item(job, "000000")["decision"] == decision


def test_statistics_of_a_job_and_of_a_data_set(toco, live, job):
    shown = toco("jobs", "statistics", job, "--url", live.url)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("4 photos; ")
    assert "horse" in shown.stdout
    assert toco("datasets", "keep", "cli-pets", job, job, "--url", live.url).exit_code == 0
    counted = json.loads(toco("datasets", "statistics", "cli-pets", "--json", "--url", live.url).stdout)
    assert counted["photos"] == 8
    doubled = toco("datasets", "doctor", "cli-pets", "--url", live.url)
    assert "8 photos looked at" in doubled.stdout
