"""Debian's Chromium, pages of the running service, and jobs to look at.

Every page is watched: a request to another host, an error on its console or a breach of its
Content-Security-Policy fails the test that opened it.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.model.method.test_smart_strokes import scene
from tests.service.live import LiveService, until
from tests.service.page.chromium import DESKTOP, PATIENCE_MS, launched
from tests.service.page.editor import photo_of
from tests.service.page.programs import PAGE, node
from toco.jobs.settings import load_settings
from toco.jobs.store import Store, artifact_key
from toco.model.formats.artifacts import TOKENS, encode_tokens
from toco.model.method.reduced_tokens import reduce_tokens
from toco.service.one_machine.embedded import free_port
from toco.service.one_machine.supervisor import Program

# The browser's own words for what a test has asked for: refused requests, and pixels read back.
EXPECTED_ERRORS = (
    "Failed to load resource: the server responded with a status of",
    "Canvas2D: Multiple readback operations",
)

# And for a service that a test has stopped, idle or in the midst of an answer.
LOST_CONNECTION = (
    "net::ERR_CONNECTION_REFUSED",
    "net::ERR_CONNECTION_RESET",
    "net::ERR_CONNECTION_CLOSED",
    "net::ERR_EMPTY_RESPONSE",
    "net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "net::ERR_SOCKET_NOT_CONNECTED",
)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The front end's packages, from its lock file."""
    folder = PAGE / "node_modules"
    installed = folder / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (PAGE / "package-lock.json").stat().st_mtime:
        node("npm", "ci", "--no-audit", "--no-fund")
    return folder


@pytest.fixture(scope="module")  # Playwright keeps an event loop running, which other tests must not meet
def browser() -> Iterator[Browser]:
    with launched() as running:
        yield running


class Watched:
    """A page whose requests and console are kept."""

    def __init__(self, context: BrowserContext, url: str, expected: tuple[str, ...]) -> None:
        self.hosts: set[str] = set()
        self.errors: list[str] = []
        self.expected = expected
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page: Page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{url}/")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.errors.append(message.text)


@pytest.fixture
def open_page(browser: Browser, live: LiveService) -> Iterator[Callable[..., Page]]:
    """Open the page in a fresh profile: `open_page("#/jobs", url=..., color_scheme="dark", viewport=...)`."""
    opened: list[tuple[BrowserContext, Watched, str]] = []

    def open_one(place: str = "", *, url: str = "", **options: Any) -> Page:
        url = url or live.url
        context = browser.new_context(**{**DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        stopped = () if url == live.url else LOST_CONNECTION  # the service of all tests is never stopped
        watched = Watched(context, url, EXPECTED_ERRORS + stopped)
        opened.append((context, watched, url))
        if place:
            watched.page.goto(f"{url}/{place}")
        return watched.page

    yield open_one
    for context, watched, url in opened:
        context.close()
        assert watched.hosts - {""} == {urlsplit(url).netloc}  # blob: addresses have no host
        assert watched.errors == []


@pytest.fixture
def second_api(live: LiveService, tmp_path: Path) -> Iterator[Callable[..., tuple[Program, str]]]:
    """Start a further API beside the shared one, on the same records and worker: it may be stopped, or ask for keys."""
    started: list[Program] = []

    def start(**environment: str) -> tuple[Program, str]:
        port = free_port()
        program = Program(["serve"], {**live.environment, "TOCO_PORT": str(port), **environment}, tmp_path / "api.log")
        started.append(program)
        program.start()
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_up(url), 120)
        return program, url

    yield start
    for program in started:
        program.stop()


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def submit(http: httpx.Client) -> Callable[..., str]:
    """Make a job over the API, and return its id."""

    def make(photos: dict[str, bytes], tags: str | list[str] = "cat", **fields: str) -> str:
        files = [("images", (name, content)) for name, content in photos.items()]
        answer = http.post("/v1/jobs", files=files, data={"tags": tags, "preset": "fast", **fields})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    return make


@pytest.fixture
def finished(http: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Wait for a job's end."""

    def wait(job: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = http.get(f"/v1/jobs/{job}").json()
            return found if found["finished_at"] else None

        return until(ended, 120)  # type: ignore[return-value] # `until` returns what is not None

    return wait


@pytest.fixture(scope="session")
def smooth_photo() -> bytes:
    """A photo without hard edges, 64 x 48, whose colours are none of a palette's."""
    width, height = 64, 48
    picture = Image.new("RGB", (width, height))
    picture.putdata([(90 + x, 120 + y, 200 - x) for y in range(height) for x in range(width)])
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def labelled(
    live: LiveService, submit: Callable[..., str], finished: Callable[[str], dict[str, Any]]
) -> Callable[..., str]:
    """A job of photos of a cat, a dog and grass, whose tokens tell them apart."""
    store = Store.open(load_settings(redis_url=live.valkey.url, data_dir=live.folder, _env_file=None))

    def make(*, photos: int = 1, scale: int = 4) -> str:
        job = submit({f"{n}.jpg": photo_of(scale, n) for n in range(photos)}, tags="cat,dog")
        finished(job)
        middle = scene()[1][4::8, 4::8]
        tokens = np.random.default_rng(1).normal(size=(3, 64))[middle]
        for n in range(photos):
            store.put(artifact_key(job, f"{n:06}", TOKENS), encode_tokens(reduce_tokens(tokens)))
        return job

    return make
