"""Debian's Chromium, got from Debian where it is missing."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.service.live import until
from tests.service.page.programs import run

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 90_000  # machines that run tests are slow
DESKTOP: dict[str, Any] = {"viewport": {"width": 1360, "height": 860}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


def ensure_chromium() -> Path:
    """Return Chromium's path; root gets it from Debian if it is missing.

    Raises:
        FileNotFoundError: it is missing, and cannot be installed by this user.
    """
    if not CHROMIUM.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        run("apt-get", "update")
        run("apt-get", "install", "-y", "--no-install-recommends", "chromium")
    if not CHROMIUM.exists():
        raise FileNotFoundError(f"{CHROMIUM} is missing: run `apt-get install chromium` as root.")
    return CHROMIUM


@contextmanager
def launched() -> Iterator[Browser]:
    """Run the browser while inside."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=ensure_chromium(), args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


def until_in(page: Page, condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait until something is true that the page's own events make so: while `until` sleeps, a test hears of none."""
    until(lambda: page.wait_for_timeout(50) or condition(), seconds)
