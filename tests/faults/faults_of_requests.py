"""Faults of webhooks, exports and uploads, and what people do; see `faults_of_parts`."""

import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil

from tests.dripping import DrippingServer
from tests.faults.fault import LEASE, fault, restart
from tests.faults.receiver import Receiver
from tests.faults.scene import COUNT, PHOTOS, Scene
from tests.service.live import until
from toco.jobs.keys import WEBHOOKS

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
