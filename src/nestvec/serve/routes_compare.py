"""``POST /v1/compare``: cosine similarities of texts at several numbers of dims."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from nestvec.codec.prefix import prefix_scores
from nestvec.serve.errors import bad_request, documented
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.request_body import RequestBody
from nestvec.serve.serving import Serving
from nestvec.types import Embeddings, Kind

Text = Annotated[str, Field(min_length=1)]
Dim = Annotated[int, Field(ge=1, strict=True)]


class CompareRequest(RequestBody):
    """Texts to compare with each other."""

    texts: Annotated[list[Text], Field(min_length=2, max_length=32)]
    dims: Annotated[list[Dim], Field(min_length=1, max_length=32)] | None = None
    precision: Literal["float32"] = "float32"


class CompareResponse(BaseModel):
    """A matrix of cosine similarities for each number of dims."""

    object: str
    dims: list[int]
    matrices: list[list[list[float]]]


def compare_router(serving: Serving) -> APIRouter:
    """Return the route."""
    router = APIRouter(route_class=JsonRoute, tags=["compare"], responses=documented(400))
    served = serving.served

    @router.post("/v1/compare", response_model=CompareResponse)
    async def compare(request: CompareRequest) -> Response:
        """Compare texts with each other at each number of dims."""
        dims = request.dims or served.info.dims
        full_dim = served.info.full_dim
        if max(dims) > full_dim:
            problem = f"dims={max(dims)} is larger than full_dim={full_dim} of {served.name}"
            raise bad_request(problem, "dims")
        kind: Kind = "document" if "document" in serving.embedder.kinds else "query"
        embedded = await serving.embedder.texts(request.texts, kind, "texts.{}")
        matrices = partial(_matrices, serving, embedded.vectors, sorted({*dims}, reverse=True))
        return json_response(await serving.searches.run(matrices))

    return router


def _matrices(serving: Serving, vectors: Embeddings, dims: list[int]) -> dict[str, Any]:
    layer_norm = serving.served.info.layer_norm
    by_dim = {
        dim: scores.copy()
        for dim, scores in prefix_scores(vectors, vectors, dims, layer_norm=layer_norm)
    }
    return {"object": "comparison", "dims": dims, "matrices": [by_dim[dim] for dim in dims]}
