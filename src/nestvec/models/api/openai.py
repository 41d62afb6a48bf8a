"""The API of OpenAI, which many servers and vendors implement, and its variants.

Voyage's API and the server ``nestvec serve`` have the same format with additional fields.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nestvec.models.api.dialect import Body, Dialect, RawAnswer, TextRequest


def _path(model: str) -> str:
    return "embeddings"


def _openai_body(request: TextRequest) -> Body:
    # The default width is the full width. Older models and many servers refuse ``dimensions``.
    return {"input": list(request.texts), "model": request.model, "encoding_format": "base64"}


def _nestvec_body(request: TextRequest) -> Body:
    return {**_openai_body(request), "input_type": request.input_type}


def _voyage_body(request: TextRequest) -> Body:
    body = {**_nestvec_body(request), "truncation": True, "output_dtype": "float"}
    return body if request.dim is None else {**body, "output_dimension": request.dim}


def _read(answer: Any) -> RawAnswer:
    data = answer["data"]
    indexes = [entry.get("index") for entry in data]
    return RawAnswer(
        vectors=[entry["embedding"] for entry in data],
        indexes=None if all(index is None for index in indexes) else indexes,
        model=answer.get("model") or "",
    )


OPENAI = Dialect(
    name="openai",
    base_url="https://api.openai.com/v1",
    keys=("OPENAI_API_KEY",),
    path=_path,
    body=_openai_body,
    read=_read,
    texts=256,  # the API accepts 2,048
    tokens=50_000,  # the API accepts 300,000
    base_url_variable="OPENAI_BASE_URL",
)
_WITH_INPUT_TYPES = replace(
    OPENAI, input_types={"query": "query", "document": "document"}, base_url_variable=""
)
VOYAGE = replace(
    _WITH_INPUT_TYPES,
    name="voyage",
    base_url="https://api.voyageai.com/v1",
    keys=("VOYAGE_API_KEY",),
    body=_voyage_body,
    texts=128,
    tokens=40_000,  # the strictest limit of a model is 120,000
    requests_width=True,
)
NESTVEC = replace(
    _WITH_INPUT_TYPES, name="nestvec", base_url="", keys=(), body=_nestvec_body, has_prompts=True
)
