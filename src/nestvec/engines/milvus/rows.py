"""Documents as rows of Milvus: encoded ids, tokens for filters, and the document as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.milvus import ORDERED, TOKENS, encoded
from nestvec.engines.filters.tokens import text_code
from nestvec.engines.milvus.collections import DOCUMENT, EMBEDDING, ID, LONGEST_TEXT, MOST_ITEMS
from nestvec.errors import InvalidArgument
from nestvec.sources.ids import code_text
from nestvec.types import Document

PIECE = 16_000
"""Characters of one text of a document; at most 4 bytes each."""
LONGEST_DOCUMENT = 4_000_000
"""Bytes of a document: a message of Milvus has at most 5 MB."""

Row = dict[str, Any]


def key_of(id_: str) -> str:
    """Return the primary key of an id: ASCII text, for any id."""
    return text_code(id_)


def id_of(key: str) -> str:
    """Return the id of a primary key."""
    return code_text(key)


def keys_expression(keys: Sequence[str]) -> str:
    """Return the expression of rows with one of some primary keys."""
    return f"{ID} in {json.dumps(list(keys))}"


def document_rows(added: Mapping[str, Document], vectors: NDArray[np.floating]) -> list[Row]:
    """Return the rows of documents.

    Raises:
        InvalidArgument: If an id, a text or metadata exceed a limit of Milvus.
    """
    wide = vectors.astype(np.float32, copy=False)
    return [
        _row(id_, document, vector)
        for (id_, document), vector in zip(added.items(), wide, strict=True)
    ]


def prefix_rows(rows: Sequence[Row], prefixes: NDArray[np.float32]) -> list[Row]:
    """Return the rows of a collection of prefixes."""
    return [
        {ID: row[ID], EMBEDDING: vector, TOKENS: row[TOKENS], ORDERED: row[ORDERED]}
        for row, vector in zip(rows, prefixes, strict=True)
    ]


def read_document(pieces: Sequence[str]) -> Document:
    """Return the document of its texts."""
    title, text, metadata = json.loads("".join(pieces))
    return Document(text, title, metadata)


def _row(id_: str, document: Document, vector: NDArray[np.float32]) -> Row:
    key, filtered = key_of(id_), encoded(document.metadata)
    _check(id_, "its id has {:,} bytes", len(key), LONGEST_TEXT)
    _check(id_, "its metadata has {:,} values", len(filtered[TOKENS]), MOST_ITEMS)
    _check(id_, "its metadata has {:,} bytes", len(json.dumps(filtered[ORDERED])), LONGEST_TEXT)
    return {ID: key, EMBEDDING: vector, **filtered, DOCUMENT: _pieces(id_, document)}


def _pieces(id_: str, document: Document) -> list[str]:
    values = [document.title, document.text, dict(document.metadata)]
    text = json.dumps(values, ensure_ascii=False)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        text = json.dumps(values)
        size = len(text)
    _check(id_, "it has {:,} bytes", size, LONGEST_DOCUMENT)
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def _check(id_: str, problem: str, number: int, limit: int) -> None:
    if number > limit:
        text = f"document {id_!r:.60}: {problem.format(number)}, and Milvus stores {limit:,}."
        raise InvalidArgument(f"{text} Split or shorten the document.")
