"""The OpenAPI is the truth: requests made from it find no 5xx and no undocumented answer."""

import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis import checks, openapi

from tests.trainings import make_training
from toco.jobs.api_keys import ApiKeys
from toco.jobs.broker import QUEUES
from toco.jobs.job import JobOptions, NewItem
from toco.jobs.records import Records, connect
from toco.jobs.settings import Settings, load_settings
from toco.jobs.stats import Stats, WorkerReport
from toco.jobs.store import Store
from toco.jobs.trainings import Trainings
from toco.jobs.uploads import Uploads
from toco.model.options import preset_options
from toco.service.applications.whole import create_app

pytestmark = pytest.mark.slow

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
METHODS = ("get", "put", "post", "patch", "delete", "head", "options")


def _as_it_is(_context, value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def operations() -> list[tuple[str, str]]:
    described = create_app(load_settings(store_url="memory://", _env_file=None)).openapi()
    return [(method, path) for path, entry in described["paths"].items() for method in entry if method in METHODS]


@pytest.fixture(scope="module")
def api(valkey, models_folder, tmp_path_factory):
    """The application in this process, with a key that may do everything; no worker answers."""
    chosen: Settings = load_settings(
        redis_url=valkey.url, data_dir=tmp_path_factory.mktemp("contract"), models_dir=models_folder,
        default_model="tiny", auth=True, label_wait_seconds=0, rate_per_minute=1_000_000, _env_file=None,
    )  # fmt: skip
    client = connect(chosen)
    client.flushdb()
    records = Records(client)
    _, token = ApiKeys(records).create("contract", frozenset({"admin"}))
    Stats(records).report(
        WorkerReport("w-1", list(QUEUES), ["tiny"], "cpu", answered_at=time.time() + 3600), valid_seconds=3600
    )
    app = create_app(chosen)
    schemathesis.serializer("application/offset+octet-stream")(_as_it_is)

    def make_known(names: dict[str, object]) -> dict[str, str]:
        """Return the ids of things that are there, made anew because requests delete them."""
        known = {}
        if "job" in names:
            known["job"] = records.begin_job()
            options = JobOptions(model="tiny", model_version="tiny@0", label=preset_options("fast"))
            records.create_job(known["job"], [NewItem("a.jpg", "gone", tags=("cat",))], options, priority="interactive")
        if "item" in names:
            known["item"] = "000000"
        if "upload" in names:
            known["upload"] = Uploads(chosen, records, Store.open(chosen)).create(length=9, name="a.zip").id
        if "training" in names:
            known["training"] = make_training(Trainings(records, lease_seconds=60))
        if "number" in names:
            known["number"] = "0"
        if "name" in names and "job" not in names:
            known["name"] = "tiny"
        return known

    yield openapi.from_asgi("/openapi.json", app), {"authorization": f"Bearer {token}"}, make_known
    client.close()


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_answer_is_documented(api, method, path):
    schema, key, make_known = api
    operation = schema[path][method]

    @given(case=operation.as_strategy(), known=booleans())
    @settings(max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
    def ask(case, known: bool) -> None:
        if known:
            case.path_parameters = {**case.path_parameters, **make_known(case.path_parameters)}
        case.validate_response(case.call(headers=key), checks=CHECKS)

    ask()
