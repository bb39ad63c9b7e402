"""The annotation tools' protocols alone, at the root of a port of their own.

For tools that take a host and a port but no path, and for networks in which they shall reach nothing else.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import run_sync
from fastapi import FastAPI

from toco.jobs.settings import Settings
from toco.service.api.problem import install_problem_handlers
from toco.service.api.request_context import RequestContext
from toco.service.api.state import AppState
from toco.service.cvat import routes as cvat_routes
from toco.service.label_studio import routes as label_studio_routes
from toco.service.label_studio.backend import LabelStudioBackend


def create_annotation_app(settings: Settings) -> FastAPI:
    """Make the application: Label Studio's protocol at `/`, CVAT's at `/cvat/nuclio`.

    Raises:
        InvalidSettings: the store cannot be opened.
    """
    state = AppState.open(settings)
    label_studio = LabelStudioBackend(state)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_sync(state.start)
        label_studio.start()
        yield
        label_studio.close()
        state.close()

    app = FastAPI(title="ToCo labeler for annotation tools", lifespan=lifespan, openapi_url=None)
    app.state.toco = state
    app.state.label_studio = label_studio
    install_problem_handlers(app)
    app.include_router(cvat_routes.router)
    app.include_router(label_studio_routes.router)
    app.add_middleware(RequestContext, max_body_bytes=settings.max_body_bytes)
    return app
