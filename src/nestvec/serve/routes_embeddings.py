"""``POST /v1/embeddings`` as in the OpenAI API, with two more formats and ``input_type``.

Fields of other servers that change no vector are ignored, so that clients of these servers work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Discriminator, Field, Tag

from nestvec.errors import InvalidArgument
from nestvec.serve.embedder import Embedded
from nestvec.serve.encodings import Format, format_vectors
from nestvec.serve.errors import bad_request, documented
from nestvec.serve.json_body import JsonRoute, json_response
from nestvec.serve.request_body import RequestBody
from nestvec.serve.serving import Serving
from nestvec.serve.tiers import requested
from nestvec.types import Kind, OperatingPoint

_LONG = 16  # vectors; larger responses are serialized in a thread

Text = Annotated[str, Field(min_length=1)]
Token = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Tokens = Annotated[list[Token], Field(min_length=1)]

InputType = Literal["document", "query", "passage", "search_document", "search_query"]
_KINDS: Mapping[InputType, Kind] = {
    "document": "document",
    "query": "query",
    "passage": "document",  # NVIDIA NIM
    "search_document": "document",  # Cohere
    "search_query": "query",  # Cohere
}

_PROXY = "an option of LiteLLM's proxy"
_LABELS = "labels for the log of LiteLLM's proxy"
_IGNORED: Mapping[str, str] = {
    "drop_params": f"{_PROXY}, which RAGFlow sends to all servers",
    "allowed_openai_params": _PROXY,
    "caching": _PROXY,
    "num_retries": _PROXY,
    "timeout": _PROXY,
    "litellm_metadata": _LABELS,
    "litellm_session_id": _LABELS,
    "litellm_trace_id": _LABELS,
    "metadata": _LABELS,
    "tags": _LABELS,
    "priority": "the order in which vLLM computes requests",
    "request_id": "a label for the log of vLLM",
    "keep_alive": "how long Ollama keeps the model in memory",
    "ttl": "how long LM Studio keeps the model in memory",
}
"""Fields of other servers' APIs that change no vector. All other unknown fields are refused."""


def _shape(given: Any) -> str:
    """Return the form of an input, so that a validation error is about this form only."""
    if not isinstance(given, list):
        return "a text"
    first = given[0] if given else ""
    if isinstance(first, list):
        return "lists of tokens"
    return "a list of tokens" if isinstance(first, int | float) else "a list of texts"


class EmbeddingsRequest(RequestBody):
    """A request of the OpenAI API."""

    ignored_fields = _IGNORED

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
    input_type: InputType | None = None


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
        tier, kind = requested(serving.served, request.model)
        dim = _dim(serving, request, tier)
        embedded = await _embedded(serving, request, _kind(request, kind))
        serving.metrics.on_tokens(embedded.tokens)

        def write() -> Response:
            return json_response(_answer(serving, request, embedded, dim))

        return await serving.searches.run(write) if len(embedded.vectors) > _LONG else write()

    return router


def _dim(serving: Serving, request: EmbeddingsRequest, tier: str | None) -> int:
    served = serving.served
    full_dim, dim = served.info.full_dim, request.dimensions
    if dim is None:
        return serving.default_dim(tier)
    if dim > full_dim:
        problem = f"dimensions={dim} is larger than full_dim={full_dim} of {served.name}"
        raise bad_request(f"{problem}. Choose {served.trained_dims_text}.", "dimensions")
    try:
        served.check_truncation(OperatingPoint.single(dim, "float32"))
    except InvalidArgument as error:
        raise bad_request(str(error), "dimensions") from error
    if not serving.accepts_dim(dim):
        raise bad_request(
            f"dimensions={dim} is not a trained width of {served.name}. Choose "
            f"{served.trained_dims_text}, or start the server with --allow-any-dimension.",
            "dimensions",
        )
    return dim


def _kind(request: EmbeddingsRequest, named: Kind | None) -> Kind:
    """Return the kind of the texts, from the field or the suffix of the model name."""
    given = None if request.input_type is None else _KINDS[request.input_type]
    if given and named and given != named:
        problem = f"input_type={request.input_type!r} contradicts model={request.model!r}"
        raise bad_request(f"{problem}. Omit one of them.", "input_type")
    return given or named or "document"


async def _embedded(serving: Serving, request: EmbeddingsRequest, kind: Kind) -> Embedded:
    embedder = serving.embedder
    given: Any = request.input
    one = isinstance(given, str) or isinstance(given[0], int)
    items, field = ([given], "input") if one else (given, "input.{}")
    limit = serving.settings.limits.items
    if len(items) > limit:
        problem = f"input has {len(items):,} items, more than the limit of {limit:,}"
        raise bad_request(f"{problem}. Send fewer per request.", "input")
    if isinstance(items[0], str):
        return await embedder.texts(items, kind, field)
    return await embedder.tokens(items, kind, field)


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
