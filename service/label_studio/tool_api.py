"""Label Studio's own API: photos that it keeps, predictions that it is given, backends that it knows.

References:
    labelstud.io/guide/access_tokens: a legacy token goes as `Token ...`; a personal one is a JWT that
    `/api/token/refresh` exchanges for a short-lived `Bearer` token.
"""

import base64
import binascii
import json
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx

from toco.jobs.outbound import Answer, ForbiddenAddress, Outbound, host_and_port
from toco.model.errors import TocoError

_SPARE_SECONDS: Final = 30.0  # before a short-lived token ends
_ANSWER_BYTES: Final = 16 * 1024 * 1024

_LOCAL_HINT: Final = (
    "If the backend has a private address, Label Studio must run with ML_BLOCK_LOCAL_IP=false: see"
    " docs/label-studio.md."
)


class LabelStudioRefused(TocoError):
    """Label Studio does not do what it was asked for.

    Args:
        detail: what it said.
        status: HTTP status.
    """

    code = "label_studio_refused"
    kind = "unavailable"

    def __init__(self, detail: str, *, fix: str = "", status: int = 0) -> None:
        super().__init__(detail, fix=fix)
        self.status = status


class LabelStudioApi:
    """One Label Studio. Its token is sent to its own scheme, host and port, and nowhere else.

    Args:
        outbound: makes the requests; has to trust this Label Studio's address if that is private.
        url: of the Label Studio, perhaps with a path; empty if there is none.
        token: legacy or personal, or empty.
    """

    def __init__(self, outbound: Outbound, url: str, token: str) -> None:
        self._outbound = outbound
        self._url = url.rstrip("/")
        self._token = token
        self._bearer = ("", 0.0)
        self._lock = threading.Lock()

    @property
    def can_push(self) -> bool:
        """Whether there is a Label Studio that takes results from us."""
        return bool(self._url and self._token)

    def address_of(self, reference: str) -> str | None:
        """Return the full address of a photo that Label Studio keeps, or None if the reference is to another place.

        Args:
            reference: a path on the Label Studio (`/data/upload/1/a.jpg`), or an address.

        Raises:
            ForbiddenAddress: no http(s) address; or a path, but no Label Studio is configured, or it leads elsewhere.
        """
        if not reference.startswith("/"):
            return reference if self._url and _origin(reference) == _origin(self._url) else None
        if not self._url:
            raise ForbiddenAddress(
                f"{reference!r} is kept by Label Studio, whose address is not known.",
                fix="Set TOCO_LABEL_STUDIO_URL and TOCO_LABEL_STUDIO_TOKEN.",
            )
        if reference.startswith("//") or "\\" in reference:
            raise ForbiddenAddress(f"{reference!r} is no path.", fix="Use a path such as /data/upload/1/a.jpg.")
        base = urlsplit(self._url).path
        if base and (reference == base or reference.startswith(f"{base}/")):
            reference = reference.removeprefix(base)
        return self._url + reference

    def fetch(self, address: str, *, max_bytes: int, seconds: float) -> Answer:
        """Fetch an address that `address_of` returned, with the token.

        Raises:
            ForbiddenAddress, OutboundFailed, OutboundTooLarge, LabelStudioRefused
        """
        headers = {"authorization": self._authorization()} if self._token else {}
        return self._outbound.get(address, headers=headers, max_bytes=max_bytes, seconds=seconds)

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, query: Mapping[str, str] | None = None
    ) -> Any:
        """Call the API and return the JSON of its answer.

        Args:
            method: HTTP method.
            path: `/api/...`.
            body: sent as JSON.
            query: parameters of the path.

        Raises:
            LabelStudioRefused: an answer other than success.
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        return self._json(method, path + (f"?{urlencode(query)}" if query else ""), body, self._authorization())

    def register_backend(self, backend: Mapping[str, Any]) -> tuple[int, bool]:
        """Connect a backend to a project, or connect the project's backend of the same title anew.

        Args:
            backend: fields of `/api/ml`; `project`, `title` and `url` among them.

        Returns:
            The backend's id, and whether it is new.

        Raises:
            LabelStudioRefused: it cannot reach the backend, or the backend refuses its settings.
            ForbiddenAddress, OutboundFailed, OutboundTooLarge
        """
        known = self.call("GET", "/api/ml", query={"project": str(backend["project"])})
        earlier = next((entry["id"] for entry in known if entry.get("title") == backend["title"]), None)
        try:
            if earlier is None:
                return int(self.call("POST", "/api/ml", backend)["id"]), True
            self.call("PATCH", f"/api/ml/{earlier}", backend)
        except LabelStudioRefused as error:
            raise LabelStudioRefused(
                error.detail, fix=f"{error.fix} {_LOCAL_HINT}".strip(), status=error.status
            ) from None
        return int(earlier), False

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None, authorization: str) -> Any:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if authorization:
            headers["authorization"] = authorization
        content = None if body is None else json.dumps(body).encode()
        answer = self._outbound.send(method, self._url + path, content, headers=headers, max_bytes=_ANSWER_BYTES)
        if not 200 <= answer.status < 300:
            fix = "Check the token." if answer.status == HTTPStatus.UNAUTHORIZED else ""
            said = answer.body[:500].decode("utf-8", "replace")
            raise LabelStudioRefused(
                f"Label Studio answers {method} {path} with {answer.status}: {said}", fix=fix, status=answer.status
            )
        try:
            return json.loads(answer.body) if answer.body else None
        except ValueError:
            raise LabelStudioRefused(f"Label Studio's answer to {method} {path} is no JSON.") from None

    def _authorization(self) -> str:
        claims = _claims(self._token)
        if claims is None:
            return f"Token {self._token}"
        if claims.get("token_type") != "refresh":
            return f"Bearer {self._token}"
        with self._lock:
            token, ends_at = self._bearer
            if time.time() > ends_at - _SPARE_SECONDS:
                token = str(self._json("POST", "/api/token/refresh", {"refresh": self._token}, "")["access"])
                ends_at = float((_claims(token) or {}).get("exp", 0.0))
                self._bearer = (token, ends_at)
            return f"Bearer {token}"


def _origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port, parsed as they are when the request is made. Raises ForbiddenAddress."""
    host, port = host_and_port(address)
    return httpx.URL(address).scheme, host, port


def _claims(token: str) -> dict[str, Any] | None:
    """Return what a JWT says of itself (its issuer checks it, not we), or None for a token of another kind."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, dict) else None
