"""``GET /v1/models`` as in the OpenAI API, with dims and tiers, and the health routes."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from nestvec.serve.errors import documented
from nestvec.serve.json_body import json_response
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import requested
from nestvec.types import PRECISIONS


class IndexEntry(BaseModel):
    """The properties of an index that a client needs to choose operating points."""

    documents: int
    dims: list[int]
    precisions: list[str]
    any_point: bool
    most_kept: int


def index_entry(serving: Serving) -> IndexEntry | None:
    """Describe the served index, or return None without an index.

    Product codes (pq4) are not listed, because building them takes seconds, and sign codes, because
    binary codes of the same size score higher. Requests may use them.
    """
    index, settings = serving.served.index, serving.settings
    if index is None:
        return None
    unlisted = {"pq4", "sign"} if "binary" in index.capabilities.scanned else {"pq4"}
    if index.stats().stored != "float32":
        unlisted.add("float32")
    return IndexEntry(
        documents=len(index),
        dims=list(serving.served.searched_dims),
        precisions=[
            name
            for name in PRECISIONS
            if name in index.capabilities.scanned and name not in unlisted
        ],
        any_point=serving.offers_any_point,
        most_kept=settings.limits.keep,
    )


class ModelEntry(BaseModel):
    """A model, or one of its tiers."""

    id: str
    object: str
    created: int
    owned_by: str
    dims: list[int]
    min_dim: int | None
    full_dim: int
    default_dim: int
    max_tokens: int | None
    point: str | None
    tiers: dict[str, str]
    index: IndexEntry | None


class ModelList(BaseModel):
    """All models and tiers."""

    object: str
    data: list[ModelEntry]


def models_router(serving: Serving) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["models"], responses=documented(404))
    served, created = serving.served, int(time.time())

    @router.get("/v1/models", response_model=ModelList)
    async def list_models() -> Response:
        """List the model without suffix, with each kind of text, and with each tier."""
        entries = [_entry(serving, name, created) for name in served.model_names]
        return json_response({"object": "list", "data": entries})

    @router.get("/v1/models/{name:path}", response_model=ModelEntry)
    async def get_model(name: str) -> Response:
        """Describe a model or a tier."""
        return json_response(_entry(serving, name, created))

    return router


def _entry(serving: Serving, name: str, created: int) -> dict[str, Any]:
    served, index = serving.served, index_entry(serving)
    tier = requested(served, name).tier
    point = served.point if tier is None else served.tiers[tier]
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "nestvec",
        "dims": list(served.trained_dims),
        "min_dim": served.info.min_dim,
        "full_dim": served.info.full_dim,
        "default_dim": serving.default_dim(tier),
        "max_tokens": served.info.max_tokens,
        "point": None if point is None else str(point),
        "tiers": {name: str(point) for name, point in served.tiers.items()},
        "index": None if index is None else index.model_dump(),
    }


def health_router(serving: Serving) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["health"], responses=documented())

    @router.get("/healthz")
    async def healthz() -> Response:
        """Return that the server is running."""
        return json_response({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        """Return that model and index are loaded. The server listens only after loading."""
        return json_response({"status": "ready", "model": serving.served.name})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the metrics in the text format of Prometheus."""
        return Response(serving.metrics.text(), media_type="text/plain; version=0.0.4")

    return router
