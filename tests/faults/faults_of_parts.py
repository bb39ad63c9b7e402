"""Faults of the processes, the store and the models: who is struck, how, and what should come of it.

`strike` begins a job, does the harm, ends it and returns; the job then has to end well by itself.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.faults.fault import LEASE, PATIENCE, fault, other_child, restart, suspended
from tests.faults.scene import COUNT, PHOTOS, Scene
from tests.service.live import until
from toco.jobs.keys import UPLOADS
from toco.model.spec import WEIGHTS_FILE
from toco.service.one_machine.supervisor import Program

# -- the child, which holds the model ------------------------------------------------------------------------------


@fault("child", "killed in the middle of a shard")
def _(scene: Scene) -> None:
    scene.begin()
    scene.live.worker_child().kill()


@fault("child", "killed, and the next one while it loads the model")
def _(scene: Scene) -> None:
    scene.begin()
    child = scene.live.worker_child()
    child.kill()
    second = other_child(scene, child)
    time.sleep(0.3)
    second.kill()


@fault("child", "killed while idle")
def _(scene: Scene) -> None:
    scene.live.worker_child().kill()
    scene.begin()


@fault("child", "told to end (SIGTERM)")
def _(scene: Scene) -> None:
    scene.begin()
    scene.live.worker_child().terminate()


@fault("child", "hangs for longer than its leases, then goes on")
def _(scene: Scene) -> None:
    scene.begin()
    with suspended(scene.live.worker_child()):
        time.sleep(LEASE + 3)


@fault("child", "hangs for longer than its leases, then is killed")
def _(scene: Scene) -> None:
    scene.begin()
    child = scene.live.worker_child()
    with suspended(child):
        time.sleep(LEASE + 3)
        child.kill()


@fault("child", "killed after the sweep used the store")
def _(scene: Scene) -> None:
    upload = scene.http.post("/v1/uploads", headers={"tus-resumable": "1.0.0", "upload-length": "1"})
    upload.raise_for_status()
    name = upload.headers["location"].rpartition("/")[2]
    scene.redis("ZADD", UPLOADS, str(time.time() - 1), name)
    until(lambda: not scene.redis("ZSCORE", UPLOADS, name), 30)
    scene.begin()
    scene.live.worker_child().kill()


# -- the worker, which takes the messages --------------------------------------------------------------------------


@fault("worker", "parent killed")
def _(scene: Scene) -> None:
    scene.begin()
    scene.live.parent().kill()
    restart(scene.live.worker)


@fault("worker", "parent and child killed")
def _(scene: Scene) -> None:
    scene.begin()
    os.killpg(scene.live.worker.pid, signal.SIGKILL)
    restart(scene.live.worker)


@fault("worker", "stopped in order (SIGTERM) and started")
def _(scene: Scene) -> None:
    scene.begin()
    restart(scene.live.worker)


@fault("worker", "stopped at once (SIGQUIT) and started")
def _(scene: Scene) -> None:
    scene.begin()
    scene.live.parent().send_signal(signal.SIGQUIT)
    restart(scene.live.worker)


@fault("worker", "parent hangs for longer than the leases")
def _(scene: Scene) -> None:
    scene.begin()
    with suspended(scene.live.parent()):
        time.sleep(LEASE + 3)


@fault("worker", "away when the job comes")
def _(scene: Scene) -> None:
    scene.live.worker.stop()
    scene.job = scene.submit()
    scene.wanted = {"done": COUNT}
    scene.live.worker.start()


@fault("worker", "a second one joins, the first is killed")
def _(scene: Scene) -> None:
    scene.begin()
    second = Program(["worker"], scene.live.environment, scene.live.folder / "worker.log")
    second.start()
    os.killpg(scene.live.worker.pid, signal.SIGKILL)
    scene.wait_for_end(time.monotonic() + 120)
    second.stop()
    restart(scene.live.worker)


# -- the API -------------------------------------------------------------------------------------------------------


@fault("API", "killed while workers work")
def _(scene: Scene) -> None:
    scene.begin()
    os.killpg(scene.live.api.pid, signal.SIGKILL)
    restart(scene.live.api)


@fault("API", "stopped in order and started")
def _(scene: Scene) -> None:
    scene.begin()
    restart(scene.live.api)


@fault("API", "hangs for ten seconds")
def _(scene: Scene) -> None:
    scene.begin()
    with suspended(psutil.Process(scene.live.api.pid)):
        time.sleep(10)


@fault("API", "killed while a job is sent, which is sent again")
def _(scene: Scene) -> int:
    key = {"idempotency-key": f"again-{time.time_ns()}"}
    sending = httpx.Client(base_url=scene.live.url, timeout=60)
    api = psutil.Process(scene.live.api.pid)

    def body() -> Iterator[bytes]:
        whole = sending.build_request("POST", "/v1/jobs", files=[("images", each) for each in PHOTOS]).read()
        yield whole[: len(whole) // 2]
        api.kill()
        yield whole[len(whole) // 2 :]

    head = sending.build_request("POST", "/v1/jobs", files=[("images", PHOTOS[0])]).headers["content-type"]
    with suppress(httpx.HTTPError):
        sending.post("/v1/jobs", content=body(), headers=key | {"content-type": head})
    sending.close()
    restart(scene.live.api)
    scene.live.until_ready()
    scene.begin(headers=key)
    return int(scene.submit(headers=key) != scene.job)


@fault("API", "killed as a job is answered, which is sent again")
def _(scene: Scene) -> int:
    key = {"idempotency-key": f"answered-{time.time_ns()}"}
    scene.begin(headers=key)
    os.killpg(scene.live.api.pid, signal.SIGKILL)
    restart(scene.live.api)
    scene.live.until_ready()
    return int(scene.submit(headers=key) != scene.job)


# -- the queue server, which keeps the records too -----------------------------------------------------------------


def queue_back(scene: Scene) -> None:
    scene.live.valkey.start()


@fault("queue", "killed, back at once")
def _(scene: Scene) -> None:
    scene.begin()
    os.killpg(scene.live.valkey.pid, signal.SIGKILL)
    queue_back(scene)


@fault("queue", "killed, away for longer than workers wait")
def _(scene: Scene) -> None:
    scene.begin()
    os.killpg(scene.live.valkey.pid, signal.SIGKILL)
    time.sleep(3 * PATIENCE + LEASE)
    queue_back(scene)


@fault("queue", "stopped in order and started")
def _(scene: Scene) -> None:
    scene.begin()
    scene.live.valkey.stop()
    queue_back(scene)


@fault("queue", "hangs for longer than workers wait")
def _(scene: Scene) -> None:
    scene.begin()
    with suspended(psutil.Process(scene.live.valkey.pid)):
        time.sleep(20)


@fault("queue", "slow: every command waits for five seconds")
def _(scene: Scene) -> None:
    scene.begin()
    scene.redis("CLIENT", "PAUSE", "5000", "ALL")


@fault("queue", "memory full for six seconds")
def _(scene: Scene) -> None:
    scene.begin()
    scene.redis("CONFIG", "SET", "maxmemory", "1")
    time.sleep(6)
    scene.redis("CONFIG", "SET", "maxmemory", "0")


@fault("queue", "read-only for six seconds")
def _(scene: Scene) -> None:
    scene.begin()
    scene.redis("REPLICAOF", "127.0.0.1", "1")
    time.sleep(6)
    scene.redis("REPLICAOF", "NO", "ONE")


@fault("queue", "every connection cut, five times")
def _(scene: Scene) -> None:
    scene.begin()
    for _ in range(5):
        scene.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.5)


@fault("queue", "messages lost")
def _(scene: Scene) -> None:
    scene.begin()
    scene.redis("DEL", "batch", "interactive", "unacked", "unacked_index")
    scene.live.worker_child().kill()


@fault("queue", "every message doubled")
def _(scene: Scene) -> None:
    scene.job = scene.submit()
    scene.wanted = {"done": COUNT}
    for message in scene.redis("LRANGE", "batch", "0", "-1"):
        scene.redis("RPUSH", "batch", message)


# -- the store -----------------------------------------------------------------------------------------------------


@fault("store", "its folder away for four seconds; what was written meanwhile is put beside the rest")
def _(scene: Scene) -> None:
    scene.begin()
    jobs, aside = scene.store / "jobs", scene.store / "aside"
    jobs.rename(aside)
    time.sleep(4)
    with suppress(FileNotFoundError):
        jobs.rename(scene.store / "meanwhile")
    aside.rename(jobs)
    if (scene.store / "meanwhile").exists():
        shutil.copytree(scene.store / "meanwhile", jobs, dirs_exist_ok=True)
        shutil.rmtree(scene.store / "meanwhile")
    until(lambda: not scene.counts()["running"] and not scene.counts()["queued"], 120)
    scene.http.post(f"/v1/jobs/{scene.job}/retry")


@fault("store", "a file in the place of the job's folder for four seconds")
def _(scene: Scene) -> None:
    scene.begin()
    folder = scene.folder() / "artifacts"
    folder.rename(scene.store / "aside")
    folder.write_bytes(b"")
    time.sleep(4)
    folder.unlink()
    (scene.store / "aside").rename(folder)
    until(lambda: not scene.counts()["running"] and not scene.counts()["queued"], 120)
    scene.http.post(f"/v1/jobs/{scene.job}/retry")


@fault("store", "full for five seconds")
def _(scene: Scene) -> None:
    scene.begin()
    filler = scene.store / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    time.sleep(5)
    filler.unlink()
    until(lambda: not scene.counts()["running"] and not scene.counts()["queued"], 120)
    scene.http.post(f"/v1/jobs/{scene.job}/retry")


@fault("store", "one photo gone: it fails alone")
def _(scene: Scene) -> None:
    scene.live.worker.stop()
    scene.job = scene.submit()
    (scene.folder() / "images" / "000004").unlink()
    scene.wanted = {"done": COUNT - 1, "failed": 1}
    scene.live.worker.start()


@fault("store", "one photo cut off: it fails alone")
def _(scene: Scene) -> None:
    scene.live.worker.stop()
    scene.job = scene.submit()
    image = scene.folder() / "images" / "000004"
    image.write_bytes(image.read_bytes()[:100])
    scene.wanted = {"done": COUNT - 1, "failed": 1}
    scene.live.worker.start()


# -- the model -----------------------------------------------------------------------------------------------------


def models(scene: Scene) -> Path:
    return Path(scene.live.environment["TOCO_MODELS_DIR"])


@fault("model", "its folder away for a second while a new child needs it")
def _(scene: Scene) -> None:
    scene.begin()
    folder = models(scene) / "tiny"
    folder.rename(models(scene).parent / "aside")
    child = scene.live.worker_child()
    child.kill()
    other_child(scene, child)
    time.sleep(1)
    (models(scene).parent / "aside").rename(folder)


@fault("model", "half copied while a new child needs it")
def _(scene: Scene) -> None:
    scene.begin()
    weights = models(scene) / "tiny" / WEIGHTS_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    child = scene.live.worker_child()
    child.kill()
    other_child(scene, child)
    time.sleep(1)
    weights.write_bytes(whole)


@fault("model", "a broken one beside it")
def _(scene: Scene) -> int:
    broken = models(scene) / "broken"
    broken.mkdir()
    (broken / "spec.json").write_text('{"name": "broken", ')
    scene.begin()
    listed = scene.http.get("/v1/models").json()
    shutil.rmtree(broken)
    return int([model["name"] for model in listed["broken"]] != ["broken"])
