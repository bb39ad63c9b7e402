"""The doctor looks a piece at a time, goes on after a death, and says the same as in one go."""

import shutil

import numpy as np
import pytest

from tests.tiny_model import write_learnt_model
from tests.workers.test_shard import Bench, photo
from toco.jobs.job import JobOptions, NewItem
from toco.jobs.reports import ReportRequest
from toco.jobs.settings import load_settings
from toco.model.options import preset_options
from toco.workers import doctor
from toco.workers.doctor import Examined, conclude
from toco.workers.process import WorkerProcess
from toco.workers.reports import make_report
from toco.workers.sweep import Sweep

FAST = preset_options("fast")


@pytest.fixture
def process(valkey, records, tiny_model, tmp_path):
    """What a worker's child holds, without its threads."""
    models = tmp_path / "models"
    shutil.copytree(tiny_model, models / "tiny")
    settings = load_settings(
        redis_url=valkey.url, data_dir=tmp_path, models_dir=models, default_model="tiny", device="cpu",
        runtime="torch", _env_file=None,
    )  # fmt: skip
    found = WorkerProcess(settings, ("batch",))
    yield found
    found.stop()


@pytest.fixture
def job(process, labeler) -> str:
    """Six labelled photos; the last is the first again."""
    bench = Bench(process.settings, process.records, labeler, [photo(n % 5) for n in range(6)])
    bench.run()
    process.records.redis.delete("batch")
    return bench.job.id


@pytest.fixture(scope="module")
def labeler(tiny_model):
    from toco.model.labelling.labeler import Labeler

    return Labeler.from_folder(tiny_model, device="cpu")


def made(process, report: str) -> int:
    """Take messages until the report is done; return how many there were."""
    record = process.reports.known(report)
    for count in range(1, 50):
        process.queue.begun("toco.examine_tags", [report])
        make_report(process, report)
        if process.reports.get(record.job, report).state in ("done", "failed"):
            return count
    raise AssertionError(process.reports.get(record.job, report))


def test_pieces_say_the_same_as_one_go(process, job, monkeypatch):
    whole, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    assert made(process, whole.id) == 2, "one piece, and the conclusion"
    process.records.decide(job, "000000", "accept")
    monkeypatch.setattr(doctor, "PIECE_SECONDS", 0.0)
    pieces, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    assert made(process, pieces.id) == 7, "a photo a piece, and the conclusion"
    assert process.reports.diagnosis(job, pieces.id) == process.reports.diagnosis(job, whole.id)
    kinds = [named.finding.kind for named in process.reports.diagnosis(job, whole.id).findings]
    assert {"looks_alike", "too_small", "too_few"} <= set(kinds)
    kept = sorted(found.key for found in process.store.under(f"jobs/{job}/reports/"))
    assert kept == sorted(f"jobs/{job}/reports/{report.id}.json" for report in (whole, pieces))


def test_after_a_death_the_sweep_goes_on_behind_the_last_piece(process, job, monkeypatch):
    monkeypatch.setattr(doctor, "PIECE_SECONDS", 0.0)
    report, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    make_report(process, report.id)
    make_report(process, report.id)
    redis = process.records.redis
    redis.delete("batch", "toco:waiting:toco.examine_tags:" + report.id)  # the message is lost
    redis.zadd("toco:reports:active", {report.id: 0})
    Sweep(
        process.settings, process.records, queue=process.queue, exports=process.exports, webhooks=process.webhooks
    ).run()
    assert redis.llen("batch") == 1
    assert made(process, report.id) == 5, "four photos that were left, and the conclusion"
    assert process.reports.get(job, report.id).photos == 6


def test_a_photo_that_cannot_be_read_is_counted(process, job):
    process.store.put(process.records.item(job, "000002").image_key, b"no photo")
    report, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    made(process, report.id)
    found = process.reports.get(job, report.id)
    assert (found.photos, found.unreadable) == (6, 1)


def test_a_model_that_is_gone_fails_the_report_with_its_reason(process, job):
    shutil.rmtree(process.settings.models_dir / "tiny")
    report, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    made(process, report.id)
    error = process.reports.get(job, report.id).error
    assert error.code == "model_not_found"


def test_of_learnt_words_the_model_below_is_asked_and_its_own_classes_are_judged(process, records, job):
    write_learnt_model(process.settings.models_dir / "words", process.settings.models_dir / "tiny", ("mug", "widget"))
    options = JobOptions(model="words", model_version=process.catalogue.find("words").spec.version, label=FAST)
    photo_key = process.records.item(job, "000000").image_key
    learnt = records.begin_job()
    records.create_job(learnt, [NewItem("a.png", photo_key, tags=("mug", "cat"))], options)
    lease = records.lease(learnt, "000000", owner="m", seconds=30, max_attempts=3)
    summary = process.records.item(job, "000000").summary
    records.complete(lease, summary.model_copy(update={"tags": ("mug",), "open_tags": ("cat",)}))
    report, _ = process.reports.request(learnt, ReportRequest(kind="doctor"))
    made(process, report.id)
    said = process.reports.diagnosis(learnt, report.id)
    assert said.model == process.catalogue.find("tiny").spec.version
    assert {named.finding.tag for named in said.findings if named.finding.kind == "too_few"} == {"mug", "cat"}


def examined(name: str, item: str, tags: list[str], sees: float) -> Examined:
    return Examined(
        job="j", item=item, name=name, tags=tags, scores=[sees], fingerprint="", brightness=0.5, size=(200, 200)
    )


def test_items_of_one_name_stay_apart_and_one_that_was_seen_twice_counts_once():
    found = [examined("a.jpg", f"{n:06d}", ["cat"] if n < 10 else [], 0.95 if n < 10 else 0.05) for n in range(20)]
    found += [found[0], examined("a.jpg", "000099", ["cat"], 0.01)]
    said = conclude(found, ["cat"], model="tiny@0")
    wrong = [named for named in said.findings if named.finding.kind == "wrong_tag"]
    assert [named.items for named in wrong] == [(("j", "000099"),)]
    assert np.isclose(wrong[0].finding.score, 0.99)
