"""An export is built once, however often its message comes."""

import pytest

from toco.jobs.broker import BUILD_EXPORT, LABEL_SHARD
from toco.jobs.exports import ExportRequest, Exports
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.store import Store
from toco.workers.tasks import make_worker


@pytest.fixture
def exports(settings, records) -> Exports:
    return Exports(records, Store.open(settings), ModelCatalogue(settings, records))


@pytest.fixture
def export(exports, records, make_job) -> str:
    job = make_job(1)
    records.cancel(job.id)
    return exports.request(job.id, ExportRequest(format="voc"))[0].id


def test_a_message_that_comes_again_during_the_work_starts_nothing(exports, export, records, monkeypatch):
    begun = []

    def write(export, _seconds):
        begun.append(export)
        exports.build(export, lease_seconds=30, max_attempts=3)

    monkeypatch.setattr(exports, "_write", write)
    exports.build(export, lease_seconds=30, max_attempts=3)
    assert begun == [export]


def test_after_a_dead_process_it_is_the_sweep_that_brings_the_next(exports, export, records, monkeypatch):
    class Killed(BaseException):
        """Ends the process: nothing is tidied up."""

    def write(*_):
        raise Killed

    monkeypatch.setattr(exports, "_write", write)
    with pytest.raises(Killed):
        exports.build(export, lease_seconds=1, max_attempts=3)
    assert exports.stalled(30) == []
    records.redis.zadd("toco:exports:active", {export: 0})
    assert exports.stalled(30) == [export]
    records.redis.delete(f"toco:export:{export}:lock")  # it runs out at the same time
    built = []
    monkeypatch.setattr(exports, "_write", lambda export, *_: built.append(export))
    exports.build(export, lease_seconds=1, max_attempts=3)
    assert built == [export]


def test_an_export_may_take_longer_than_a_shard(settings):
    tasks = make_worker(settings, ("errands",)).tasks
    assert tasks[LABEL_SHARD].time_limit == settings.task_limit_seconds
    assert tasks[BUILD_EXPORT].time_limit > 10 * settings.task_limit_seconds
