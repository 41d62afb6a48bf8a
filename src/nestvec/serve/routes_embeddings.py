"""``POST /v1/embeddings``, as OpenAI defines it, with two encodings and the kind of text added."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from nestvec.serve.embedder import Embedded
from nestvec.serve.encodings import Format, written
from nestvec.serve.errors import documented, refused
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import tier_of
from nestvec.types import Kind

_LONG = 16  # vectors: writing more is left to a thread

Text = Annotated[str, Field(min_length=1)]
Token = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Tokens = Annotated[list[Token], Field(min_length=1)]


def _shape(given: Any) -> str:
    """Say which form an input has, so that what is wrong is told of that form alone."""
    if not isinstance(given, list):
        return "a text"
    first = given[0] if given else ""
    if isinstance(first, list):
        return "lists of tokens"
    return "a list of tokens" if isinstance(first, int | float) else "a list of texts"


class EmbeddingsRequest(BaseModel):
    """What OpenAI's clients send."""

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
    """One vector of the answer."""

    object: str
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens, after long texts were cut."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """What OpenAI's clients read."""

    object: str
    data: list[Embedding]
    model: str
    usage: Usage


def embeddings_router(serving: Serving) -> APIRouter:
    """Return the route."""
    router = APIRouter(route_class=JsonRoute, tags=["embeddings"], responses=documented(400, 404))

    @router.post("/v1/embeddings", response_model=EmbeddingsResponse)
    async def create_embeddings(asked: EmbeddingsRequest) -> Response:
        """Encode texts; return the first `dimensions` of each vector, renormalized."""
        dim = _dim(serving, asked)
        embedded = await _embedded(serving, asked)
        serving.metrics.on_tokens(embedded.tokens)

        def write() -> Response:
            return json_response(_answer(serving, asked, embedded, dim))

        return await serving.searches.run(write) if len(embedded.vectors) > _LONG else write()

    return router


def _dim(serving: Serving, asked: EmbeddingsRequest) -> int:
    served = serving.served
    tier = tier_of(served, asked.model)
    full_dim, dim = served.info.full_dim, asked.dimensions
    if dim is None:
        return full_dim if tier is None else max(stage.dim for stage in served.tiers[tier].stages)
    if dim > full_dim:
        raise refused(f"dimensions {dim} > {full_dim} of {served.name}", "dimensions")
    if dim not in served.trained_dims and not serving.settings.allow_any_dimension:
        trained = ", ".join(map(str, served.trained_dims))
        raise refused(
            f"dimensions {dim} is not one that {served.name} was trained for: ask for {trained}, "
            "or let the server be started with --allow-any-dimension",
            "dimensions",
        )
    return dim


async def _embedded(serving: Serving, asked: EmbeddingsRequest) -> Embedded:
    embedder = serving.embedder
    given: Any = asked.input
    items = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    limit = serving.settings.limits.items
    if len(items) > limit:
        raise refused(f"input: {len(items):,} items > {limit:,}: send fewer at a time", "input")
    if isinstance(items[0], str):
        return await embedder.texts(items, asked.input_type)
    return await embedder.tokens(items)


def _answer(
    serving: Serving, asked: EmbeddingsRequest, embedded: Embedded, dim: int
) -> dict[str, Any]:
    vectors = written(embedded.vectors, dim, asked.encoding_format, serving.served)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": vector}
            for number, vector in enumerate(vectors)
        ],
        "model": asked.model,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }
