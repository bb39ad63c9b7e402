"""The faults, as data: who is struck, how, and what should come of it.

`strike` begins a job, does the harm, ends it and returns; the job then has to end well by itself.
"""

import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.dripping import DrippingServer
from tests.faults.receiver import Receiver
from tests.faults.scene import COUNT, PHOTOS, SETTINGS, Scene
from tests.service.live import until
from toco.jobs.keys import UPLOADS, WEBHOOKS
from toco.model.spec import WEIGHTS_FILE
from toco.service.one_machine.supervisor import Program

PATIENCE: Final = float(SETTINGS["TOCO_BROKER_PATIENCE_SECONDS"])
LEASE: Final = 8.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        part: what is struck.
        name: how, in a few words.
        strike: begins a job, does harm and ends it. Returns how many answers were wrong.
    """

    part: str
    name: str
    strike: Callable[[Scene], int]


FAULTS: Final[list[Fault]] = []


def fault(part: str, name: str) -> Callable[[Callable[[Scene], int | None]], None]:
    """Put a function on the list."""

    def listed(strike: Callable[[Scene], int | None]) -> None:
        FAULTS.append(Fault(part, name, lambda scene: strike(scene) or 0))

    return listed


def restart(program: Program) -> None:
    """Start a program again as a supervisor would."""
    program.stop()
    program.start()


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """Have a process hang."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def other_child(scene: Scene, child: psutil.Process) -> psutil.Process:
    """Wait for the child that takes a dead one's place."""
    return until(lambda: next((one for one in scene.live.parent().children() if one.pid != child.pid), None), 60)


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


# -- webhooks, exports, uploads ------------------------------------------------------------------------------------


@fault("webhook", "six receivers drip, and one is fine")
def _(scene: Scene) -> int:
    with DrippingServer(head_at_once=False) as dripping, Receiver() as receiver:
        others = [scene.submit(photos=PHOTOS[:1], webhook=dripping.url, preset="fast") for _ in range(6)]
        scene.begin(webhook=receiver.url)
        scene.wait_for_end(time.monotonic() + 120)
        until(lambda: receiver.got, 30)
        for other in others:
            scene.http.delete(f"/v1/jobs/{other}")
    return 0


@fault("webhook", "refused twice, then taken")
def _(scene: Scene) -> int:
    with Receiver(refuse=2) as receiver:
        scene.begin(webhook=receiver.url)
        scene.wait_for_end(time.monotonic() + 120)
        until(lambda: len(receiver.got) == 3, 60)
        until(lambda: not scene.redis("ZCARD", WEBHOOKS), 10)
    return int(len(receiver.ids) != 1)


@fault("webhook", "the worker killed while it is sent")
def _(scene: Scene) -> int:
    with Receiver(delay=1.5) as receiver:
        scene.begin(webhook=receiver.url)
        until(lambda: receiver.asked, 120)
        scene.live.worker_child().kill()
        until(lambda: receiver.got, 120)
    return int(len(receiver.ids) != 1)


def exported(scene: Scene, export: str) -> list[str]:
    """Wait for an export, and return the names of its masks."""
    here = f"/v1/jobs/{scene.job}/exports/{export}"
    until(lambda: scene.http.get(here).json()["state"] in ("done", "failed"), 120)
    target = scene.live.folder / "export.zip"
    target.write_bytes(scene.http.get(f"{here}/download", follow_redirects=True).content)
    with zipfile.ZipFile(target) as archive:
        return [name for name in archive.namelist() if "SegmentationClass/" in name and name.endswith(".png")]


def export_of(scene: Scene) -> str:
    answer = scene.http.post(f"/v1/jobs/{scene.job}/exports", json={"format": "voc"})
    answer.raise_for_status()
    return str(answer.json()["id"])


@fault("export", "the worker killed while it builds")
def _(scene: Scene) -> int:
    scene.begin()
    scene.wait_for_end(time.monotonic() + 120)
    export = export_of(scene)
    scene.live.worker_child().kill()
    return int(len(exported(scene, export)) != COUNT)


@fault("export", "one corrupt mask: left out, and the rest exported")
def _(scene: Scene) -> int:
    scene.begin()
    scene.wait_for_end(time.monotonic() + 120)
    mask = scene.folder() / "artifacts" / "000004" / "pseudo_mask.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[: len(whole) // 2])
    names = exported(scene, export_of(scene))
    mask.write_bytes(whole)
    return int(len(names) != COUNT - 1)


@fault("export", "its job deleted while it builds")
def _(scene: Scene) -> None:
    scene.begin()
    scene.wait_for_end(time.monotonic() + 120)
    export_of(scene)
    scene.http.delete(f"/v1/jobs/{scene.job}").raise_for_status()
    scene.deleted = True


@fault("upload", "the API killed in the middle, and the upload resumed")
def _(scene: Scene) -> int:
    archive = scene.live.folder / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in PHOTOS:
            file.writestr(name, content)
    whole = archive.read_bytes()
    tus = {"tus-resumable": "1.0.0"}
    made = scene.http.post("/v1/uploads", headers=tus | {"upload-length": str(len(whole))})
    place, api = made.headers["location"], psutil.Process(scene.live.api.pid)

    def piece(start: int) -> Iterator[bytes]:
        yield whole[start : start + len(whole) // 3]
        if start == 0:
            time.sleep(0.5)
            api.kill()
        yield whole[start + len(whole) // 3 :]

    kind = {"content-type": "application/offset+octet-stream"}
    with suppress(httpx.HTTPError):
        scene.http.patch(place, content=piece(0), headers=tus | kind | {"upload-offset": "0"})
    restart(scene.live.api)
    scene.live.until_ready()
    begun = time.monotonic()
    while True:
        offset = int(scene.http.head(place, headers=tus).headers["upload-offset"])
        answer = scene.http.patch(place, content=whole[offset:], headers=tus | kind | {"upload-offset": str(offset)})
        if answer.status_code == 204:
            break
        if time.monotonic() - begun > 30:
            return 1
        time.sleep(0.5)
    upload = place.rpartition("/")[2]
    form = {"tags": (None, "cat"), "preset": (None, "balanced"), "upload": (None, upload)}
    answer = scene.http.post("/v1/jobs", files=form)
    answer.raise_for_status()
    scene.job = answer.json()["id"]
    scene.wanted = {"done": COUNT}
    return 0


# -- people --------------------------------------------------------------------------------------------------------


@fault("job", "cancelled, and the child killed")
def _(scene: Scene) -> int:
    scene.begin()
    scene.http.post(f"/v1/jobs/{scene.job}/cancel").raise_for_status()
    done = scene.counts()["done"]
    scene.live.worker_child().kill()
    scene.wait_for_end(time.monotonic() + 120)
    time.sleep(LEASE)
    found = scene.counts()
    scene.wanted = {}
    return int(found["queued"] + found["running"] + found["failed"] != 0 or found["done"] > done + 8)


@fault("job", "deleted in the middle")
def _(scene: Scene) -> None:
    scene.begin()
    scene.http.delete(f"/v1/jobs/{scene.job}").raise_for_status()
    scene.deleted = True


@fault("job", "deleted twice at once, and the child killed")
def _(scene: Scene) -> int:
    scene.begin()
    scene.live.worker_child().kill()
    scene.http.delete(f"/v1/jobs/{scene.job}")
    scene.http.delete(f"/v1/jobs/{scene.job}")
    scene.deleted = True
    return sum(number < 0 for number in scene.records.item_counts().values())
