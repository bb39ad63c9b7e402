"""The service that the tests talk to."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.live import LiveService
from toco.service.client.client import Client


@pytest.fixture(scope="session")
def models_folder(tiny_model: Path) -> Path:
    return tiny_model.parent


@pytest.fixture(scope="session")
def live(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """The service that most tests share."""
    with LiveService(tmp_path_factory.mktemp("live"), models_folder) as service:
        yield service


@pytest.fixture
def client(live: LiveService) -> Iterator[Client]:
    with live.client() as client:
        yield client


@pytest.fixture
def http(live: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Make small, distinct photos."""

    def make(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
        rng = np.random.default_rng(seed)
        file = io.BytesIO()
        blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        blocks.resize(size, Image.Resampling.NEAREST).save(file, kind)
        return file.getvalue()

    return make
