"""The commands of the README and of the pages that a service of one machine can run work as they are written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8").partition("\n## The service\n")[2].partition("\n## ")[0]
PAGE = (DOCS / "service.md").read_text("utf-8")
PAGES = [
    *(DOCS / f"{name}.md" for name in ("service", "corrections", "index", "data-sets", "tags")),
    *sorted((DOCS / "guides").glob("*.md")),
]
BLOCKS = [
    block
    for text in (README, *(path.read_text("utf-8") for path in PAGES))
    for block in re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The samples beside a `toco` on the PATH."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "samples" / "tags.csv").write_text(
        "cat.jpg,cat\ndog.jpg,dog\nhorses.jpg,horse;person\nperson.jpg,person\nastronaut.jpg,person\n"
    )
    (folder / "toco").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m toco "$@"\n')
    (folder / "toco").chmod(0o755)
    return folder


@pytest.mark.parametrize("text", [README, PAGE])
@pytest.mark.parametrize("word", ["```sh\ncurl", "toco jobs", "Client("])
def test_there_is_an_example_of_every_kind(text, word):
    assert word in text


@pytest.mark.parametrize(("kind", "code"), BLOCKS)
def test_an_example_runs(live, folder, kind, code):
    environment = os.environ | live.environment | {
        "TOCO_URL": live.url, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)
    }  # fmt: skip
    command = ["sh", "-e", "-c", code] if kind == "sh" else [sys.executable, "-c", f"url = {live.url!r}\n{code}"]
    found = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
