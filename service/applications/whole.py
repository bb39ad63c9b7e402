"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from toco.jobs.settings import Settings, load_settings
from toco.service.api.problem import Problem, install_problem_handlers
from toco.service.api.request_context import RequestContext
from toco.service.api.routes import (
    artifacts,
    events,
    exports,
    health,
    items,
    jobs,
    label,
    models,
    page,
    previews,
    uploads,
)
from toco.service.api.state import AppState
from toco.service.cvat import routes as cvat_routes
from toco.service.label_studio import routes as label_studio_routes
from toco.service.label_studio.backend import LabelStudioBackend

_DESCRIPTION = """Photos with image-level tags go in; class activation maps, CRF-refined pseudo masks and segmentation
maps come out. Errors are `application/problem+json`, all of one shape."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application.

    Args:
        settings: None reads them from the environment.

    Raises:
        InvalidSettings: the settings contradict themselves, or the store cannot be opened.
    """
    settings = settings or load_settings()
    state = AppState.open(settings)
    label_studio = LabelStudioBackend(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_sync(state.start)
        label_studio.start()
        yield
        label_studio.close()
        state.close()

    app = FastAPI(
        title="ToCo labeler",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        separate_input_output_schemas=False,
        strict_content_type=False,
    )
    app.state.toco = state
    app.state.label_studio = label_studio
    install_problem_handlers(app)
    app.include_router(label_studio_routes.router, prefix="/labelstudio")
    app.include_router(cvat_routes.router)
    for routes in (label, jobs, items, artifacts, previews, events, exports, uploads, models, health, page):
        app.include_router(routes.router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["location", "upload-offset", "upload-length", "x-request-id", "etag", "retry-after"],
        )
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Add the problem's schema to the OpenAPI, and drop FastAPI's own error schema, which is never sent."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = plain()
            schemas = described["components"]["schemas"]
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas["Problem"] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the OpenAPI


def _version() -> str:
    try:
        return version("toco-labeler")
    except PackageNotFoundError:  # run from a source tree
        return "0"
