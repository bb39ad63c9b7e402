"""The OpenAPI: committed, so that a change of the API is seen in review; whole, so that clients can be made from it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from toco.jobs.settings import load_settings
from toco.service.api.description import description_text
from toco.service.applications.whole import create_app

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def described() -> dict:
    return create_app(load_settings(store_url="memory://", _env_file=None)).openapi()


def parts(value: object) -> Iterator[dict]:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parts(part)
    if isinstance(value, dict):
        yield value


def test_the_committed_description_is_that_of_the_code():
    app = create_app(load_settings(store_url="memory://", _env_file=None))
    assert COMMITTED.read_text("utf-8") == description_text(app), "Run `make openapi` and look at what changed."


def test_every_reference_leads_somewhere(described):
    references = {part["$ref"] for part in parts(described) if isinstance(part.get("$ref"), str)}
    assert "#/components/schemas/StoredImage" in references
    for reference in references:
        found = described
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    assert not [part for part in parts(described["paths"]) if "$defs" in part]


def test_what_takes_a_body_tells_of_bodies_that_cannot_be_read(described):
    with_body = [
        operation for entry in described["paths"].values() for operation in entry.values() if "requestBody" in operation
    ]
    assert len(with_body) > 5
    for operation in with_body:
        for status in ("400", "413"):
            schema = operation["responses"][status]["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}


def test_every_error_is_described_as_a_problem(described):
    for path, entry in described["paths"].items():
        for method, operation in entry.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and status != "416":
                    assert "application/problem+json" in response["content"], (method, path, status)


def test_the_description_is_json_of_version_3_1():
    assert json.loads(COMMITTED.read_text("utf-8"))["openapi"].startswith("3.1")
