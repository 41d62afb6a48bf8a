"""Searches of one collection: candidates with their scores, and enough of them for equal scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nestvec.engines.milvus.collections import EMBEDDING, ID, MOST_RESULTS
from nestvec.engines.milvus.connection import CALL_S, Connection
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

_ANSWER_BYTES = 16_000_000  # of one answer of Milvus, about
_KEY_BYTES = 100
_EQUAL = 1e-6  # scores that Milvus may order either way
_WIDENED = 4


class Found(NamedTuple):
    """The candidates of one query, best first.

    Attributes:
        keys: Their primary keys.
        vectors: Their vectors, [n, dim]; None if they were not requested.
    """

    keys: list[str]
    vectors: Embeddings | None


class Request(NamedTuple):
    """What is searched.

    Attributes:
        collection: The name of a collection.
        expression: The filter; "" for all rows.
        ef_search: The width of the search in an HNSW index; other indexes ignore it.
        vectors: Whether to return vectors.
    """

    collection: str
    expression: str
    ef_search: int
    vectors: bool


def check_wanted(wanted: int) -> None:
    """Check the number of candidates against the limit of Milvus.

    Raises:
        InvalidArgument: If Milvus does not return so many.
    """
    if wanted > MOST_RESULTS:
        problem = f"{wanted:,} documents are more than the {MOST_RESULTS:,} that Milvus returns."
        raise InvalidArgument(f"{problem} Use a smaller k, and smaller shortlists.")


def nearest(
    connection: Connection, request: Request, queries: Embeddings, wanted: int
) -> list[Found]:
    """Return at least the best ``wanted`` rows of each query, if as many match.

    A few more rows are requested, because Milvus rounds scores. If all of these have equal scores,
    the search is repeated for more, so that the caller can order them.
    """
    limit = min(MOST_RESULTS, max(int(1.25 * wanted), wanted + 32))
    found: list[Found | None] = [None] * len(queries)
    left = list(range(len(queries)))
    while left:
        answers = _answers(connection, request, queries[left], limit)
        undecided = []
        for row, hits in zip(left, answers, strict=True):
            full = len(hits) == limit < MOST_RESULTS
            if full and hits[wanted - 1]["distance"] - hits[-1]["distance"] < _EQUAL:
                undecided.append(row)
            else:
                found[row] = _found(hits, queries.shape[1], vectors=request.vectors)
        left, limit = undecided, min(MOST_RESULTS, limit * _WIDENED)
    return [each for each in found if each is not None]


def _answers(
    connection: Connection, request: Request, queries: Embeddings, limit: int
) -> list[Sequence[Any]]:
    size = _KEY_BYTES + (4 * queries.shape[1] if request.vectors else 0)
    step = max(1, _ANSWER_BYTES // (limit * size))
    answers: list[Sequence[Any]] = []
    for start in range(0, len(queries), step):
        answers += _answer(connection, request, queries[start : start + step], limit)
    return answers


def _answer(
    connection: Connection, request: Request, queries: Embeddings, limit: int
) -> list[Sequence[Any]]:
    width = {"ef": max(request.ef_search, limit)}
    return list(
        connection.run(
            lambda client: client.search(
                request.collection,
                list(queries),
                filter=request.expression,
                limit=limit,
                output_fields=[EMBEDDING] if request.vectors else [ID],
                anns_field=EMBEDDING,
                search_params={"metric_type": "IP", "params": width},
                consistency_level=connection.location.level,
                timeout=CALL_S,
            )
        )
    )


def _found(hits: Sequence[Any], dim: int, *, vectors: bool) -> Found:
    keys = [str(hit[ID]) for hit in hits]
    if not vectors:
        return Found(keys, None)
    rows = [hit["entity"][EMBEDDING] for hit in hits]
    return Found(keys, np.asarray(rows, dtype=np.float32).reshape(len(rows), dim))
