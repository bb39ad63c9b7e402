"""The doctor looks a piece at a time, goes on after a death, and says the same as in one go."""

import shutil

import numpy as np
import pytest

from tests.drawn_words import SPOILT, spoilt_job
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


@pytest.fixture
def learnt(process, records, job):
    """Makes a labelled job of learnt words, given its photos by name with the words learnt and open."""

    def make(photos: dict[str, tuple[tuple[str, ...], tuple[str, ...], bytes]], *, tagged: bool = True) -> str:
        models = process.settings.models_dir
        write_learnt_model(models / "words", models / "tiny", ("gadget", "widget"))
        options = JobOptions(model="words", model_version=process.catalogue.find("words").spec.version, label=FAST)
        made_job = records.begin_job()
        items = []
        for name, (known, open_tags, content) in photos.items():
            process.store.put(f"jobs/{made_job}/images/{name}", content)
            items.append(NewItem(name, f"jobs/{made_job}/images/{name}", tags=(*known, *open_tags) if tagged else None))
        records.create_job(made_job, items, options)
        summary = process.records.item(job, "000000").summary
        for n, (known, open_tags, _) in enumerate(photos.values()):
            lease = records.lease(made_job, f"{n:06d}", owner="m", seconds=30, max_attempts=3)
            records.complete(lease, summary.model_copy(update={"tags": known, "open_tags": open_tags}))
        return made_job

    return make


def diagnosis(process, job: str):
    report, _ = process.reports.request(job, ReportRequest(kind="doctor"))
    made(process, report.id)
    return process.reports.diagnosis(job, report.id)


def test_of_learnt_words_the_model_below_is_asked(process, learnt):
    said = diagnosis(process, learnt({"a.png": (("gadget",), ("cat",), photo(0))}))
    assert said.model == process.catalogue.find("tiny").spec.version
    assert {named.finding.tag for named in said.findings if named.finding.kind == "too_few"} == {"gadget", "cat"}


def test_spoilt_tags_of_learnt_words_and_of_open_ones_are_found(process, learnt):
    photos = {
        name: (("gadget",), (), content) if words == ("gadget",) else ((), words, content)
        for name, (words, content) in spoilt_job().items()
    }
    said = diagnosis(process, learnt(photos))
    found = {(named.finding.kind, named.finding.photos) for named in said.findings if named.finding.photos}
    spoilt = {(kind, (name,)) for name in SPOILT for kind in ("wrong_tag", "missing_tag")}
    assert {pair for pair in found if pair[0] in ("wrong_tag", "missing_tag")} == spoilt


def test_photos_that_nobody_tagged_teach_no_word(process, learnt):
    photos = {name: (words, (), content) for name, (words, content) in spoilt_job(24).items()}
    said = diagnosis(process, learnt(photos, tagged=False))
    untold = {named.finding.tag: named.finding.detail for named in said.findings if named.finding.kind == "not_checked"}
    assert untold.keys() == {"gadget", "widget"}
    assert "to lack it, and is of 0" in untold["gadget"]


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
