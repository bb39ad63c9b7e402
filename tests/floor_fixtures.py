"""Real records on a real Valkey; nothing is faked below the model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toco.jobs.job import JobOptions, JobRecord, NewItem
from toco.jobs.records import Records, connect
from toco.jobs.settings import Settings, load_settings
from toco.model.options import preset_options
from toco.service.one_machine.embedded import EmbeddedServer


@pytest.fixture
def settings(valkey: EmbeddedServer, tmp_path: Path) -> Settings:
    return load_settings(redis_url=valkey.url, data_dir=tmp_path, _env_file=None)


@pytest.fixture
def records(settings: Settings) -> Iterator[Records]:
    client = connect(settings)
    client.flushdb()
    yield Records(client)
    client.close()


@pytest.fixture
def make_job(records: Records) -> Callable[..., JobRecord]:
    def make(count: int = 3, **fields) -> JobRecord:
        job = records.begin_job()
        options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
        items = fields.pop(
            "items", [NewItem(f"{n}.jpg", f"jobs/{job}/images/{n}", tags=("cat",)) for n in range(count)]
        )
        return records.create_job(job, items, options, **fields)

    return make
