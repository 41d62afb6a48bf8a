"""``POST /v1/search``: search the index with any operating point, with the trace of each stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, FiniteFloat

from nestvec.engines.results import Explained
from nestvec.index.index import Index
from nestvec.serve.errors import bad_request, documented
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.request_body import RequestBody
from nestvec.serve.routes_documents import Single
from nestvec.serve.serving import Serving
from nestvec.serve.shadow import AnsweredSearch
from nestvec.serve.tiers import requested_point
from nestvec.types import Document, Embeddings, Hits, OperatingPoint


class SearchRequest(RequestBody):
    """A query, as text or as vector, and the options of the search.

    A text is always encoded as a query; clients that send `input_type` may state this. `explain`
    adds the ranking after each stage and the ranking by full precision. The value `"stages"` omits
    the ranking by full precision, which scores every document.
    """

    query: Annotated[str, Field(min_length=1)] | None = None
    embedding: Annotated[list[FiniteFloat], Field(min_length=1)] | None = None
    k: Annotated[int, Field(ge=1, strict=True)] = 10
    where: str | None = None
    point: Annotated[str, Field(max_length=1000)] | None = None
    model: str | None = None
    input_type: Literal["query", "search_query"] | None = None
    explain: Literal[True, False, "stages"] = False


class SearchHit(BaseModel):
    """A document in the results."""

    id: str
    score: float
    title: str
    text: str
    metadata: dict[str, Single | list[Single]]


class Timing(BaseModel):
    """Times in milliseconds."""

    encode_ms: float
    search_ms: float
    documents_ms: float
    total_ms: float


class StageDone(BaseModel):
    """One stage: the number of candidates it returned, its time and the bytes it read."""

    stage: str
    kept: int
    ms: float
    bytes: int


class RankedIds(BaseModel):
    """A ranking of documents."""

    ids: list[str]
    scores: list[float]


class ExactIds(RankedIds):
    """The ranking by full precision."""

    ms: float
    bytes: int


class Explanation(BaseModel):
    """The ranking after each stage, and the ranking by full precision."""

    stages: list[RankedIds]
    exact: ExactIds | None = None


class SearchResponse(BaseModel):
    """The results, the operating point and the times."""

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
    async def search(request: SearchRequest) -> Response:
        """Return the best documents of the index for a query."""
        _check(serving, request)
        point = requested_point(serving, request.model, request.point)
        start = time.perf_counter()
        query = await _vector(serving, request)
        encode_ms = _since(start)
        answer = await serving.searches.run(partial(_found, serving, request, query, point))
        if serving.shadow is not None:
            serving.shadow.offer(_answered(request, query, point, answer))
        answer["timing"] = {
            "encode_ms": encode_ms,
            **answer["timing"],
            "total_ms": _since(start),
        }
        return json_response(answer)

    return router


def _answered(
    request: SearchRequest, query: Embeddings, point: OperatingPoint, answer: dict[str, Any]
) -> AnsweredSearch:
    ids = [hit["id"] for hit in answer["hits"]]
    ms = answer["timing"]["search_ms"]
    return AnsweredSearch(request.query, query, request.k, request.where, point, ids, ms)


def _check(serving: Serving, request: SearchRequest) -> None:
    limits = serving.settings.limits
    if request.k > limits.k:
        problem = f"k={request.k} is too large. Choose a value from 1 to {limits.k}."
        raise bad_request(problem, "k")
    if (request.query is None) == (request.embedding is None):
        raise bad_request("pass either query or embedding, and not both", "query")
    if request.where is not None and not request.where.strip():
        # An empty filter may be an error of a program that restricts users to their documents.
        problem = "where is empty, so it is no filter"
        raise bad_request(f"{problem}. To search all documents, omit it or send null.", "where")
    full_dim = serving.index.info.full_dim
    if request.embedding is not None and len(request.embedding) != full_dim:
        problem = f"embedding has {len(request.embedding)} dims, but the index requires {full_dim}"
        remedy = f"Send the full vector (dimensions={full_dim}); the index truncates it"
        raise bad_request(f"{problem}. {remedy}.", "embedding")


async def _vector(serving: Serving, request: SearchRequest) -> Embeddings:
    if request.query is None:
        with np.errstate(over="ignore"):  # infinite values are refused
            vector = np.array([request.embedding], dtype=np.float32)
        if not vector.any() or not np.isfinite(vector).all():
            problem = "embedding is zero, or has values that float32 cannot represent"
            raise bad_request(f"{problem}. Send a vector of /v1/embeddings.", "embedding")
        return vector
    embedded = await serving.embedder.texts([request.query], "query", "query")
    serving.metrics.on_tokens(embedded.tokens)
    return embedded.vectors


def _found(
    serving: Serving, request: SearchRequest, query: Embeddings, point: OperatingPoint
) -> dict[str, Any]:
    index = serving.index
    start = time.perf_counter()
    explained = index.explain(query, request.k, where=request.where, point=point)
    search_ms = _since(start)
    start = time.perf_counter()
    documents = index.get(explained.hits.ids[0])
    documents_ms = _since(start)
    answer: dict[str, Any] = {
        "object": "search",
        "model": request.model or serving.served.name,
        "point": str(point),
        "hits": _hits(explained.hits, documents),
        "timing": {"search_ms": search_ms, "documents_ms": documents_ms},
        "stages": _stages(explained),
    }
    if request.explain:
        answer["explain"] = {"stages": [_ranked(trace.hits) for trace in explained.stages]}
    if request.explain is True:
        answer["explain"]["exact"] = _exactly(index, request, query)
    return answer


def _exactly(index: Index, request: SearchRequest, query: Embeddings) -> dict[str, Any]:
    start = time.perf_counter()
    exact = index.search(query, request.k, where=request.where, exact=True)
    ms = _since(start)
    itemsize = np.dtype(index.stats().stored).itemsize
    return {**_ranked(exact), "ms": ms, "bytes": len(index) * index.info.full_dim * itemsize}


def _hits(hits: Hits, documents: dict[str, Document]) -> list[dict[str, Any]]:
    # A document that was deleted after the search is omitted.
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
