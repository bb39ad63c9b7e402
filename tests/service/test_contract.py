"""The OpenAPI is the truth: requests made from it find no 5xx and no undocumented answer."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks, openapi

from service.app import create_app
from service.keys import ApiKeys
from workers.records import Records, connect
from workers.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def api(valkey, models_folder, tmp_path):
    chosen = load_settings(
        redis_url=valkey.url, data_dir=tmp_path, models_dir=models_folder, default_model="tiny", auth=True,
        label_wait_seconds=0, rate_per_minute=1_000_000, _env_file=None,
    )  # fmt: skip
    client = connect(chosen)
    client.flushdb()
    _, token = ApiKeys(Records(client)).create("contract", frozenset({"admin"}))
    client.close()
    schema = openapi.from_asgi("/openapi.json", create_app(chosen))
    schema.config.update(headers={"authorization": f"Bearer {token}"})
    return schema


schema = schemathesis.pytest.from_fixture("api")


@schema.exclude(path_regex="/labelstudio|/nuclio|^/$|/page|/assets").parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case):
    answer = case.call()
    case.validate_response(
        answer,
        checks=[
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ],
    )
