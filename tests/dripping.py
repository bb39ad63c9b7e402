"""A server that answers a byte at a time, for as long as anybody listens."""

import socket
import threading
import time
from typing import Self

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"


class DrippingServer:
    """Takes any request and sends a byte each tenth of a second.

    Args:
        head_at_once: send the headers whole and drip the body; else drip from the first byte.
    """

    def __init__(self, *, head_at_once: bool = True) -> None:
        self._head_at_once = head_at_once
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.taken = 0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            self.taken += 1
            threading.Thread(target=self._drip, args=(taken,), daemon=True).start()

    def _drip(self, taken: socket.socket) -> None:
        with taken:
            try:
                if self._head_at_once:
                    taken.sendall(HEAD)
                for byte in (b"x" * 100_000) if self._head_at_once else HEAD * 100:
                    if self._over.is_set():
                        return
                    taken.sendall(bytes([byte]))
                    time.sleep(0.1)
            except OSError:
                return
