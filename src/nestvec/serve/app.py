"""The web application: routes, and what every request passes on its way to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from nestvec.serve import errors
from nestvec.serve.routes_compare import compare_router
from nestvec.serve.routes_embeddings import embeddings_router
from nestvec.serve.routes_health import health_router
from nestvec.serve.routes_measured import measured_router
from nestvec.serve.routes_models import models_router
from nestvec.serve.routes_search import search_router
from nestvec.serve.served import Served
from nestvec.serve.serving import Serving
from nestvec.serve.settings import Settings
from nestvec.version import __version__

_ROUTERS = (
    embeddings_router,
    search_router,
    compare_router,
    models_router,
    measured_router,
    health_router,
)


def create_app(served: Served, settings: Settings | None = None) -> FastAPI:
    """Make the application of what is served; it takes that over, and closes it at its end.

    Args:
        served: The model, the index, and what was measured of them.
        settings: How it behaves; None takes the defaults.

    Raises:
        IndexLocked: If the index is to be changed and another process changes it.
    """
    settings = settings or Settings()
    serving = Serving.start(served, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        serving.close()

    app = FastAPI(
        title="nestvec",
        version=__version__,
        summary="Embeddings of any trained width, and search by any operating point.",
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    errors.install(app)
    for router in _ROUTERS:
        app.include_router(router(serving))
    return app
