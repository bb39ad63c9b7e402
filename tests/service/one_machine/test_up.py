"""`toco up`: one command, one process tree, no orphan, nothing forgotten."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx
import psutil
import pytest

from tests.service.live import QUICK, until
from toco.service.one_machine.running import NOTE

pytestmark = pytest.mark.slow


class Up:
    """A running `toco up`."""

    def __init__(self, folder: Path, models: Path, *arguments: str) -> None:
        self.folder = folder
        self.environment = os.environ | QUICK | {
            "TOCO_DATA_DIR": str(folder), "TOCO_MODELS_DIR": str(models), "TOCO_DEFAULT_MODEL": "tiny"
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "up", "--port", "0", *arguments],
            env=self.environment, stderr=subprocess.PIPE, text=True,
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
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_everything_starts_labels_stops_and_remembers(tmp_path, models_folder, photos):
    (photos / "broken.jpg").unlink()
    tags = tmp_path / "tags.csv"
    tags.write_text("a.jpg,cat\nb.png,dog\nfarm/c.jpg,horse\n")
    with Up(tmp_path / "data", models_folder, "--label", str(photos), "--tags", str(tags)) as first:
        said = first.until_said("Ctrl-C")
        assert "/docs" in said
        assert "pseudo_mask.png" in said
        job = httpx.get(f"{first.url}/v1/jobs").json()["jobs"][0]
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

    with Up(tmp_path / "data", models_folder) as again:
        again.until_said("Ctrl-C")
        assert httpx.get(f"{again.url}/v1/jobs/{job['id']}").json()["state"] == "succeeded"
        assert "me" in toco(again.environment, "keys", "list").stdout
        again.end(signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
