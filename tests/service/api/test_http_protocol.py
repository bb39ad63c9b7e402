"""What is no HTTP request is answered as every error is: typed, in one shape."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from toco.service.applications.http_protocol import HEAD_BYTES
from toco.service.applications.listening import SPOKEN


@pytest.fixture(scope="module")
def address():
    app = FastAPI()

    @app.get("/long")
    def long(word: str) -> int:
        return len(word)

    @app.get("/slow")
    def slow() -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"begun"
            time.sleep(0.3)
            yield b" and ended"

        return StreamingResponse(pieces())

    server = uvicorn.Server(uvicorn.Config(app, port=0, **SPOKEN))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(30)


def told(address, pieces):
    """Send pieces, one after the other; return the status, the headers in small letters, and the body."""
    with socket.create_connection(address, timeout=30) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05)  # so that they come apart
        got = b""
        while more := client.recv(65536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    first, *headers = head.decode().lower().split("\r\n")
    return int(first.split()[1]), headers, body


def problem_of(answer):
    status, headers, body = answer
    assert "content-type: application/problem+json" in headers
    found = json.loads(body)
    assert found["status"] == status
    assert found["fix"]
    assert f"x-request-id: {found['request_id'].lower()}" in headers
    return status, found["code"]


@pytest.mark.parametrize(
    "sent", [b"what?\r\n\r\n", b"GET / HTTP/1.1\r\n: nothing\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n"]
)
def test_what_is_no_request_is_a_problem(address, sent):
    assert problem_of(told(address, [sent])) == (400, "bad_request")


def test_a_head_without_end_is_a_problem_before_it_takes_memory(address):
    begun = b"GET /long?word=" + b"a" * (HEAD_BYTES + 1)
    assert problem_of(told(address, [begun])) == (413, "head_too_large")


def test_what_is_no_body_ends_an_answer_that_has_begun(address, caplog):
    head = b"GET /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    status, _, body = told(address, [head, b"no chunk\r\n"])
    assert (status, b"ended" in body) == (200, False)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_long_query_is_read_however_it_comes(address):
    word = b"a" * 130_000  # 254 tags of 512 letters
    rest = b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    status, _, body = told(address, [b"GET /long?word=" + word[:70_000], word[70_000:], rest])
    assert (status, body) == (200, b"130000")
