"""`/docs`: Swagger UI on the OpenAPI, from files of this host, under a strict policy."""

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

from toco.model.errors import TocoError
from toco.service.api.assets import Asset

router = APIRouter(prefix="/docs", include_in_schema=False)

# Scripts and styles of this host alone; Swagger UI's pictures are data.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ToCo labeler: API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


class DocumentNotFound(TocoError):
    """The API's page has no such file."""

    code = "document_not_found"
    kind = "not_found"


@router.get("")
async def get_documentation(request: Request) -> Response:
    """Send the page."""
    return _assets()["index.html"].answer(request, keep="no-cache", policy=_POLICY)


@router.get("/{name}")
async def get_file(request: Request, name: str) -> Response:
    """Send a script or a style; the browser asks whether it is still the same."""
    found = _assets().get(name)
    if found is None:
        raise DocumentNotFound(f"The API's page has no file {name!r}.", fix="See /docs.")
    return found.answer(request, keep="no-cache", policy=_POLICY)


@cache
def _assets() -> dict[str, Asset]:
    """Read the files of Swagger UI that `fastapi-offline` brings: one and a half megabytes."""
    packed = files("fastapi_offline") / "static"
    content = {name: (packed / name).read_bytes() for name in ("swagger-ui.css", "swagger-ui-bundle.js")}
    content |= {"index.html": _PAGE, "start.js": _START}
    return {name: Asset.of(name, body) for name, body in content.items()}
