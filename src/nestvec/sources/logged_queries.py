"""Read a log of queries for a search that is in use: texts or vectors, each with a filter.

``data.query_log`` reads the log of an evaluation: texts with fields and without vectors. Here, one
query with two filters is two queries, and frequencies are ignored as well.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nestvec.data.parquet_rows import open_parquet
from nestvec.data.query_log import query_column_of
from nestvec.data.records import (
    Row,
    id_column_of,
    id_of,
    is_missing,
    read_lines,
    read_texts,
    shown_value,
    suffix_of,
    text_of,
)
from nestvec.data.tally import Tally
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources.formats import SUFFIXES
from nestvec.sources.load import load_embeddings
from nestvec.sources.stream import REMEDY, VECTOR_COLUMNS
from nestvec.types import Embeddings

MAX_QUERIES = 500
"""Default limit: an exact search of a database reads every vector once for all queries."""
FILTER_COLUMNS = ("filter", "where")
_COUNTS = (
    "empty_queries",
    "queries_without_labels",
    "duplicate_queries",
    "queries_not_sampled",
)
_BATCH = 1_024  # rows of Parquet that are in memory at a time
_ROW_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, eq=False)
class LoggedQueries:
    """Distinct queries, in the order of the log.

    Attributes:
        path: The file, or a short name if the queries come from elsewhere.
        ids: One id per query; ``line-N`` if the log has none.
        texts: One text per query; "" for a query that is only a vector.
        vectors: float32 [n, dim], as a model returned them; None if the queries are texts.
        filters: One filter per query, such as ``lang = 'de'``; "" for none.
        counts: ``empty_queries``, ``queries_without_labels``, ``duplicate_queries`` and
            ``queries_not_sampled``.
    """

    path: Path | str
    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Embeddings | None
    filters: Sequence[str]
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.ids)


class _Logged(NamedTuple):
    line: int
    name: str | None
    text: str
    vector: Sequence[float] | None
    filter: str

    @property
    def id(self) -> str:
        """The id of the query, or the number of its line."""
        return self.name or f"line-{self.line}"


def read_logged_queries(
    path: Path | str,
    *,
    limit: int | None = MAX_QUERIES,
    seed: int = 0,
    ids: Container[str] | None = None,
) -> LoggedQueries:
    """Read the queries of a log.

    Args:
        path: JSONL, CSV, TSV or Parquet with the columns ``text`` or ``query``, or ``vector`` or
            ``embedding``, and optionally ``id`` and ``filter``; or ``.txt`` with one query per
            line; or a file of vectors, such as ``.npy``. Either all queries have a vector or none.
        limit: Most distinct queries to return, chosen at random; None for all.
        seed: Seed of that choice.
        ids: Read only the queries with these ids; None for all.

    Raises:
        InvalidArgument: If ``limit`` is below 1.
        DataError: If the file is missing or malformed, has no query, or only some have vectors.
    """
    if limit is not None and limit < 1:
        raise InvalidArgument(f"limit={limit} is below 1. Choose a value of at least 1.")
    path = Path(path).expanduser()
    if suffix_of(path) not in (*_ROW_SUFFIXES, ".txt") and _is_vectors(path):
        return _of_vectors(path, limit, seed, ids)
    tally = Tally(path)
    sample = _Sample(limit, seed, ids)
    for query in _read(path, tally):
        sample.add(query)
    kept = sample.queries()
    if not kept:
        labels = "" if ids is None else " with relevance labels. Check the ids"
        raise DataError(path, f"contains no query{labels}")
    tally.log()
    return _collect(path, kept, sample.counts)


class _Sample:
    """A uniform sample of the distinct queries: those with the smallest hashes."""

    def __init__(self, limit: int | None, seed: int, ids: Container[str] | None) -> None:
        self._limit, self._seed, self._ids = limit, seed, ids
        self._seen: set[int] = set()
        self._kept: list[tuple[int, _Logged]] = []  # a heap: the largest hash is popped first
        self.counts = dict.fromkeys(_COUNTS, 0)

    def add(self, query: _Logged) -> None:
        """Add a query, or count why it is left out."""
        draw = _draw(query, self._seed)
        if query.vector is None and not query.text:
            self.counts["empty_queries"] += 1
        elif self._ids is not None and query.id not in self._ids:
            self.counts["queries_without_labels"] += 1
        elif draw in self._seen:
            self.counts["duplicate_queries"] += 1
        else:
            self._seen.add(draw)
            heapq.heappush(self._kept, (-draw, query))
            if self._limit is not None and len(self._kept) > self._limit:
                heapq.heappop(self._kept)
                self.counts["queries_not_sampled"] += 1

    def queries(self) -> list[_Logged]:
        """Return the queries in the order of the log."""
        return sorted((query for _, query in self._kept), key=lambda each: each.line)


def _collect(path: Path, kept: Sequence[_Logged], counts: Mapping[str, int]) -> LoggedQueries:
    ids = [query.id for query in kept]
    if len(set(ids)) != len(ids):
        repeated = next(id_ for n, id_ in enumerate(ids) if id_ in ids[:n])
        raise DataError(path, f"id {repeated!r} appears twice. Ids must be unique.")
    texts = [query.text for query in kept]
    return LoggedQueries(path, ids, texts, _matrix(path, kept), [q.filter for q in kept], counts)


def _matrix(path: Path, kept: Sequence[_Logged]) -> Embeddings | None:
    first = kept[0]
    dim = None if first.vector is None else len(first.vector)
    for query in kept:
        width = None if query.vector is None else len(query.vector)
        if width == dim:
            continue
        if width is None or dim is None:
            have, lack = (query, first) if dim is None else (first, query)
            problem = f"line {have.line} has a vector, but line {lack.line} has none."
            raise DataError(path, f"{problem} Store the vectors of all queries, or only texts.")
        problem = f"the vector has {width} numbers, but the first has {dim}. {REMEDY}"
        raise DataError(path, problem, line=query.line)
    if dim is None:
        return None
    with np.errstate(over="ignore"):
        values: Embeddings = np.array([query.vector for query in kept], dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        line = kept[bad[0]].line
        raise DataError(path, f"the vector has NaN or infinite numbers. {REMEDY}", line=line)
    return values


def _is_vectors(path: Path) -> bool:
    return any(suffix_of(path) in suffixes for suffixes in SUFFIXES.values())


def _of_vectors(
    path: Path, limit: int | None, seed: int, ids: Container[str] | None
) -> LoggedQueries:
    stored = load_embeddings(path, kind="query")
    rows = np.arange(len(stored))
    if ids is not None:
        rows = rows[[id_ in ids for id_ in stored.ids]]
    n = len(rows)
    if not n:
        raise DataError(path, "contains no query with relevance labels. Check the ids")
    if limit is not None and limit < n:
        rows = rows[np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))]
    values = np.asarray(stored.values[rows], dtype=np.float32)
    empty = [""] * len(rows)
    counts = {"queries_without_labels": len(stored) - n, "queries_not_sampled": n - len(rows)}
    return LoggedQueries(path, [stored.ids[int(row)] for row in rows], empty, values, empty, counts)


def _read(path: Path, tally: Tally) -> Iterator[_Logged]:
    if suffix_of(path) == ".txt":
        for line, text in read_lines(path):
            yield _Logged(line, None, text.strip(), None, "")
        return
    for line, row in _rows(path, tally):
        yield _logged(path, row, line, tally)


def _rows(path: Path, tally: Tally) -> Iterator[tuple[int, Row]]:
    """Yield rows with their vectors, which ``read_texts`` leaves out of Parquet files."""
    if suffix_of(path) != ".parquet" or not path.is_file():
        yield from read_texts(path, tally)
        return
    with open_parquet(path) as file:
        batches = file.iter_batches(batch_size=_BATCH)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)


def _logged(path: Path, row: Row, line: int, tally: Tally) -> _Logged:
    vector = _column(row, VECTOR_COLUMNS)
    filter_ = _column(row, FILTER_COLUMNS)
    text, used = "", {vector, filter_, id_column_of(row)}
    if vector is None or any(name in row for name in ("text", "query")):
        column = query_column_of(path, row, line=line)
        used.add(column)
        text = "" if is_missing(row[column]) else text_of(path, row, column, line=line).strip()
    for other in row.keys() - used:
        tally.add(f"values of column {other!r}, not used", row[other])
    condition = "" if filter_ is None or is_missing(row[filter_]) else row[filter_]
    if not isinstance(condition, str):
        problem = f"{filter_!r} must be a string such as \"lang = 'de'\", not "
        raise DataError(path, problem + shown_value(condition), line=line)
    name: str | None = None
    if not is_missing(row.get(id_column_of(row))):
        name = id_of(path, row, id_column_of(row), line=line, tally=tally)
    values = None if vector is None else _vector(path, row[vector], line)
    return _Logged(line, name, text, values, condition.strip())


def _column(row: Row, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _vector(path: Path, value: object, line: int) -> Sequence[float] | None:
    """Return a vector of a row, which is text in CSV; None if it is missing."""
    if is_missing(value) or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = ()
    if not isinstance(value, list) or not all(_is_number(each) for each in value) or not value:
        raise DataError(path, "the vector is not a list of numbers, such as [0.1, -0.2]", line=line)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _draw(query: _Logged, seed: int) -> int:
    """Return a hash of a query; the queries with the smallest are a uniform sample."""
    content = query.text if query.vector is None else query.vector
    text = json.dumps([seed, content, query.filter])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
