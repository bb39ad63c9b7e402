"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from toco.jobs.settings import Settings, load_settings
from toco.service.api.description import complete_description
from toco.service.api.problem import install_problem_handlers
from toco.service.api.request_context import RequestContext
from toco.service.api.routes import (
    artifacts,
    audits,
    data_sets,
    documentation,
    events,
    exports,
    health,
    items,
    jobs,
    label,
    models,
    page,
    previews,
    published_models,
    relearning,
    reports,
    revising,
    revisions,
    strokes,
    tag_tables,
    tags,
    trainings,
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
        docs_url=None,  # FastAPI's own pages load scripts of other hosts: see `documentation`
        redoc_url=None,
        separate_input_output_schemas=False,
        strict_content_type=False,
    )
    app.state.toco = state
    app.state.label_studio = label_studio
    install_problem_handlers(app)
    app.include_router(label_studio_routes.router, prefix="/labelstudio")
    app.include_router(cvat_routes.router)
    for routes in (
        label,
        tags,
        tag_tables,
        jobs,
        items,
        artifacts,
        previews,
        revisions,
        strokes,
        revising,
        relearning,
        audits,
        events,
        exports,
        data_sets,
        reports,
        uploads,
        models,
        published_models,
        trainings,
        health,
        page,
        documentation,
    ):
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
    complete_description(app)
    return app


def _version() -> str:
    try:
        return version("toco-labeler")
    except PackageNotFoundError:  # run from a source tree
        return "0"
