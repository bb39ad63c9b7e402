"""Files of pages that people look at: read once, sent packed, with entity tags and a strict policy."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "vary": "accept-encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        content: its bytes.
        packed: the same, by gzip.
        media_type: of the content.
        etag: entity tag with its quotes.
    """

    content: bytes
    packed: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "Asset":
        """Make an asset of a file's name and bytes."""
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if media_type == "application/javascript":  # some systems' tables are old
            media_type = "text/javascript"
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return cls(content, gzip.compress(content, mtime=0), media_type, etag)

    def answer(self, request: Request, *, keep: str, policy: str) -> Response:
        """Answer a request with the file.

        Args:
            request: its headers decide between 200 and 304, and whether it is sent packed.
            keep: value of `Cache-Control`.
            policy: value of `Content-Security-Policy`.
        """
        headers = {**_HEADERS, "content-security-policy": policy, "cache-control": keep, "etag": self.etag}
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, headers=headers | {"content-encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)
