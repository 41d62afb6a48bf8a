"""Read a query log without relevance labels: drop duplicates, draw a random sample.

Query frequencies are ignored: agreement is measured over distinct queries.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nestvec.data.metadata import MetadataReader
from nestvec.data.records import (
    TEXT_COLUMNS,
    Row,
    id_column_of,
    id_of,
    is_missing,
    metadata_of,
    read_lines,
    read_texts,
    suffix_of,
    text_of,
)
from nestvec.data.tally import Tally
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Metadata

MAX_QUERIES = 4_000
"""Default limit. More queries cost time and narrow the confidence intervals only a little."""


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
    file: int
    line: int
    text: str
    row: Row


def read_query_log(
    path: Path | str | Sequence[Path], *, limit: int | None = MAX_QUERIES, seed: int = 0
) -> QueryLog:
    """Read queries from JSONL, CSV, TSV or Parquet, or from ``.txt`` with one query per line.

    Rows have the column ``text`` or ``query`` and optionally ``_id`` or ``id``. Strings and numbers
    in other columns become fields. Without an id, the id is ``line-<line number>``.

    Args:
        path: The file, or the files of a log in several parts.
        limit: Most distinct queries to return; None for all.
        seed: Seed of the sample if there are more than ``limit``.

    Raises:
        InvalidArgument: If ``limit`` is below 1.
        DataError: If the file is missing or malformed, a sampled id appears twice, or there is no
            query.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else list(path)
    tally = Tally(*paths)
    if limit is not None and limit < 1:
        raise InvalidArgument(f"limit={limit} is below 1. Choose a value of at least 1.")
    seen: set[int] = set()
    kept: list[tuple[int, _LoggedQuery]] = []  # a heap: the largest hash is popped first
    empty = repeated = 0
    for logged in _read(paths, tally):
        draw = hash_of(logged.text, seed)
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
        raise DataError(paths[0], "contains no query")
    queries, fields = _by_id(paths, sorted(each for _, each in kept), tally)
    tally.log()
    counts = {
        "empty_queries": empty,
        "duplicate_queries": repeated,
        "queries_not_sampled": len(seen) - len(kept),
    }
    return QueryLog(queries, fields, counts)


def query_column_of(path: Path, row: Row, *, line: int) -> str:
    """Return the column of a row that contains the query.

    Raises:
        DataError: If there is none.
    """
    column = next((name for name in TEXT_COLUMNS if name in row), None)
    if column is None:
        present = ", ".join(map(str, row))
        problem = f"has no column 'text' or 'query' (has: {present})"
        raise DataError(path, problem, line=line)
    return column


def _read(paths: Sequence[Path], tally: Tally) -> Iterator[_LoggedQuery]:
    for number, path in enumerate(paths):
        if suffix_of(path) == ".txt":
            for line, text in read_lines(path):
                yield _LoggedQuery(number, line, text.strip(), {})
            continue
        for line, row in read_texts(path, tally):
            column = query_column_of(path, row, line=line)
            no_text = is_missing(row[column])  # counted as an empty query
            text = "" if no_text else text_of(path, row, column, line=line)
            others = {key: value for key, value in row.items() if key != column}
            yield _LoggedQuery(number, line, text.strip(), others)


def hash_of(text: str, seed: int) -> int:
    """Return the seeded hash of a text, by which samples are drawn."""
    # The queries with the smallest hashes are a uniform sample of the distinct texts. For all
    # other queries only the hash is stored, so the log can be longer than memory.
    digest = hashlib.blake2b(f"{seed}:{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def _by_id(
    paths: Sequence[Path], kept: list[_LoggedQuery], tally: Tally
) -> tuple[dict[str, str], dict[str, Metadata]]:
    queries: dict[str, str] = {}
    fields: dict[str, Metadata] = {}
    reader = MetadataReader()
    for file, line, text, row in kept:
        path, column = paths[file], id_column_of(row)
        query_id = f"line-{line}" if file == 0 else f"file-{file + 1}-line-{line}"
        if not is_missing(row.get(column)):
            query_id = id_of(path, row, column, line=line, tally=tally)
        if query_id in queries:
            raise DataError(path, f"id {query_id!r} appears twice. Ids must be unique.", line=line)
        queries[query_id] = text
        fields[query_id] = reader.read(query_id, metadata_of(row, (column,)))
    reader.warn(tally.path)
    return queries, fields
