"""The application in the test's own process, without a worker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from toco.jobs.settings import load_settings
from toco.service.applications.whole import create_app
from toco.service.one_machine.embedded import EmbeddedServer


@pytest.fixture
def start(valkey: EmbeddedServer, models_folder: Path, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Start an application with settings of its own."""
    with ExitStack() as stack:

        def start(**fields) -> TestClient:
            known = {
                "redis_url": valkey.url, "data_dir": tmp_path, "models_dir": models_folder, "default_model": "tiny",
                "label_wait_seconds": 0, "_env_file": None,
            }  # fmt: skip
            client = TestClient(create_app(load_settings(**(known | fields))), base_url="http://127.0.0.1")
            return stack.enter_context(client)

        yield start


@pytest.fixture
def alone(start: Callable[..., TestClient]) -> TestClient:
    """The application with its own defaults, on a loopback address without keys."""
    return start()
