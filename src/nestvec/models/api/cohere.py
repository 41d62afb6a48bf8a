"""The second version of the API of Cohere."""

from __future__ import annotations

from typing import Any

from nestvec.models.api.dialect import Body, Dialect, RawAnswer, TextRequest


def _path(model: str) -> str:
    return "embed"


def _body(request: TextRequest) -> Body:
    body: Body = {
        "texts": list(request.texts),
        "model": request.model,
        "input_type": request.input_type,
        "embedding_types": ["float"],
        "truncate": "END",
    }
    return body if request.dim is None else {**body, "output_dimension": request.dim}


def _read(answer: Any) -> RawAnswer:
    return RawAnswer(answer["embeddings"]["float"])


COHERE = Dialect(
    name="cohere",
    base_url="https://api.cohere.com/v2",
    keys=("CO_API_KEY", "COHERE_API_KEY"),
    path=_path,
    body=_body,
    read=_read,
    texts=96,
    tokens=50_000,
    input_types={"query": "search_query", "document": "search_document"},
    requests_width=True,
)
