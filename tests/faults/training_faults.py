"""Faults that strike a training: it has to end with the same weights, published once."""

from typing import Final

from tests.faults.fault import FAULTS, Fault
from tests.faults.scene import Scene, photo
from tests.training_kills import KILLS, STEPS, ended, request_of, until_trained, weights

_NAMES: Final = {
    "kill_training_process": "the process that trains killed",
    "kill_worker_child": "worker child killed",
    "kill_worker": "worker killed, and another one started",
    "end_worker": "worker told to end (SIGTERM), and another one started",
    "kill_api": "API killed",
    "kill_queue": "queue server away for 2 s",
}
_MOMENTS: Final = (1, STEPS // 2, STEPS - 2)  # steps after which a fault strikes


def _trained(scene: Scene, name: str, strike: object = None, step: int = 0) -> dict:
    """Train once, struck after a step, and return the training as it ended."""
    made = scene.http.post("/v1/models", **request_of(photo, name)).raise_for_status().json()
    if callable(strike):
        until_trained(scene.http, made["id"], step)
        strike(scene.live)
    return ended(scene.http, made["id"])


def _listed(kill) -> None:
    def strike(scene: Scene) -> int:
        scene.live.trainer.stop()
        scene.live.trainer.start()
        truth = _trained(scene, f"{kill.__name__}-truth")
        wrong = truth["state"] != "succeeded"
        for step in _MOMENTS:
            found = _trained(scene, f"{kill.__name__}-{step}", kill, step)
            steps = [row["step"] for row in found["history"]]
            same = found["state"] == "succeeded" and weights(found) == weights(truth)
            wrong += not (same and found["version"] == 1 and steps == list(range(1, STEPS + 1)))
        scene.live.trainer.stop()
        scene.begin()  # and the service labels as before
        return wrong

    FAULTS.append(Fault("training", f"{_NAMES[kill.__name__]}, at {len(_MOMENTS)} moments", strike))


for _kill in KILLS:
    _listed(_kill)
