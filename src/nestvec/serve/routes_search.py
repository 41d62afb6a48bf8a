"""``POST /v1/search``: the index by any operating point, with what each stage did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from nestvec.engines.results import Explained
from nestvec.index.index import Index
from nestvec.serve.errors import documented, refused
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import point_asked
from nestvec.types import Document, Embeddings, Hits, OperatingPoint


class SearchRequest(BaseModel):
    """A query, as text or as vector, and how to search.

    `explain` adds the order after each stage and that by full precision; `"stages"` leaves out the
    latter, which scores every document.
    """

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(min_length=1)] | None = None
    embedding: Annotated[list[FiniteFloat], Field(min_length=1)] | None = None
    k: Annotated[int, Field(ge=1, strict=True)] = 10
    where: str | None = None
    point: Annotated[str, Field(max_length=1000)] | None = None
    model: str | None = None
    explain: Literal[True, False, "stages"] = False


class SearchHit(BaseModel):
    """A document that was found."""

    id: str
    score: float
    title: str
    text: str
    metadata: dict[str, str | int | float]


class Timing(BaseModel):
    """Milliseconds."""

    encode_ms: float
    search_ms: float
    documents_ms: float
    total_ms: float


class StageDone(BaseModel):
    """What one stage handed on, how long it took, what it looked at."""

    stage: str
    kept: int
    ms: float
    bytes: int


class RankedIds(BaseModel):
    """An order of documents."""

    ids: list[str]
    scores: list[float]


class ExactIds(RankedIds):
    """The order by full precision."""

    ms: float
    bytes: int


class Explanation(BaseModel):
    """The order after each stage, and the one by full precision."""

    stages: list[RankedIds]
    exact: ExactIds | None = None


class SearchResponse(BaseModel):
    """What was found, and how."""

    object: str
    model: str
    point: str
    hits: list[SearchHit]
    timing: Timing
    stages: list[StageDone]
    explain: Explanation | None = None


def search_router(serving: Serving) -> APIRouter:
    """Return the route."""
    router = APIRouter(route_class=JsonRoute, tags=["search"], responses=documented(400, 404))

    @router.post("/v1/search", response_model=SearchResponse, response_model_exclude_none=True)
    async def search(asked: SearchRequest) -> Response:
        """Find the best documents of the index for a query."""
        _check(serving, asked)
        point = point_asked(serving, asked.model, asked.point)
        start = time.perf_counter()
        query = await _vector(serving, asked)
        encode_ms = _since(start)
        answer = await serving.searches.run(partial(_found, serving, asked, query, point))
        answer["timing"] = {
            "encode_ms": encode_ms,
            **answer["timing"],
            "total_ms": _since(start),
        }
        return json_response(answer)

    return router


def _check(serving: Serving, asked: SearchRequest) -> None:
    limits = serving.settings.limits
    if asked.k > limits.k:
        raise refused(f"k {asked.k:,} > {limits.k:,}", "k")
    if (asked.query is None) == (asked.embedding is None):
        raise refused("name either query or embedding", "query")
    full_dim = serving.index.info.full_dim
    if asked.embedding is not None and len(asked.embedding) != full_dim:
        problem = f"embedding of {len(asked.embedding)} dims, the index needs {full_dim}"
        raise refused(f"{problem}: it cuts them itself", "embedding")


async def _vector(serving: Serving, asked: SearchRequest) -> Embeddings:
    if asked.query is None:
        return np.array([asked.embedding], dtype=np.float32)
    embedded = await serving.embedder.texts([asked.query], "query")
    serving.metrics.on_tokens(embedded.tokens)
    return embedded.vectors


def _found(
    serving: Serving, asked: SearchRequest, query: Embeddings, point: OperatingPoint
) -> dict[str, Any]:
    index = serving.index
    start = time.perf_counter()
    explained = index.explain(query, asked.k, where=asked.where, point=point)
    search_ms = _since(start)
    start = time.perf_counter()
    documents = index.get(explained.hits.ids[0])
    documents_ms = _since(start)
    answer: dict[str, Any] = {
        "object": "search",
        "model": asked.model or serving.served.name,
        "point": str(point),
        "hits": _hits(explained.hits, documents),
        "timing": {"search_ms": search_ms, "documents_ms": documents_ms},
        "stages": _stages(explained),
    }
    if asked.explain:
        answer["explain"] = {"stages": [_ranked(trace.hits) for trace in explained.stages]}
    if asked.explain is True:
        answer["explain"]["exact"] = _exactly(index, asked, query)
    return answer


def _exactly(index: Index, asked: SearchRequest, query: Embeddings) -> dict[str, Any]:
    start = time.perf_counter()
    exact = index.search(query, asked.k, where=asked.where, exact=True)
    ms = _since(start)
    itemsize = np.dtype(index.stats().stored).itemsize
    return {**_ranked(exact), "ms": ms, "bytes": len(index) * index.info.full_dim * itemsize}


def _hits(hits: Hits, documents: dict[str, Document]) -> list[dict[str, Any]]:
    # One that was deleted since it was found is left out.
    return [
        {"id": id_, "score": score, **_document(documents[id_])}
        for id_, score in zip(hits.ids[0], hits.scores[0], strict=True)
        if id_ in documents
    ]


def _document(document: Document) -> dict[str, Any]:
    metadata = dict(document.metadata)
    return {"title": document.title, "text": document.text, "metadata": metadata}


def _stages(explained: Explained) -> Sequence[dict[str, Any]]:
    return [
        {
            "stage": f"{trace.stage.dim}:{trace.stage.precision}",
            "kept": trace.kept,
            "ms": round(trace.milliseconds, 4),
            "bytes": trace.bytes,
        }
        for trace in explained.stages
    ]


def _ranked(hits: Hits) -> dict[str, Any]:
    return {"ids": hits.ids[0], "scores": hits.scores[0]}


def _since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 4)
