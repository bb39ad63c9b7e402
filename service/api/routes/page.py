"""The page for people: the built front end, from memory, under a strict Content-Security-Policy."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from toco.model.errors import TocoError

router = APIRouter(include_in_schema=False)

_DIST: Final = Path(__file__).parents[2] / "page" / "dist"
_INDEX: Final = "index.html"
# Only files of this host: no inline script or style, no other host, no plug-in, no frame around the page.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "vary": "accept-encoding",
}


class PageNotBuilt(TocoError):
    """The front end's files are missing."""

    code = "page_not_built"
    kind = "not_found"


class AssetNotFound(TocoError):
    """The page has no such file."""

    code = "asset_not_found"
    kind = "not_found"


@dataclass(frozen=True, slots=True)
class _Asset:
    """One built file."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


@router.get("/")
def get_page(request: Request) -> Response:
    """Send the page. Asked for anew each time, so that a new version is seen at once."""
    found = _assets().get(_INDEX)
    if found is None:
        raise PageNotBuilt("The page is not built.", fix="Run `npm ci && npm run build` in service/page.")
    return _answer(request, found, "no-cache")


@router.get("/assets/{name}")
def get_asset(request: Request, name: str) -> Response:
    """Send a script, style or picture. Its name changes with its content, so it is kept for ever."""
    found = _assets().get(f"assets/{name}")
    if found is None:
        raise AssetNotFound(f"The page has no file {name!r}.", fix="Reload the page.")
    return _answer(request, found, "public, max-age=31536000, immutable")


@cache
def _assets() -> dict[str, _Asset]:
    """Read all built files: some hundred kilobytes."""
    return {path.relative_to(_DIST).as_posix(): _read(path) for path in sorted(_DIST.rglob("*")) if path.is_file()}


def _read(path: Path) -> _Asset:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type == "application/javascript":  # some systems' tables are old
        media_type = "text/javascript"
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return _Asset(content, gzip.compress(content, mtime=0), media_type, etag)


def _answer(request: Request, asset: _Asset, keep: str) -> Response:
    headers = {**_HEADERS, "cache-control": keep, "etag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers=headers | {"content-encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
