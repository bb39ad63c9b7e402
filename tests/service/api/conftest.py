"""The application in the test's own process, without a worker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from toco.jobs.settings import load_settings
from toco.service.applications.whole import create_app
from toco.service.one_machine.embedded import EmbeddedServer

Start = Callable[..., TestClient]


def starting(valkey: EmbeddedServer, models: Path, folder: Path) -> Iterator[Start]:
    """Start applications with settings of their own; all end together."""
    with ExitStack() as stack:

        def start(**fields) -> TestClient:
            known = {
                "redis_url": valkey.url, "data_dir": folder, "models_dir": models, "default_model": "tiny",
                "label_wait_seconds": 0, "_env_file": None,
            }  # fmt: skip
            client = TestClient(create_app(load_settings(**(known | fields))), base_url="http://127.0.0.1")
            return stack.enter_context(client)

        yield start


@pytest.fixture
def start(valkey: EmbeddedServer, models_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Start an application for one test."""
    yield from starting(valkey, models_folder, tmp_path)


@pytest.fixture(scope="module")
def start_for_all(
    valkey: EmbeddedServer, models_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start an application for all tests of a file: the first request of each costs a tenth of a second."""
    yield from starting(valkey, models_folder, tmp_path_factory.mktemp("application"))


@pytest.fixture(scope="module")
def alone(start_for_all: Start) -> TestClient:
    """The application with its own defaults, on a loopback address without keys."""
    return start_for_all()
