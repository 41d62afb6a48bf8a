"""The web application: routes and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from nestvec.serve import errors
from nestvec.serve.direct_routes import DirectRoutes
from nestvec.serve.keys import AccessControl
from nestvec.serve.limits import LimitRequests
from nestvec.serve.logs import LogRequests
from nestvec.serve.page.routes import page_router
from nestvec.serve.routes_compare import compare_router
from nestvec.serve.routes_documents import documents_router
from nestvec.serve.routes_embeddings import embeddings_router
from nestvec.serve.routes_measured import measured_router
from nestvec.serve.routes_models import health_router, models_router
from nestvec.serve.routes_search import search_router
from nestvec.serve.routes_shadow import shadow_router
from nestvec.serve.served import Served
from nestvec.serve.serving import Serving
from nestvec.serve.settings import Settings
from nestvec.serve.shadow import Shadow
from nestvec.serve.warming import Warming
from nestvec.version import __version__

_ROUTERS = (
    embeddings_router,
    search_router,
    compare_router,
    documents_router,
    models_router,
    measured_router,
    shadow_router,
    health_router,
)


def create_app(
    served: Served, settings: Settings | None = None, *, shadow: Shadow | None = None
) -> FastAPI:
    """Create the application. It closes ``served`` and ``shadow`` when it shuts down.

    Args:
        served: The model and the index.
        settings: Settings of the server; None for the defaults.
        shadow: A second index that a share of the searches is sent to as well; None for none.

    Raises:
        IndexLocked: If the server is writable and another process has locked the index.
    """
    settings = settings or Settings()
    serving = Serving.start(served, settings, shadow)
    warming = Warming(served, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        warming.close()
        serving.close()

    app = FastAPI(
        title="nestvec",
        version=__version__,
        summary="Embeddings with any trained number of dims, and search with any operating point.",
        lifespan=lifespan,
        docs_url=None,  # the page of FastAPI loads scripts from another site
        redoc_url=None,
    )
    errors.install_handlers(app)
    routers = [router(serving) for router in _ROUTERS]
    for router in routers:
        app.include_router(router)
    app.include_router(page_router(on_open=warming.start))
    app.add_middleware(DirectRoutes, routers=routers)
    _add_middleware(app, serving)
    return app


def _add_middleware(app: FastAPI, serving: Serving) -> None:
    """Add the middleware around ``DirectRoutes``, the innermost first."""
    settings = serving.settings
    app.add_middleware(LimitRequests, limits=settings.limits)
    app.add_middleware(AccessControl, keys=settings.keys, hosts=settings.allow_hosts)
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(LogRequests, metrics=serving.metrics)
