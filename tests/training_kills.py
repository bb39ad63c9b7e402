"""Everything that can die while a model is trained, and a request for a training that takes seconds."""

import contextlib
import json
import signal
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import psutil

from tests.service.live import LiveService, until

STEPS: Final = 40
WORDS: Final = ("cat", "dog", "mug", "lamp")
PHOTOS: Final = 12
# A checkpoint after every step, and leases that run out within a test.
QUICK_TRAINING: Final = {"TOCO_TRAINING_CHECKPOINT_MINUTES": "0.0001", "TOCO_LEASE_SECONDS": "4"}
_FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})


def request_of(photo: Callable[[int], bytes], name: str, **fields: Any) -> dict[str, Any]:
    """Return the arguments of a request with twelve photos of two known and two own words."""
    data = {
        "name": name,
        "tags": [WORDS[number % len(WORDS)] for number in range(PHOTOS)],
        "settings": json.dumps({"steps": STEPS, "kept_aside": 0.25}),
    }
    files = [("images", (f"{number}.jpg", photo(number))) for number in range(PHOTOS)]
    return {"files": files, "data": data | fields}


def ended(http: httpx.Client, training: str, seconds: float = 240) -> dict[str, Any]:
    """Wait for the end of a training, whatever answers meanwhile."""

    def look() -> dict[str, Any] | None:
        with contextlib.suppress(httpx.HTTPError):
            found = http.get(f"/v1/trainings/{training}")
            if found.status_code == 200 and found.json()["state"] in _FINAL:
                return found.json()
        return None

    return until(look, seconds)


def until_trained(http: httpx.Client, training: str, step: int) -> dict[str, Any]:
    """Wait until a step of the training is told."""

    def look() -> dict[str, Any] | None:
        found = http.get(f"/v1/trainings/{training}").json()
        assert found["state"] not in _FINAL, found["error"]
        return found if found["losses"] and found["step"] >= step else None

    return until(look, 120)


def weights(view: dict[str, Any]) -> str:
    """Return the digest of the weights, which the model's version ends with."""
    return view["figures"]["after"]["model"].partition("@")[2]


def child_of(live: LiveService) -> psutil.Process:
    """Return the process that trains."""

    def look() -> psutil.Process | None:
        for process in psutil.Process(live.trainer.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "toco.model.training.run_task" in process.cmdline():
                    return process
        return None

    return until(look, 60)


def kill_training_process(live: LiveService) -> None:
    child_of(live).kill()


def kill_worker_child(live: LiveService) -> None:
    child_of(live).parent().kill()


def kill_worker(live: LiveService) -> None:
    psutil.Process(live.trainer.pid).kill()
    live.trainer.stop()
    live.trainer.start()


def end_worker(live: LiveService) -> None:
    """As `docker stop` does: with a checkpoint, and handed to whoever comes."""
    psutil.Process(live.trainer.pid).send_signal(signal.SIGTERM)
    until(lambda: not live.trainer.is_alive(), 60)
    live.trainer.start()


def kill_api(live: LiveService) -> None:
    psutil.Process(live.api.pid).kill()
    live.api.stop()
    live.api.start()
    live.until_ready()


def kill_queue(live: LiveService) -> None:
    live.valkey.stop()
    time.sleep(2)
    live.valkey.start()


KILLS: Final = (kill_training_process, kill_worker_child, kill_worker, end_worker, kill_api, kill_queue)
