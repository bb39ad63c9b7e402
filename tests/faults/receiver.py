"""A receiver of webhooks that a fault can have refuse, or take its time."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Takes webhooks on a loopback port.

    Args:
        refuse: how many of the first are answered with 500.
        delay: seconds before each answer.
    """

    def __init__(self, *, refuse: int = 0, delay: float = 0) -> None:
        self.asked = 0
        self.got: list[int] = []
        self.ids: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.asked += 1
                self.rfile.read(int(self.headers["content-length"]))
                time.sleep(delay)
                status = 500 if receiver.asked <= refuse else 204
                receiver.ids.add(self.headers["webhook-id"])
                try:
                    self.send_response(status)
                    self.end_headers()
                except OSError:
                    return  # who asked has gone
                receiver.got.append(status)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
