"""Requests to addresses that users name, guarded against reaching into private networks.

The name is resolved here, each address is checked, and the connection goes to the very address that was checked:
a name that resolves differently a moment later gains nothing. Redirects open new connections, so they are checked the
same way. Bodies are read up to a limit.

References:
    OWASP Server-Side Request Forgery Prevention Cheat Sheet.
"""

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

import httpcore
import httpx

from toco.jobs.addresses import is_public, reached
from toco.jobs.settings import Settings
from toco.model.errors import TocoError

MAX_REDIRECTS: Final = 5
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


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens connections to checked addresses only, and to one host and port that the operator vouches for."""

    def __init__(self, allowed: Iterable[str], trusted: tuple[str, int] | None) -> None:
        self._allowed = [ipaddress.ip_network(network) for network in allowed]
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
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host!r} cannot be resolved: {error}") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if (host.lower(), port) != self._trusted:
            for address in addresses:
                self._check(host, address)
        failure: Exception = httpcore.ConnectError(f"{host!r} has no address")
        for address in addresses:
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _check(self, host: str, address: str) -> None:
        given = ipaddress.ip_address(address.partition("%")[0])
        if any(given in network or reached(given) in network for network in self._allowed):
            return
        if not is_public(given):
            raise ForbiddenAddress(
                f"{host!r} resolves to {given}, which is no public address.",
                fix="Use a public address, or have the operator list its network in TOCO_OUTBOUND_ALLOW_PRIVATE.",
            )


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
        settings: time-out and the private networks that are allowed.
        trusted_url: its host and port may be private too, since the operator named them; empty for none.
    """

    def __init__(self, settings: Settings, *, trusted_url: str = "") -> None:
        trusted = host_and_port(trusted_url) if trusted_url else None
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
            seconds: how long all of it may take; None sets no limit beside that of a silent connection.

        Raises:
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        deadline = None if seconds is None else time.monotonic() + seconds
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
        return self._send(method, httpx.URL(_checked(url)), dict(headers), body, limit=max_bytes)

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
        deadline: float | None = None,
    ) -> Answer:
        try:
            with self._client.stream(method, url, headers=headers, content=body) as answer:
                received = bytearray()
                for piece in answer.iter_bytes():
                    received += piece
                    if deadline is not None and time.monotonic() > deadline:
                        raise OutboundFailed(f"{str(url)!r} takes too long.")
                    if len(received) > limit:
                        raise OutboundTooLarge(f"{str(url)!r} sends more than {limit:,} bytes.")
                return Answer(answer.status_code, dict(answer.headers), bytes(received))
        except (httpx.HTTPError, *_CONNECTION_ERRORS) as error:
            raise OutboundFailed(f"{url.host!r} does not answer: {error}") from None


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


def check_url(url: str) -> str:
    """Return a URL that has the right form; whether its address may be reached shows when it is used.

    Raises:
        ForbiddenAddress: no http(s) URL, or one with credentials.
    """
    return _checked(url)
