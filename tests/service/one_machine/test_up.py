"""`toco up`: one command, one process tree, no orphan, nothing forgotten."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.service.live import QUICK, until
from toco.service.one_machine.running import NOTE

pytestmark = pytest.mark.slow


class Up:
    """A running `toco up`."""

    def __init__(self, folder: Path, models: Path, *arguments: str, cwd: Path | None = None) -> None:
        self.folder = folder
        self.temporary = folder.with_name("temporary")
        self.temporary.mkdir(exist_ok=True)
        self.environment = os.environ | QUICK | {
            "TOCO_DATA_DIR": str(folder), "TOCO_MODELS_DIR": str(models), "TOCO_DEFAULT_MODEL": "tiny",
            "TMPDIR": str(self.temporary),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "toco", "up", "--port", "0", *arguments],
            env=self.environment, stderr=subprocess.PIPE, text=True, cwd=cwd,
        )  # fmt: skip
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stderr.close()

    def until_said(self, words: str) -> str:
        for line in self.process.stderr:
            self.output += line
            if words in line:
                return self.output
        raise AssertionError(self.output)

    @property
    def url(self) -> str:
        return json.loads((self.folder / NOTE).read_text())["url"]

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, how: signal.Signals) -> int:
        tree = self.tree()
        assert len(tree) >= 5
        self.process.send_signal(how)
        code = self.process.wait(60)
        until(lambda: not [process for process in tree if process.is_running()], 40)
        return code


def toco(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "toco", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_everything_starts_labels_stops_and_remembers(tmp_path, models_folder, photos):
    (photos / "broken.jpg").unlink()
    tags = tmp_path / "tags.csv"
    tags.write_text("a.jpg,cat\nb.png,dog\nfarm/c.jpg,horse\n")
    with Up(tmp_path / "data", models_folder, "--label", str(photos), "--tags", str(tags)) as first:
        said = first.until_said("as JSON")
        assert "/docs" in said
        assert "pseudo_mask.png" in said
        job = httpx.get(f"{first.url}/v1/jobs").json()["jobs"][0]
        assert f"{first.url}/#/jobs/{job['id']}" in said
        assert (job["state"], job["counts"]["done"]) == ("succeeded", 3)

        # The same data folder cannot be used twice; the commands find the service that runs.
        second = toco(first.environment, "up", "--port", "0")
        assert (second.returncode, "already" in second.stderr) == (2, True)
        listed = toco(first.environment, "jobs", "list")
        assert job["id"] in listed.stdout, listed.stderr
        out = tmp_path / "labels.zip"
        assert (
            toco(first.environment, "jobs", "export", job["id"], "--format", "voc", "--out", str(out)).returncode == 0
        )
        assert out.stat().st_size > 0
        submitted = toco(first.environment, "jobs", "submit", str(photos), "--tags", str(tags), "--preset", "fast")
        assert submitted.returncode == 0, submitted.stderr
        made = toco(first.environment, "keys", "create", "me", "--scope", "read")
        assert made.stdout.startswith("toco_")

        # A part that dies is started again.
        api = next(process for process in first.tree() if "serve" in process.cmdline())
        api.kill()
        until(lambda: _answers(first.url), 60)
        assert first.end(signal.SIGINT) == 0
        assert not list(first.temporary.glob("pymp-*")), "nothing is left in the folder of temporary files"

    with Up(tmp_path / "data", models_folder) as again:
        again.until_said("Ctrl-C")
        assert httpx.get(f"{again.url}/v1/jobs/{job['id']}").json()["state"] == "succeeded"
        assert "me" in toco(again.environment, "keys", "list").stdout
        # Nothing outlives a supervisor that was killed.
        again.end(signal.SIGKILL)


def test_files_in_the_folder_where_it_is_started_are_not_run(tmp_path, models_folder):
    """`python -m` would put the folder first, and somebody's `service.py` in the place of ours."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("service", "model", "workers", "jobs", "toco", "celery", "redis"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'a').write({name!r})\n")
    with Up(tmp_path / "data", models_folder, cwd=here) as up:
        up.until_said("Ctrl-C")
        assert httpx.get(f"{up.url}/readyz").status_code == 200
        assert not (tmp_path / "run").exists()


def test_a_port_that_is_taken_for_a_moment_is_waited_for(tmp_path, models_folder):
    """The queue server's port is taken while it is started again: it comes back once the port is free."""
    with Up(tmp_path / "data", models_folder) as up:
        up.until_said("Ctrl-C")
        server = next(process for process in up.tree() if "valkey" in process.name())
        port = next(one.laddr.port for one in server.net_connections() if one.status == "LISTEN")
        up.process.send_signal(signal.SIGSTOP)  # or it might be faster than we are
        server.kill()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            until(lambda: _binds(other, port))  # the system takes a moment to let go of a dead server's port
            other.listen()
            up.process.send_signal(signal.SIGCONT)
            time.sleep(4)
            assert httpx.get(f"{up.url}/readyz", timeout=30).status_code == 503
        until(lambda: httpx.get(f"{up.url}/readyz", timeout=30).status_code == 200, 60)
        assert up.process.poll() is None


def _binds(other: socket.socket, port: int) -> bool:
    try:
        other.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_signals_that_come_at_once_end_it(tmp_path, models_folder):
    """A terminal and `make` both pass Ctrl-C on; the second must not find the first one's handler in its way."""
    with Up(tmp_path / "data", models_folder) as up:
        up.until_said("Ctrl-C")
        for _ in range(200):
            up.process.send_signal(signal.SIGTERM)
            up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0


def test_it_ends_while_it_labels_and_goes_on_when_it_is_started_again(tmp_path, models_folder):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(300):
        Image.fromarray(np.full((40, 60, 3), number % 250, np.uint8)).save(folder / f"{number:03}.png")
    with Up(tmp_path / "data", models_folder, "--label", str(folder)) as up:
        up.until_said("Ctrl-C")
        until(lambda: httpx.get(f"{up.url}/v1/jobs", timeout=30).json()["jobs"])
        assert up.end(signal.SIGINT) == 0
        assert "as JSON" not in up.process.stderr.read()
    with Up(tmp_path / "data", models_folder) as again:
        again.until_said("Ctrl-C")
        until(lambda: httpx.get(f"{again.url}/v1/jobs", timeout=30).json()["jobs"][0]["counts"]["done"] == 300, 120)


def test_a_folder_that_cannot_be_labelled_ends_it_with_the_reason(tmp_path, models_folder):
    (tmp_path / "empty").mkdir()
    with Up(tmp_path / "data", models_folder, "--label", str(tmp_path / "empty")) as up:
        up.until_said("no photo")
        assert up.process.wait(60) == 2


def test_it_ends_although_its_queue_server_is_dead(tmp_path, models_folder):
    with Up(tmp_path / "data", models_folder) as up:
        up.until_said("Ctrl-C")
        next(process for process in up.tree() if "valkey" in process.name()).kill()
        began = time.monotonic()
        up.end(signal.SIGTERM)
        assert time.monotonic() - began < 40  # one part's patience, not the sum of all


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
