"""The API of Google's Gemini: a request for each text, sent together in a batch."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nestvec.models.api.dialect import Body, Dialect, RawAnswer, TextRequest

# This model reads the task from a prompt. The table of known models contains its prompts.
_WITHOUT_TASK_TYPE = "gemini-embedding-2"


def _path(model: str) -> str:
    return f"models/{quote(model, safe='')}:batchEmbedContents"


def _body(request: TextRequest) -> Body:
    shared: Body = {"model": f"models/{request.model}"}
    if not request.model.startswith(_WITHOUT_TASK_TYPE):
        shared["taskType"] = request.input_type
    if request.dim is not None:
        shared["outputDimensionality"] = request.dim
    return {
        "requests": [
            {**shared, "content": {"parts": [{"text": text}], "role": "user"}}
            for text in request.texts
        ]
    }


def _read(answer: Any) -> RawAnswer:
    return RawAnswer([entry["values"] for entry in answer["embeddings"]])


GEMINI = Dialect(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1",
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    header="x-goog-api-key",
    path=_path,
    body=_body,
    read=_read,
    texts=100,
    tokens=20_000,
    input_types={"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"},
    requests_width=True,
)
