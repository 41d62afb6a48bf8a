"""``POST /v1/embeddings`` as in the OpenAI API, with two more formats and ``input_type``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from nestvec.serve.embedder import Embedded
from nestvec.serve.encodings import Format, format_vectors
from nestvec.serve.errors import bad_request, documented
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import requested_tier
from nestvec.types import Kind

_LONG = 16  # vectors; larger responses are serialized in a thread

Text = Annotated[str, Field(min_length=1)]
Token = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Tokens = Annotated[list[Token], Field(min_length=1)]


def _shape(given: Any) -> str:
    """Return the form of an input, so that a validation error is about this form only."""
    if not isinstance(given, list):
        return "a text"
    first = given[0] if given else ""
    if isinstance(first, list):
        return "lists of tokens"
    return "a list of tokens" if isinstance(first, int | float) else "a list of texts"


class EmbeddingsRequest(BaseModel):
    """A request of the OpenAI API."""

    model_config = ConfigDict(extra="forbid")

    input: Annotated[
        Annotated[Text, Tag("a text")]
        | Annotated[list[Text], Field(min_length=1), Tag("a list of texts")]
        | Annotated[Tokens, Tag("a list of tokens")]
        | Annotated[list[Tokens], Field(min_length=1), Tag("lists of tokens")],
        Discriminator(_shape),
    ]
    model: str
    dimensions: Annotated[int, Field(ge=1, strict=True)] | None = None
    encoding_format: Format = "float"
    user: str | None = None
    input_type: Kind = "document"


class Embedding(BaseModel):
    """One vector of the response."""

    object: str
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Number of tokens, after truncation of long texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """A response of the OpenAI API."""

    object: str
    data: list[Embedding]
    model: str
    usage: Usage


def embeddings_router(serving: Serving) -> APIRouter:
    """Return the route."""
    router = APIRouter(route_class=JsonRoute, tags=["embeddings"], responses=documented(400, 404))

    @router.post("/v1/embeddings", response_model=EmbeddingsResponse)
    async def create_embeddings(request: EmbeddingsRequest) -> Response:
        """Encode texts; return the first `dimensions` of each vector, renormalized."""
        dim = _dim(serving, request)
        embedded = await _embedded(serving, request)
        serving.metrics.on_tokens(embedded.tokens)

        def write() -> Response:
            return json_response(_answer(serving, request, embedded, dim))

        return await serving.searches.run(write) if len(embedded.vectors) > _LONG else write()

    return router


def _dim(serving: Serving, request: EmbeddingsRequest) -> int:
    served = serving.served
    tier = requested_tier(served, request.model)
    full_dim, dim = served.info.full_dim, request.dimensions
    if dim is None:
        return full_dim if tier is None else max(stage.dim for stage in served.tiers[tier].stages)
    if dim > full_dim:
        problem = f"dimensions={dim} is larger than full_dim={full_dim} of {served.name}"
        raise bad_request(problem, "dimensions")
    if dim not in served.trained_dims and not serving.settings.allow_any_dimension:
        trained = ", ".join(map(str, served.trained_dims))
        raise bad_request(
            f"dimensions={dim} is not a trained width of {served.name}. Choose one of {trained}, "
            "or start the server with --allow-any-dimension.",
            "dimensions",
        )
    return dim


async def _embedded(serving: Serving, request: EmbeddingsRequest) -> Embedded:
    embedder = serving.embedder
    given: Any = request.input
    items = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    limit = serving.settings.limits.items
    if len(items) > limit:
        problem = f"input has {len(items):,} items, more than the limit of {limit:,}"
        raise bad_request(f"{problem}. Send fewer per request.", "input")
    if isinstance(items[0], str):
        return await embedder.texts(items, request.input_type)
    return await embedder.tokens(items)


def _answer(
    serving: Serving, request: EmbeddingsRequest, embedded: Embedded, dim: int
) -> dict[str, Any]:
    vectors = format_vectors(embedded.vectors, dim, request.encoding_format, serving.served)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": vector}
            for number, vector in enumerate(vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
