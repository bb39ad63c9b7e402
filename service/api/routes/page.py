"""The page for people: the built front end, from memory, under a strict Content-Security-Policy."""

from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from toco.model.errors import TocoError
from toco.service.api.assets import Asset

router = APIRouter(include_in_schema=False)

_DIST: Final = Path(__file__).parents[2] / "page" / "dist"
_INDEX: Final = "index.html"
# Only files of this host: no inline script or style, no other host, no plug-in, no frame around the page.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
)


class PageNotBuilt(TocoError):
    """The front end's files are missing."""

    code = "page_not_built"
    kind = "not_found"


class AssetNotFound(TocoError):
    """The page has no such file."""

    code = "asset_not_found"
    kind = "not_found"


@router.get("/")
async def get_page(request: Request) -> Response:
    """Send the page. Asked for anew each time, so that a new version is seen at once."""
    found = _assets().get(_INDEX)
    if found is None:
        raise PageNotBuilt("The page is not built.", fix="Run `npm ci && npm run build` in service/page.")
    return found.answer(request, keep="no-cache", policy=_POLICY)


@router.get("/assets/{name}")
async def get_asset(request: Request, name: str) -> Response:
    """Send a script, style or picture. Its name changes with its content, so it is kept for ever."""
    found = _assets().get(f"assets/{name}")
    if found is None:
        raise AssetNotFound(f"The page has no file {name!r}.", fix="Reload the page.")
    return found.answer(request, keep="public, max-age=31536000, immutable", policy=_POLICY)


@cache
def _assets() -> dict[str, Asset]:
    """Read all built files: some hundred kilobytes."""
    files = (path for path in sorted(_DIST.rglob("*")) if path.is_file())
    return {path.relative_to(_DIST).as_posix(): Asset.of(path.name, path.read_bytes()) for path in files}
