"""Whether the server lives, whether it is ready, and what it has done."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from nestvec.serve.errors import documented
from nestvec.serve.json_body import json_response
from nestvec.serve.serving import Serving


def health_router(serving: Serving) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["health"], responses=documented())

    @router.get("/healthz")
    async def healthz() -> Response:
        """Tell that the server answers."""
        return json_response({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Tell that what is served is loaded: the server listens only then."""
        return json_response({"status": "ready", "model": serving.served.name})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Write counters in Prometheus's text form."""
        return Response(serving.metrics.text(), media_type="text/plain; version=0.0.4")

    return router
