"""Search a table by the record of its shrink.

Without a record, or before the switch, LanceDB searches the column of vectors as before. Afterwards
LanceDB returns the candidates of the first stage from the column of prefixes, and their stored
vectors decide. Rows whose prefix is still missing are scanned exactly, so that none is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import normalize, prefix
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.where import Where
from nestvec.engines.lancedb.column_search import LEAST_MORE, MORE
from nestvec.engines.lancedb.indexes import LEAST_ROWS
from nestvec.engines.lancedb.rows import vectors_of
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.live.column_filters import compile_lance
from nestvec.operate.shrink.lancedb.indexes import former_metric
from nestvec.operate.shrink.lancedb.records import LanceRecord, PrefixSearch, record_in
from nestvec.operate.shrink.lancedb.session import LanceSession, quoted_column
from nestvec.operate.shrink.request import Metric
from nestvec.types import Embeddings, Hits, Stage

LANCE_METRICS: dict[Metric, str] = {"cosine": "cosine", "ip": "dot", "l2": "l2"}
_ROWS_PER_CANDIDATE = 4  # in the partitions that are searched
_ATTEMPTS = 3
_TAKEN = 4_096  # rows without a prefix that are read at a time
_DISTANCE, _ROW_ID = "_distance", "_rowid"


def search_table(
    url: str,
    queries: Embeddings,
    k: int = 10,
    *,
    where: str | Condition | None = None,
) -> Hits:
    """Search a table of LanceDB as the record of its shrink says.

    Args:
        url: ``lance://FOLDER?table=TABLE&id=COLUMN&vector=COLUMN`` or ``s3://...``.
        queries: Vectors at full width, [n_queries, dim], or one vector, [dim].
        k: Number of results of each query.
        where: A filter on columns, such as ``lang = 'de' and year >= 2020``.

    Returns:
        The ids and scores of each query, best first. A score is the cosine, the inner product or
        minus the squared distance.

    Raises:
        InvalidArgument: If the queries, ``k`` or the filter do not fit the table.
        DataError: If there is no such table, or LanceDB refuses a call.
        MissingExtra: If lancedb is not installed.
    """
    with open_shrunk_table(url) as table:
        return table.search(queries, k, where=where)


@contextmanager
def open_shrunk_table(url: str) -> Iterator[ShrunkTable]:
    """Open a table for many searches; arguments and errors as in ``search_table``.

    The rows without a prefix are then read once for each version of the table, and not for each
    search. Several threads may search.
    """
    with LanceSession.open(url, lock=False) as session:
        yield ShrunkTable(session)


class ShrunkTable:
    """A table that may be shrunk. Each search follows the present record, in one version."""

    def __init__(self, session: LanceSession) -> None:
        """Use an open table."""
        self._session = session
        self._version: TableVersion | None = None

    def search(
        self, queries: Embeddings, k: int = 10, *, where: str | Condition | None = None
    ) -> Hits:
        """Return the best rows of each query; arguments and errors as in ``search_table``."""
        values = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if values.ndim != 2 or values.shape[1] != self._session.dim:
            problem = f"queries have shape {np.shape(queries)}, and {self._session.name} has"
            raise InvalidArgument(f"{problem} vectors of {self._session.dim} dims.")
        if not np.isfinite(values).all():
            raise InvalidArgument("queries contain NaN or infinity. Pass finite numbers.")
        if k < 1:
            raise InvalidArgument(f"k={k} is below 1. Pass the number of results.")
        parsed = Where.parse(where) if isinstance(where, str) else where
        for attempt in range(_ATTEMPTS):
            try:
                return self._search(values, k, parsed)
            except DataError:  # a version can be deleted between two calls
                self._version = None
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _search(self, queries: Embeddings, k: int, where: Condition | None) -> Hits:
        latest = self._session.read(lambda table: int(table.version))
        if self._version is None or self._version.number != latest:
            self._version = TableVersion.of(self._session)
        version = self._version
        condition = None
        if where is not None:
            condition = compile_lance(where, list(version.table.schema.names))
        record, hits = version.record, Hits([], [])
        search = None
        if record is not None and record.active is not None:
            search = LancePointSearch(self._session, record, record.active, version)
        metric = former_metric(self._session) if record is None else record.metric
        for query in queries:
            if search is None:
                ids, scores = _former_answers(self._session, version, query, k, metric, condition)
            else:
                ids, scores = search.answers(query, k, condition)
            hits.ids.append(ids)
            hits.scores.append(scores)
        return hits


class TableVersion(NamedTuple):
    """One version of a table.

    Attributes:
        number: The number of the version.
        table: The table of LanceDB in this version.
        record: The record of the shrink in this version; None without a shrink.
        unfilled: The row ids of rows with a vector and without a prefix, [n].
    """

    number: int
    table: Any
    record: LanceRecord | None
    unfilled: NDArray[np.uint64]

    @classmethod
    def of(cls, session: LanceSession, column: str | None = None) -> TableVersion:
        """Read the present version.

        Args:
            session: The table.
            column: The column of prefixes; None for the column in use.
        """
        table = session.pinned()
        record = record_in(table.schema, session)
        if column is None and record is not None and record.active is not None:
            column = record.active.column
        unfilled = np.empty(0, dtype=np.uint64)
        if column is not None:
            # Reads the column of prefixes only, and is done once for each version.
            condition = f"{quoted_column(column)} IS NULL"
            condition += f" AND {quoted_column(session.vector)} IS NOT NULL"
            unfilled = _row_ids(session, table, condition)
        return cls(int(table.version), table, record, unfilled)


def _row_ids(session: LanceSession, table: Any, condition: str) -> NDArray[np.uint64]:
    """Return the row ids of the rows that match a condition."""
    search = table.search().where(condition).select([session.id]).with_row_id(True)
    found: NDArray[np.uint64] = session.read(lambda _: search.to_arrow())[_ROW_ID].to_numpy()
    return found


def _former_answers(
    session: LanceSession,
    version: TableVersion,
    query: Embeddings,
    k: int,
    metric: Metric,
    condition: str | None,
) -> tuple[list[str], list[float]]:
    """Return the ids and scores of the search before the shrink."""

    def work(_: Any) -> Any:
        search = version.table.search(query, vector_column_name=session.vector)
        search = search.distance_type(LANCE_METRICS[metric]).limit(k)
        if condition is not None:
            search = search.where(condition, prefilter=True)
        return search.select([session.id, _DISTANCE]).to_arrow()

    rows = session.read(work)
    distances = rows[_DISTANCE].to_numpy()
    scores = -distances if metric == "l2" else 1 - distances
    return [str(each) for each in rows[session.id].to_pylist()], scores.tolist()


class LancePointSearch:
    """The search of a version of a table by an operating point."""

    def __init__(
        self, session: LanceSession, record: LanceRecord, path: PrefixSearch, version: TableVersion
    ) -> None:
        """Use a path of the first stage.

        Args:
            session: The table.
            record: The record with the operating point and the metric.
            path: How the first stage is searched. Without ``nprobes``, the column is scanned.
            version: The version of the table.
        """
        self._session, self._record, self._path = session, record, path
        self._version = version
        self._stages = record.stages.stages

    @property
    def metric(self) -> Metric:
        """The metric of the searches."""
        return self._record.metric

    @property
    def column(self) -> str:
        """The column of prefixes."""
        return self._path.column

    def answers(
        self, query: Embeddings, k: int, condition: str | None = None
    ) -> tuple[list[str], list[float]]:
        """Return the ids and scores of a query, best first."""
        keep = max(k, self._stages[0].keep or k)
        ids, vectors = self._read(self._candidates(query, keep, condition))
        for part in self._unfilled(condition):
            more, own = self._read(part)
            best, _ = ranked(query, own, self._stages, self._record.metric, keep)
            ids += [more[row] for row in best]
            vectors = np.concatenate([vectors, own[best]])
        # Equal scores are sorted by descending id.
        order = np.argsort(np.array(ids, dtype=object), kind="stable")[::-1]
        rows, scores = ranked(query, vectors[order], self._stages, self._record.metric, k)
        return [ids[order[row]] for row in rows], scores

    def _read(self, part: Any) -> tuple[list[str], Embeddings]:
        """Return the ids and vectors of rows of Arrow."""
        ids = [str(each) for each in part[self._session.id].to_pylist()]
        return ids, vectors_of(part[self._session.vector]).astype(np.float32)

    def _candidates(self, query: Embeddings, keep: int, condition: str | None) -> Any:
        """Return at least ``keep`` candidates with their vectors, if as many rows match."""
        unit = prefix(query[None], self._stages[0].dim)[0]
        wanted = max(int(MORE * keep), keep + LEAST_MORE)
        matching = wanted
        if condition is not None:
            table = self._version.table
            matching = self._session.read(lambda _: int(table.count_rows(condition)))
        scans = self._path.nprobes is None or (condition is not None and matching <= LEAST_ROWS)
        rows = self._nearest(unit, wanted, condition, scans=scans)
        if not scans and len(rows) < min(keep, matching):
            rows = self._nearest(unit, wanted, condition, scans=True)
        return rows

    def _nearest(self, unit: Embeddings, wanted: int, condition: str | None, *, scans: bool) -> Any:
        session, path = self._session, self._path

        def work(_: Any) -> Any:
            search = self._version.table.search(unit, vector_column_name=path.column).distance_type(
                "dot"
            )
            search = search.select([session.id, session.vector, _DISTANCE]).limit(wanted)
            if condition is not None:
                search = search.where(condition, prefilter=True)
            if scans:
                return search.bypass_vector_index().to_arrow()
            # Without a maximum, Lance would search all partitions.
            nprobes = self._nprobes(wanted)
            return search.minimum_nprobes(nprobes).maximum_nprobes(nprobes).to_arrow()

        return session.read(work)

    def _nprobes(self, wanted: int) -> int:
        rows = self._path.partition_rows or 1
        least = math.ceil(_ROWS_PER_CANDIDATE * wanted / rows)
        return max(least, self._path.nprobes or 1)

    def _unfilled(self, condition: str | None) -> Iterator[Any]:
        """Yield the rows without a prefix, which the first stage cannot find."""
        rows, table = self._version.unfilled, self._version.table
        if len(rows) and condition is not None:
            text = f"{quoted_column(self._path.column)} IS NULL AND ({condition})"
            rows = np.intersect1d(rows, _row_ids(self._session, table, text))
        names = [self._session.id, self._session.vector]
        for start in range(0, len(rows), _TAKEN):
            query = table.take_row_ids(rows[start : start + _TAKEN].tolist()).select(names)
            yield self._session.read(lambda _, query=query: query.to_arrow())  # type: ignore[misc]


def ranked(
    query: Embeddings,
    vectors: Embeddings,
    stages: Sequence[Stage],
    metric: Metric,
    k: int,
) -> tuple[list[int], list[float]]:
    """Run the stages of an operating point over candidates.

    Args:
        query: [dim].
        vectors: The stored vectors of the candidates, [n, dim], equal scores in this order.
        stages: The stages. The last stage scores by the metric if it has full width.
        metric: The metric of the table.
        k: Number of results.

    Returns:
        The numbers of the best candidates, and their scores.
    """
    rows, scores = np.arange(len(vectors)), np.empty(0, dtype=np.float32)
    for stage in stages:
        if stage.dim == len(query):
            scores = _scores(query, vectors[rows], metric)
        else:
            codes = prefix(vectors[rows], stage.dim).astype(stage.precision).astype(np.float32)
            scores = np.einsum("nd,d->n", codes, prefix(query[None], stage.dim)[0])
        kept = k if stage.keep is None else max(k, stage.keep)
        best = np.argsort(-scores, kind="stable")[:kept]
        rows, scores = rows[best], scores[best]
    return rows.tolist(), scores.tolist()


def _scores(query: Embeddings, vectors: Embeddings, metric: Metric) -> Embeddings:
    if metric == "cosine":
        query, vectors = normalize(query[None])[0], normalize(vectors)
    if metric == "l2":
        differences = vectors - query
        scores: Embeddings = -np.einsum("nd,nd->n", differences, differences)
    else:
        scores = np.einsum("nd,d->n", vectors, query)
    return scores
