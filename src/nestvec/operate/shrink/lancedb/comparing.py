"""Compare a search by an operating point with exact answers, in one version of the table.

One scan reads all vectors with their prefixes. The scan ranks the exact answers of sampled queries,
and counts the rows whose prefix does not belong to their vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.engines.fitting import K, fit, mean_overlap, queries_between
from nestvec.engines.lancedb.indexes import tried_nprobes
from nestvec.engines.lancedb.rows import vectors_of
from nestvec.operate.exact import ExactSearch, LiveQueries, ScannedRows
from nestvec.operate.shrink.lancedb.records import LanceRecord, PrefixSearch
from nestvec.operate.shrink.lancedb.searching import LancePointSearch, TableVersion
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.postgresql.comparing import sampled_queries
from nestvec.sources.lance_tables import read_pages
from nestvec.sources.stream import block_rows
from nestvec.types import Embeddings, Hits, OnProgress, Stage

_ROW_ID = "_rowid"
_ROUNDING = {"float16": 2e-3, "float32": 2e-6}  # of a value of a unit vector


class ComparedSearch(NamedTuple):
    """The fitted search, overlap@10 with exact answers, and what the scan has found.

    Attributes:
        path: The first stage, with the fitted number of partitions.
        overlap: overlap@10 with exact answers.
        queries: The number of queries.
        outdated: The number of rows whose prefix does not belong to their vector.
    """

    path: PrefixSearch
    overlap: float
    queries: int
    outdated: int


def compare_search(
    session: LanceSession,
    record: LanceRecord,
    path: PrefixSearch,
    sample: Embeddings,
    on_progress: OnProgress | None,
) -> ComparedSearch:
    """Fit the number of partitions, and compare the search with exact answers.

    Args:
        session: The table.
        record: The record of the shrink.
        path: The first stage; ``partition_rows`` is None without an index.
        sample: Vectors of sampled rows, [n, dim].
        on_progress: Is called with the number of rows scanned and in total.
    """
    version = TableVersion.of(session, path.column)
    rows = int(version.table.count_rows())
    sample = sample[np.any(sample != 0, axis=1)][: sampled_queries(rows)]
    queries = queries_between(sample)
    answers, outdated = _scan(session, record, path, version.table, queries, on_progress)
    found = Hits([], [])

    def search(nprobes: int | None) -> Hits:
        nonlocal found
        by_point = LancePointSearch(session, record, replace(path, nprobes=nprobes), version)
        pairs = [by_point.answers(query, K) for query in queries]
        found = Hits([ids for ids, _ in pairs], [scores for _, scores in pairs])
        return found

    expected = search(None)
    if path.partition_rows is None:
        return ComparedSearch(path, _overlap(answers, found), len(queries), outdated)
    partitions = math.ceil(rows / path.partition_rows)
    fitted = fit(record.stages, tried_nprobes(partitions), search, expected)
    own = replace(path, nprobes=fitted.width)
    return ComparedSearch(own, _overlap(answers, found), len(queries), outdated)


def count_outdated(
    session: LanceSession, record: LanceRecord, path: PrefixSearch, on_progress: OnProgress | None
) -> int:
    """Return the number of rows whose prefix does not belong to their vector."""
    pinned = session.pinned()
    queries = np.empty((0, session.dim), dtype=np.float32)
    return _scan(session, record, path, pinned, queries, on_progress)[1]


def _scan(
    session: LanceSession,
    record: LanceRecord,
    path: PrefixSearch,
    pinned: Any,
    queries: Embeddings,
    on_progress: OnProgress | None,
) -> tuple[Hits, int]:
    """Return the exact answers, and the number of outdated rows."""
    groups = np.full(len(queries), -1, dtype=np.int64)
    exact = ExactSearch(LiveQueries(queries, [], groups), K, record.metric)
    total, start, outdated = int(pinned.count_rows()), 0, 0
    row_ids: list[NDArray[np.uint64]] = [np.empty(0, dtype=np.uint64)]
    for batch in _batches(session, path.column, pinned):
        values = np.asarray(vectors_of(_column(batch, session.vector)), dtype=np.float32)
        outdated += _outdated(values, batch.column(path.column), record.stages.stages[0])
        if len(queries):
            numbers = np.arange(start, start + len(values))
            exact.add(ScannedRows(numbers, values, np.empty((len(values), 0), dtype=np.bool_)))
            row_ids.append(batch[_ROW_ID].to_numpy())
        start += len(values)
        if on_progress is not None:
            on_progress(start, total)
    if not len(queries):
        return Hits([], []), outdated
    rows = exact.result().rows
    distinct = np.unique(rows[rows >= 0])
    taken = np.concatenate(row_ids)[distinct].tolist()
    found = session.read(
        lambda _: pinned.take_row_ids(taken).select([session.id]).to_arrow()[session.id]
    )
    names = dict(zip(distinct.tolist(), map(str, found.to_pylist()), strict=True))
    ids = [[names[row] for row in each if row >= 0] for each in rows.tolist()]
    return Hits(ids, [[0.0] * len(each) for each in ids]), outdated


def _batches(session: LanceSession, column: str, pinned: Any) -> Iterator[Any]:
    """Yield the rows with a vector as Arrow record batches."""
    names = [session.vector, column]
    pages = read_pages(pinned, names, block_rows(session.dim), row_ids=True)
    left = int(pinned.count_rows())
    while left:
        batch = session.read(lambda _: next(pages, None))
        if batch is None:  # an iterator that has failed once ends
            raise session.refuse("could not be read to its end. Repeat the command.")
        left -= batch.num_rows
        present = batch.filter(batch.column(session.vector).is_valid())
        if present.num_rows:
            yield present


def _column(batch: Any, name: str) -> Any:
    """Return a column as a chunked array, which ``vectors_of`` reads."""
    import pyarrow as pa

    return pa.chunked_array([batch.column(name)])


def _outdated(vectors: Embeddings, stored: Any, stage: Stage) -> int:
    """Count the rows whose stored prefix is missing or differs from that of their vector."""
    expected = prefix(vectors, stage.dim)
    present = stored.is_valid().to_numpy(zero_copy_only=False)
    missing = np.any(expected[~present] != 0, axis=1).sum()
    values = stored.filter(stored.is_valid()).flatten().to_numpy(zero_copy_only=False)
    found = np.asarray(values, dtype=np.float32).reshape(-1, stage.dim)
    differs = ~(np.abs(found - expected[present]) <= _ROUNDING[stage.precision])
    return int(missing + differs.any(axis=1).sum())


def _overlap(answers: Hits, found: Hits) -> float:
    return round(mean_overlap(answers, found), 4)
