"""Outgoing requests reach public addresses only, unless a network is allowed."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.dripping import DrippingServer
from toco.jobs.outbound import (
    AddressRefused,
    ForbiddenAddress,
    Outbound,
    OutboundFailed,
    OutboundTooLarge,
    refuse_forbidden,
)
from toco.jobs.settings import load_settings


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/auth":
                body = (self.headers.get("authorization") or "none").encode()
            elif self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("location", self.path.removeprefix("/to/"))
                self.end_headers()
                return
            else:
                body = b"x" * 1000
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def make():
    opened = []

    def outbound(*allowed: str) -> Outbound:
        settings = load_settings(outbound_allow_private=allowed, outbound_timeout_seconds=2, _env_file=None)
        opened.append(Outbound(settings))
        return opened[-1]

    yield outbound
    for found in opened:
        found.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "[::127.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[fec0::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[::ffff:0:127.0.0.1]",
        "[5f00::1]",
        "[3fff::1]",
        "192.88.99.1",
    ],
)
def test_private_addresses_are_refused(make, host):
    with pytest.raises(ForbiddenAddress):
        make().get(f"http://{host}:9/", max_bytes=10)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b", "http://u:p@example.org/", "http://", "x", "http://a\x00b/"]
)
def test_other_urls_are_refused(make, url):
    with pytest.raises(ForbiddenAddress):
        make().get(url, max_bytes=10)


def test_an_allowed_network_is_reached(make, server):
    assert make("127.0.0.0/8").get(server, max_bytes=2000).body == b"x" * 1000
    for allowed, host in (("127.0.0.0/8", "[::ffff:127.0.0.1]"), ("::1/128", "[::1]")):
        with pytest.raises(OutboundFailed):  # nobody listens there, but it was tried
            make(allowed).get(f"http://{host}:9/", max_bytes=10)


def test_a_name_is_checked_where_it_is_connected(make, monkeypatch):
    """A name that resolves to a public and a private address is refused: one of them may be the next one used."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(ForbiddenAddress, match=r"10\.0\.0\.1"):
        make().get("http://rebound.example/", max_bytes=10)


def test_redirects_are_checked_again(make, server):
    outbound = make("127.0.0.1/32")
    assert outbound.get(f"{server}/to/{server}/x", max_bytes=2000).status == 200
    with pytest.raises(ForbiddenAddress):
        outbound.get(f"{server}/to/http://169.254.169.254/latest", max_bytes=10)
    with pytest.raises(ForbiddenAddress):
        outbound.get(f"{server}/to/file:///etc/passwd", max_bytes=10)
    with pytest.raises(OutboundFailed, match="redirects"):
        outbound.get(f"{server}/to/" * 9, max_bytes=10)


def test_credentials_stay_with_their_host(make, server):
    outbound, other = make("127.0.0.0/8"), server.replace("127.0.0.1", "localhost")
    secret = {"authorization": "Token x"}
    assert outbound.get(f"{server}/to/{server}/auth", headers=secret, max_bytes=99).body == b"Token x"
    assert outbound.get(f"{server}/to/{other}/auth", headers=secret, max_bytes=99).body == b"none"


def test_bytes_are_capped(make, server):
    with pytest.raises(OutboundTooLarge):
        make("127.0.0.0/8").get(server, max_bytes=999)


def test_a_silent_server_is_a_typed_error(make):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(OutboundFailed):
            make("127.0.0.0/8").get(f"http://127.0.0.1:{listener.getsockname()[1]}/", max_bytes=9)


@pytest.mark.slow
@pytest.mark.parametrize("head_at_once", [True, False])
def test_a_server_that_drips_holds_nobody_up(make, head_at_once):
    outbound = make("127.0.0.0/8")
    with DrippingServer(head_at_once=head_at_once) as server:
        for request in (
            lambda: outbound.get(server.url, max_bytes=10**6, seconds=0.5),
            lambda: outbound.post(server.url, b"x", headers={}),
        ):
            begun = time.monotonic()
            with pytest.raises(OutboundFailed, match=r"too long|timed out"):
                request()
            assert time.monotonic() - begun < 30, "it drips for minutes"


def test_a_name_look_up_without_an_answer_ends_in_time(make, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    begun = time.monotonic()
    with pytest.raises(OutboundFailed, match="look-up"):
        make().get("http://slow.example/", max_bytes=10, seconds=0.3)
    assert time.monotonic() - begun < 20, "the answer would come later"
    over.set()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://10.0.0.1/hook", "http://localhost:1/hook", "http://u:p@example.org"]
)
def test_an_address_for_later_is_refused_where_it_can_be_seen_to_be_forbidden(url):
    with pytest.raises(AddressRefused) as refused:
        refuse_forbidden(url, load_settings(_env_file=None))
    assert refused.value.fix


def test_an_address_for_later_that_is_unknown_today_is_taken():
    refuse_forbidden("https://nobody.invalid/hook", load_settings(_env_file=None))
    refuse_forbidden("http://127.0.0.1/", load_settings(outbound_allow_private=("127.0.0.0/8",), _env_file=None))
