"""A web server that answers as it is told, labelled items made by hand, and an API on the live service's worker."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from toco.jobs.settings import Settings, load_settings
from toco.model.formats.artifacts import CAMS, PSEUDO_MASK, RESULT, encode_mask, encode_npz, encode_result
from toco.model.formats.item import LabelledItem
from toco.model.formats.result import ClassResult, ItemResult, Size
from toco.model.photos.classes import VOC
from toco.service.applications.whole import create_app


class WebServer:
    """Answers `pages[path]` = (status, headers, body), and keeps what it was asked."""

    def __init__(self) -> None:
        self.pages = {}
        self.asked = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.asked.append((self.command, self.path, dict(self.headers), body))
                page = server.pages.get(f"{self.command} {self.path}", server.pages.get(self.path, (404, {}, b"")))
                status, headers, content = page(body) if callable(page) else page
                self.send_response(status)
                for name, value in ({"content-length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 - the names are http.server's

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def json(self, path, value, status=200):
        self.pages[path] = (status, {"content-type": "application/json"}, json.dumps(value).encode())

    def headers_of(self, path):
        return [headers for _, asked, headers, _ in self.asked if asked == path]

    def bodies(self, method, path):
        return [
            json.loads(body) for did, asked, _, body in self.asked if (did, asked.partition("?")[0]) == (method, path)
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def other_web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of nothing but the arguments."""

    def make(**fields) -> Settings:
        return load_settings(**({"data_dir": tmp_path, "_env_file": None} | fields))

    return make


@pytest.fixture
def labelled() -> Callable[..., LabelledItem]:
    """Make a labelled photo from a mask of VOC indices; each class's CAM peaks at the middle one of its pixels."""

    def make(mask: np.ndarray, *, tag_source: str = "user", scores: dict[str, float] | None = None) -> LabelledItem:
        mask = mask.astype(np.uint8)
        shown = [entry for entry in VOC if (mask == entry.index).any()]
        height, width = mask.shape
        maps = np.zeros((len(shown), height, width), np.float16)
        rows = []
        for position, entry in enumerate(shown):
            y, x = np.nonzero(mask == entry.index)
            maps[position][mask == entry.index] = 0.75
            area = len(y)
            maps[position, y[area // 2], x[area // 2]] = 0.9
            rows.append(
                ClassResult(
                    name=entry.name,
                    index=entry.index,
                    area=area,
                    area_ratio=area / mask.size,
                    score=(scores or {}).get(entry.name, 0.8),
                    peak=0.9,
                    tag_probability=0.7,
                )
            )
        size = Size(height=height, width=width)
        result = ItemResult(
            tags=tuple(entry.name for entry in shown),
            tag_source=tag_source,
            model_version="tiny@0",
            size=size,
            working_size=size,
            capped=False,
            ignore_ratio=float((mask == 255).mean()),
            classes=tuple(rows),
        )
        names, indices = tuple(entry.name for entry in shown), np.array([entry.index for entry in shown], np.uint8)
        cams = encode_npz(cams=maps, names=np.array(names, np.str_), indices=indices, size=np.array(mask.shape))
        artifacts = {RESULT: encode_result(result), PSEUDO_MASK: encode_mask(mask), CAMS: cams}
        return LabelledItem("photo.jpg", artifacts.get)

    return make


@pytest.fixture
def api(live) -> Iterator[Callable[..., TestClient]]:
    """Start an API with settings of its own on the live service's records, store and worker."""
    with ExitStack() as stack:

        def start(**fields) -> TestClient:
            known = {
                "redis_url": live.valkey.url,
                "data_dir": live.folder,
                "models_dir": live.environment["TOCO_MODELS_DIR"],
                "default_model": "tiny",
                "outbound_allow_private": ["127.0.0.0/8"],
                "_env_file": None,
            }
            app = create_app(load_settings(**(known | fields)))
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield start
