"""A real service for tests: its own Valkey, worker and API processes, talked to over HTTP."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
import psutil

from toco.jobs.records import Records, connect
from toco.jobs.settings import load_settings
from toco.service.client.client import Client
from toco.service.one_machine.embedded import EmbeddedServer, free_port
from toco.service.one_machine.supervisor import Program

# Short times, so that what is lost is found again within a test.
QUICK = {
    "TOCO_LEASE_SECONDS": "8",
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
        # Started by the tests that train.
        self.trainer = Program(["worker", "--queues", "train"], self.environment, folder / "trainer.log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.valkey.start()
        self.worker.start()
        self.api.start()
        self.until_ready()

    def stop(self) -> None:
        self.api.stop()
        self.trainer.stop()
        self.worker.stop()
        self.valkey.stop()

    def until_ready(self, seconds: float = 240) -> None:
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

    def parent(self) -> psutil.Process:
        """Celery's own process, which takes the messages."""
        return psutil.Process(self.worker.pid)

    def log(self, name: str = "worker") -> str:
        return (self.folder / f"{name}.log").read_text()


def until(condition: Callable[[], object], seconds: float = 90) -> object:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s")
