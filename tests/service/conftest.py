"""A real service for tests: its own Valkey, worker and API processes, talked to over HTTP."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from service.client import Client
from service.embedded import EmbeddedServer, free_port
from service.supervisor import Program
from workers.records import Records, connect
from workers.settings import load_settings

# Short times, so that what is lost is found again within a test.
QUICK = {
    "TOCO_LEASE_SECONDS": "3",
    "TOCO_HEARTBEAT_SECONDS": "0.5",
    "TOCO_SWEEP_SECONDS": "0.5",
    "TOCO_RETRY_DELAY_SECONDS": "0.3",
    "TOCO_SHARD_SECONDS": "2",
    "TOCO_OUTBOUND_ALLOW_PRIVATE": "127.0.0.0/8",
    "TOCO_DEVICE": "cpu",
    "OMP_NUM_THREADS": "1",
}


class LiveService:
    """Valkey, one worker and the API as processes that a test may kill."""

    def __init__(self, folder: Path, models: Path, **environment: str) -> None:
        self.folder = folder
        self.valkey = EmbeddedServer(folder / "valkey", port=free_port())
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **QUICK,
            "TOCO_DATA_DIR": str(folder),
            "TOCO_REDIS_URL": self.valkey.url,
            "TOCO_PORT": str(self.port),
            "TOCO_MODELS_DIR": str(models),
            "TOCO_DEFAULT_MODEL": "tiny",
            **environment,
        }
        self.worker = Program(["worker"], self.environment, folder / "worker.log")
        self.api = Program(["serve"], self.environment, folder / "api.log")

    def start(self) -> None:
        self.valkey.start()
        self.worker.start()
        self.api.start()
        self.until_ready()

    def stop(self) -> None:
        self.api.stop()
        self.worker.stop()
        self.valkey.stop()

    def until_ready(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = httpx.get(f"{self.url}/readyz", timeout=5)
                if answer.status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise TimeoutError(self.log("worker")[-3000:] + self.log("api")[-3000:])

    def client(self, key: str = "") -> Client:
        return Client(self.url, key=key)

    def records(self) -> Records:
        return Records(connect(load_settings(redis_url=self.valkey.url, _env_file=None)))

    def worker_child(self) -> psutil.Process:
        """The process that holds the model."""
        children = psutil.Process(self.worker.pid).children(recursive=True)
        return max((child for child in children if child.is_running()), key=lambda child: child.create_time())

    def log(self, name: str = "worker") -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture(scope="session")
def models_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(tiny_model, folder / "tiny")
    return folder


@pytest.fixture(scope="session")
def live(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """The service that most tests share."""
    service = LiveService(tmp_path_factory.mktemp("live"), models_folder)
    service.start()
    yield service
    service.stop()


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
        import io

        rng = np.random.default_rng(seed)
        file = io.BytesIO()
        blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        blocks.resize(size, Image.Resampling.NEAREST).save(file, kind)
        return file.getvalue()

    return make


def until(condition: Callable[[], object], seconds: float = 30) -> object:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s")
