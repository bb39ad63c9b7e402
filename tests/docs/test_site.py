"""The documentation builds as a site without a warning, with every error and every route in it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toco.jobs.records import JobNotFound
from toco.model.errors import TocoError
from toco.model.formats.registry import UnknownFormat

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    return folder


def text(page: Path) -> str:
    return re.sub(r"<[^>]+>", " ", page.read_text("utf-8"))


def test_every_page_is_in_it(site):
    sources = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert sources <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}


def test_errors_are_listed_by_code_with_what_to_do(site):
    page = text(site / "errors.html")
    known = [kind for kind in TocoError.__subclasses__() if kind.__module__.startswith("toco.")]
    assert {UnknownFormat, JobNotFound} <= set(known)
    assert [kind.code for kind in known if kind.code not in page] == []
    assert "Use one of …." in page


def test_every_route_is_listed(site):
    page = text(site / "api.html")
    for path in json.loads((ROOT / "docs" / "openapi.json").read_text("utf-8"))["paths"]:
        assert path in page


def test_nothing_is_fetched_from_other_hosts(site):
    loaded = r'<(?:script|link|img)\b[^>]*(?:src|href)="(https?://[^"]+)"'
    assert not [address for page in site.rglob("*.html") for address in re.findall(loaded, page.read_text("utf-8"))]
