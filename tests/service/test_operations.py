"""The commands of docs/operations.md, in their order, on a machine of their own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.service.live import QUICK, until
from toco.service.one_machine.running import NOTE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The samples beside a `toco` on the PATH."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    tags = "cat.jpg,cat\ndog.jpg,dog\nhorses.jpg,horse;person\nperson.jpg,person\nastronaut.jpg,person\n"
    (tmp_path / "samples" / "tags.csv").write_text(tags)
    (tmp_path / "toco").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m toco "$@"\n')
    (tmp_path / "toco").chmod(0o755)
    return tmp_path


def test_every_command_does_what_the_page_says(folder, models_folder, tiny_model, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(models_folder, models)
    new = tmp_path / "new"
    shutil.copytree(tiny_model, new)
    (new / "spec.json").write_text((new / "spec.json").read_text().replace('"name": "tiny"', '"name": "farm"'))
    environment = os.environ | QUICK | {
        "TOCO_DATA_DIR": str(folder / "data"), "TOCO_MODELS_DIR": str(models), "TOCO_DEFAULT_MODEL": "tiny",
        "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NEW_MODEL": str(new),
    }  # fmt: skip
    up = subprocess.Popen([str(folder / "toco"), "up", "--port", "0"], cwd=folder, env=environment)
    threading.Thread(target=up.wait, daemon=True).start()  # the page waits for its end: someone has to reap it
    try:
        until((folder / "data" / NOTE).exists, 60)
        url = json.loads((folder / "data" / NOTE).read_text())["url"]
        environment |= {"TOCO_URL": url, "TOCO_UP": str(up.pid)}
        ready = f"until curl -sf {url}/readyz > /dev/null; do sleep 0.2; done"
        subprocess.run(["sh", "-c", ready], timeout=300, check=True)
        outputs = []
        for block in BLOCKS:
            found = subprocess.run(
                ["sh", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True, timeout=500,
                check=False,
            )  # fmt: skip
            assert found.returncode == 0, block + found.stdout + found.stderr
            outputs.append(found.stdout)
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
            up.wait(60)
    assert up.returncode == 0
    assert "toco_disk_free_bytes" in outputs[0]
    assert (folder / "labels.zip").stat().st_size > 0
    assert "farm" in outputs[-1]
    assert "Broken" not in outputs[-1]
    assert not [one for one in psutil.process_iter() if str(folder) in " ".join(_command(one))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
