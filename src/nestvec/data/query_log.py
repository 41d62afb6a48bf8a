"""Read a query log without relevance labels: drop duplicates, draw a random sample.

Query frequencies are ignored: agreement is measured over distinct queries.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nestvec.data.records import (
    Row,
    metadata_of,
    new_id_of,
    read_lines,
    read_records,
    suffix_of,
    text_of,
)
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Metadata

MAX_QUERIES = 4_000
"""Default limit. More queries cost time and narrow the confidence intervals only a little."""

_COLUMNS = ("text", "query")


@dataclass(frozen=True)
class QueryLog:
    """Distinct queries, in file order.

    Attributes:
        queries: Query texts by id.
        fields: Values of the other columns, by id.
        counts: ``empty_queries``, ``duplicate_queries`` and ``queries_not_sampled`` (distinct
            queries beyond the limit).
    """

    queries: dict[str, str]
    fields: dict[str, Metadata]
    counts: dict[str, int]


class _LoggedQuery(NamedTuple):
    line: int
    text: str
    row: Row


def read_query_log(path: Path | str, *, limit: int | None = MAX_QUERIES, seed: int = 0) -> QueryLog:
    """Read queries from JSONL, CSV, TSV or Parquet, or from ``.txt`` with one query per line.

    Rows have the column ``text`` or ``query`` and optionally ``_id``. Strings and numbers in other
    columns become fields. Without ``_id``, the id is ``line-<line number>``.

    Args:
        path: The file.
        limit: Most distinct queries to return; None for all.
        seed: Seed of the sample if there are more than ``limit``.

    Raises:
        InvalidArgument: If ``limit`` is below 1.
        DataError: If the file is missing or malformed, a sampled id appears twice, or there is no
            query.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise InvalidArgument(f"limit={limit} is below 1. Choose a value of at least 1.")
    seen: set[int] = set()
    kept: list[tuple[int, _LoggedQuery]] = []  # a heap: the largest hash is popped first
    empty = repeated = 0
    for logged in _read(path):
        draw = _draw(logged.text, seed)
        if not logged.text:
            empty += 1
        elif draw in seen:
            repeated += 1
        else:
            seen.add(draw)
            heapq.heappush(kept, (-draw, logged))
            if limit is not None and len(kept) > limit:
                heapq.heappop(kept)
    if not kept:
        raise DataError(path, "contains no query")
    queries, fields = _by_id(path, sorted(logged for _, logged in kept))
    counts = {
        "empty_queries": empty,
        "duplicate_queries": repeated,
        "queries_not_sampled": len(seen) - len(kept),
    }
    return QueryLog(queries, fields, counts)


def _read(path: Path) -> Iterator[_LoggedQuery]:
    if suffix_of(path) == ".txt":
        for line, text in read_lines(path):
            yield _LoggedQuery(line, text.strip(), {})
        return
    for line, row in read_records(path):
        column = next((name for name in _COLUMNS if name in row), None)
        if column is None:
            present = ", ".join(map(str, row))
            problem = f"has no column 'text' or 'query' (has: {present})"
            raise DataError(path, problem, line=line)
        text = "" if row[column] is None else text_of(path, row, column, line=line)
        others = {key: value for key, value in row.items() if key != column}
        yield _LoggedQuery(line, text.strip(), others)


def _draw(text: str, seed: int) -> int:
    # The queries with the smallest hashes are a uniform sample of the distinct texts. For all
    # other queries only the hash is stored, so the log can be longer than memory.
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _by_id(path: Path, kept: list[_LoggedQuery]) -> tuple[dict[str, str], dict[str, Metadata]]:
    queries: dict[str, str] = {}
    fields: dict[str, Metadata] = {}
    for line, text, row in kept:
        named = row if "_id" in row else {"_id": f"line-{line}"}
        query_id = new_id_of(path, named, "_id", queries, line=line)
        queries[query_id] = text
        fields[query_id] = metadata_of(row, ("_id",))
    return queries, fields
