"""Requests to addresses that users name, guarded against reaching into private networks.

The name is resolved here, each address is checked, and the connection goes to the very address that was checked:
a name that resolves differently a moment later gains nothing. Redirects open new connections, so they are checked the
same way. Bodies are read up to a limit. A request has a time in which all of it must be over, name look-up, handshake
and redirects included: a server that sends a byte a second holds nobody up.

References:
    OWASP Server-Side Request Forgery Prevention Cheat Sheet.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, cast

import httpcore
import httpx

from toco.jobs.addresses import is_public, reached
from toco.jobs.settings import Settings
from toco.model.errors import TocoError

MAX_REDIRECTS: Final = 5
_LOOK_UP_SECONDS: Final = 2.0  # of a name in a request that somebody waits for
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DROPPED_ELSEWHERE: Final = frozenset({"authorization", "cookie"})
_CONNECTION_ERRORS: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
)


class ForbiddenAddress(TocoError):
    """The address is private, or no http(s) URL."""

    code = "forbidden_address"
    kind = "forbidden"


class AddressRefused(TocoError):
    """An address that a request names for later use can be seen at once to be forbidden."""

    code = "address_refused"
    kind = "invalid"


class OutboundFailed(TocoError):
    """The other side does not answer, or not as it should."""

    code = "outbound_failed"
    kind = "unavailable"


class OutboundTooLarge(TocoError):
    """The other side sends more bytes than are wanted."""

    code = "outbound_too_large"
    kind = "too_large"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: whole, at most as large as was allowed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
_deadline: ContextVar[float] = ContextVar("deadline")  # monotonic seconds at which this thread's request must be over


def _left(timeout: float | None = None) -> float:
    """Return how many seconds the next step of a request may take. Raises httpcore.ReadTimeout."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("it takes too long")
    return left if timeout is None else min(left, timeout)


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host. The system's look-up has no time limit, so it is left behind when it takes long.

    Raises:
        OSError, UnicodeError: no such host, or no answer in time.
    """
    found: list[str] = []
    failure: list[Exception] = [TimeoutError("no answer to the name look-up")]

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except (OSError, UnicodeError) as error:
            failure[0] = error

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise failure[0]
    return found


def _check(host: str, address: str, allowed: Networks) -> None:
    """Raise ForbiddenAddress for an address that is neither public nor in an allowed network."""
    given = ipaddress.ip_address(address.partition("%")[0])
    if any(given in network or reached(given) in network for network in allowed) or is_public(given):
        return
    raise ForbiddenAddress(
        f"{host!r} resolves to {given}, which is no public address.",
        fix="Use a public address, or have the operator list its network in TOCO_OUTBOUND_ALLOW_PRIVATE.",
    )


class _TimedStream(httpcore.NetworkStream):
    """A connection each of whose steps ends at the deadline of the request that takes it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive some bytes."""
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted."""
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        """Tell of the connection."""
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens connections to checked addresses only, and to one host and port that the operator vouches for."""

    def __init__(self, allowed: Iterable[str], trusted: tuple[str, int] | None) -> None:
        self._allowed = _networks(allowed)
        self._trusted = trusted
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check and connect. Raises ForbiddenAddress, or httpcore's errors."""
        try:
            addresses = _resolve(host, port, _left(timeout))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host!r} cannot be resolved: {error}") from None
        if (host.lower(), port) != self._trusted:
            for address in addresses:
                _check(host, address, self._allowed)
        failure: Exception = httpcore.ConnectError(f"{host!r} has no address")
        for address in addresses:
            try:
                return _TimedStream(
                    self._plain.connect_tcp(address, port, _left(timeout), local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Body(httpx.SyncByteStream):
    """A body as it comes in from a connection."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        """Give the connection back."""
        self._answer.close()


class _GuardedTransport(httpx.BaseTransport):
    """httpx over the guarded backend; no proxies from the environment, which would connect on our behalf."""

    def __init__(self, allowed: Iterable[str], trusted: tuple[str, int] | None) -> None:
        self._connections = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False),
            http1=True,
            max_connections=10,
            network_backend=_GuardedBackend(allowed, trusted),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make one request. Raises ForbiddenAddress, or httpcore's errors."""
        url = request.url
        answer = self._connections.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=cast("httpx.SyncByteStream", request.stream),
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()


class Outbound:
    """Makes guarded requests. Safe to use from several threads.

    Args:
        settings: the time of a request and the private networks that are allowed.
        trusted_url: its host and port may be private too, since the operator named them; empty for none.
    """

    def __init__(self, settings: Settings, *, trusted_url: str = "") -> None:
        trusted = host_and_port(trusted_url) if trusted_url else None
        self._seconds = settings.outbound_timeout_seconds
        self._client = httpx.Client(
            transport=_GuardedTransport(settings.outbound_allow_private, trusted),
            timeout=settings.outbound_timeout_seconds,
            follow_redirects=False,
            trust_env=False,
        )

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int, seconds: float | None = None
    ) -> Answer:
        """Fetch a URL, following redirects; credentials go to the first host only.

        Args:
            url: http or https.
            headers: of the request.
            max_bytes: largest body.
            seconds: how long all of it may take; None means as long as the settings say.

        Raises:
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        deadline = time.monotonic() + (self._seconds if seconds is None else seconds)
        target = httpx.URL(_checked(url))
        sent = dict(headers or {})
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._send("GET", target, sent, None, limit=max_bytes, deadline=deadline)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            following = httpx.URL(_checked(str(target.join(answer.headers["location"]))))
            if (following.scheme, following.host, following.port) != (target.scheme, target.host, target.port):
                sent = {name: value for name, value in sent.items() if name.lower() not in _DROPPED_ELSEWHERE}
            target = following
        raise OutboundFailed(f"{url!r} redirects more than {MAX_REDIRECTS} times.")

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str], max_bytes: int = 64 * 1024) -> Answer:
        """Post a body; redirects are not followed.

        Raises:
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        return self.send("POST", url, body, headers=headers, max_bytes=max_bytes)

    def send(
        self, method: str, url: str, body: bytes | None, *, headers: Mapping[str, str], max_bytes: int = 64 * 1024
    ) -> Answer:
        """Make a request by any method; redirects are not followed.

        Raises:
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        deadline = time.monotonic() + self._seconds
        return self._send(method, httpx.URL(_checked(url)), dict(headers), body, limit=max_bytes, deadline=deadline)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        body: bytes | None,
        *,
        limit: int,
        deadline: float,
    ) -> Answer:
        token = _deadline.set(deadline)
        try:
            wait = min(self._seconds, _left())
            with self._client.stream(method, url, headers=headers, content=body, timeout=wait) as answer:
                received = bytearray()
                for piece in answer.iter_bytes():
                    received += piece
                    if len(received) > limit:
                        raise OutboundTooLarge(f"{str(url)!r} sends more than {limit:,} bytes.")
                return Answer(answer.status_code, dict(answer.headers), bytes(received))
        except (httpx.HTTPError, *_CONNECTION_ERRORS) as error:
            raise OutboundFailed(f"{url.host!r} does not answer: {error}") from None
        finally:
            _deadline.reset(token)


def _networks(allowed: Iterable[str]) -> Networks:
    return [ipaddress.ip_network(network) for network in allowed]


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ForbiddenAddress(f"{url!r} is no URL: {error}.", fix="Use an http:// or https:// URL.") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ForbiddenAddress(f"{url!r} is not allowed.", fix="Use an http:// or https:// URL without credentials.")
    return url


def host_and_port(url: str) -> tuple[str, int]:
    """Return the host, lower case, and the port that a URL leads to. Raises ForbiddenAddress like `check_url`."""
    parsed = httpx.URL(_checked(url))
    return parsed.host.lower(), parsed.port or (443 if parsed.scheme == "https" else 80)


def refuse_forbidden(url: str, settings: Settings) -> None:
    """Refuse a URL that can be seen at once to lead where requests may not go; others show that when they are used.

    Raises:
        AddressRefused: no http(s) URL, one with credentials, or a name that resolves to a forbidden address now.
    """
    try:
        host, port = host_and_port(url)
        for address in _resolve(host, port, _LOOK_UP_SECONDS):
            _check(host, address, _networks(settings.outbound_allow_private))
    except ForbiddenAddress as error:
        raise AddressRefused(error.detail, fix=error.fix) from None
    except (OSError, UnicodeError):
        return  # unknown today; the name may mean something when the request is made
