"""Fixtures that several floors share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.embedded import EmbeddedServer

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for the whole session; tests keep apart by flushing or by their own job ids."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()
