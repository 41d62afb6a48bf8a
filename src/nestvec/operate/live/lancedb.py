"""Search a table of LanceDB that other programs wrote, in one of its versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.datafusion import literal
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.exact import ExactSearch, LiveQueries, Metric, Observer, ScannedRows
from nestvec.operate.live.column_filters import compile_lance
from nestvec.operate.live.database import (
    ExactAnswers,
    SearchPath,
    Settings,
    TableSearch,
    Width,
    exact_answers,
)
from nestvec.operate.live.query_vectors import encode_queries
from nestvec.operate.losses import plain_codec
from nestvec.operate.shrink.lancedb.searching import LancePointSearch, TableVersion
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.sources.lance_tables import OpenedTable, opened_table, read_pages
from nestvec.types import CodeKey, Embeddings, Encoder, OperatingPoint, Rows, Stage

_METRICS: Mapping[str, Metric] = {"cosine": "cosine", "dot": "ip", "l2": "l2"}
_NAMES: Mapping[Metric, str] = {metric: name for name, metric in _METRICS.items()}
_SETTINGS = ("nprobes", "refine_factor", "ef")
_DEFAULT_NPROBES, _MOST_NPROBES = 20, 4_096
_WIDER = (2, 4, 8, 16)  # times the nprobes in use
_REFINED = 10  # times k results are scored again by their full vectors
_EXACT_INDEXES = ("IVF_FLAT", "IVF_HNSW_FLAT")  # they store the vectors themselves
_ROWS = 4_096  # vectors that are read at a time
_TAKEN = 512  # rows that are read by their number, or by their id, at a time
_ROW_ID = "_rowid"


@contextmanager
def open_lance_table(
    url: str, search: TableSearch, model: Encoder | None
) -> Iterator[LiveLanceTable]:
    """Open a table; nothing is changed.

    Args:
        url: ``lance://FOLDER?table=TABLE`` or ``s3://BUCKET/PREFIX?table=TABLE``.
        search: How the table is searched.
        model: The model of the vectors, for queries that are texts.

    Raises:
        InvalidArgument: If the URL cannot be parsed, or a setting is unknown.
        DataError: If there is no such table, or LanceDB refuses a call.
        MissingExtra: If lancedb is not installed.
    """
    with opened_table(url) as opened, LanceSession.open(url, lock=False) as session:
        version = TableVersion.of(session)
        record, pinned = version.record, opened._replace(table=version.table)
        if record is None or record.active is None or search.point is not None:
            yield LiveLanceTable(pinned, search, model)
            return
        shrunk = LancePointSearch(session, record, record.active, version)
        yield LiveLanceTable(pinned, replace(search, point=record.stages), model, shrunk)


class LiveLanceTable:
    """A version of a table with a column of vectors, and the search of its users."""

    def __init__(
        self,
        opened: OpenedTable,
        search: TableSearch,
        model: Encoder | None,
        shrunk: LancePointSearch | None = None,
    ) -> None:
        """Read the definitions of the table and of its index.

        Args:
            opened: A version of the table.
            search: How it is searched.
            model: The model of the vectors, for queries that are texts.
            shrunk: The search of a table that ``nestvec shrink`` has switched; None for others.

        Raises:
            InvalidArgument: If a setting is unknown, or there is a statement.
            DataError: If the column has no fixed number of dims, or its ids are row numbers.
        """
        self._table, self.place, self._model = opened.table, opened.shown, model
        ids, self._vector = opened.columns.ids, opened.columns.vectors
        if ids is None:
            raise DataError(self.place, "has no column of ids. Name the column: &id=COLUMN.")
        self._id = ids
        self._columns = list(self._table.schema.names)
        self.dim = int(getattr(self._table.schema.field(self._vector).type, "list_size", 0))
        if not self.dim:
            problem = f"column {self._vector} has lists of any length, which LanceDB cannot search."
            raise DataError(self.place, problem)
        self._settings = _checked(search, self.place)
        name, kind, metric = self._index()
        self._shrunk = shrunk
        self.metric: Metric = search.metric or metric
        if shrunk is None:
            self.path = self._path(name, kind, search.point)
        else:
            self.metric = shrunk.metric
            self.path = SearchPath(f"nestvec shrink, column {shrunk.column}", search.point)
        self._row_ids: list[NDArray[np.uint64]] = []  # of the rows of the exact pass

    def encode(self, queries: list[str] | Embeddings) -> Embeddings:
        """Return the vectors of queries, as ``LiveDatabase.encode`` does."""
        return encode_queries(queries, self._model, dim=self.dim, place=self.place)

    def codec(self, key: CodeKey) -> Codec:
        """Return the codec of a representation, as ``LiveDatabase.codec`` does."""
        return plain_codec(key)

    def alternatives(self, *, short: bool) -> Sequence[Settings]:
        """Return rescored and wider searches; a filter that is short searches all partitions."""
        width = self.path.width
        if width is None:
            return []
        wider = [min(width.value * factor, width.largest) for factor in _WIDER]
        if short:
            wider = [width.largest]
        refined = {} if self.path.point is not None else {"refine_factor": str(_REFINED)}
        found: list[Settings] = [refined] if refined and not short else []
        return found + [{**refined, "nprobes": str(each)} for each in dict.fromkeys(wider)]

    def search(
        self, query: Embeddings, k: int, where: Condition | None, settings: Settings | None = None
    ) -> list[str]:
        """Return the ids of the best documents, as ``LiveDatabase.search`` does."""
        condition = None if where is None else compile_lance(where, self._columns)
        if self._shrunk is not None:
            return self._shrunk.answers(query, k, condition)[0]
        search = self._table.search(query, vector_column_name=self._vector)
        search = search.distance_type(_NAMES[self.metric]).limit(k)
        if condition is not None:
            search = search.where(condition, prefilter=True)
        for name, value in {**self._settings, **(settings or {})}.items():
            search = getattr(search, name)(int(value))
        found = search.select([self._id, "_distance"]).to_arrow()
        return [str(each) for each in found[self._id].to_pylist()]

    def exact(self, queries: LiveQueries, k: int, observer: Observer | None = None) -> ExactAnswers:
        """Return the exact answers of all queries, as ``LiveDatabase.exact`` does."""
        search = ExactSearch(queries, k, self.metric)
        self._row_ids = []
        matching = [self._matching(each) for each in queries.conditions]
        start = 0
        for row_ids, values in self._vectors():
            matches = np.empty((len(row_ids), len(matching)), dtype=np.bool_)
            for number, own in enumerate(matching):
                matches[:, number] = np.isin(row_ids, own)
            block = ScannedRows(np.arange(start, start + len(row_ids)), values, matches)
            search.add(block)
            if observer is not None:
                observer(block)
            self._row_ids.append(row_ids)
            start += len(row_ids)
        found = search.result()
        distinct = np.unique(found.rows[found.rows >= 0])
        return exact_answers(
            found, dict(zip(distinct.tolist(), self.ids_of_rows(distinct), strict=True))
        )

    def vectors(self, ids: Sequence[str]) -> Mapping[str, Embeddings]:
        """Return vectors by id; unknown ids are left out."""
        found: dict[str, Embeddings] = {}
        for start in range(0, len(ids), _TAKEN):
            listed = ", ".join(map(literal, ids[start : start + _TAKEN]))
            condition = f"CAST(`{self._id}` AS STRING) IN ({listed})"
            rows = self._table.search().where(condition).select([self._id, self._vector]).to_arrow()
            names = map(str, rows[self._id].to_pylist())
            found |= zip(names, self._values(rows[self._vector]), strict=True)
        return found

    def vectors_of_rows(self, rows: Rows) -> Embeddings:
        """Return the vectors of rows that the exact pass has read, [n, dim]."""
        parts = [self._values(each[self._vector]) for each in self._take(rows, self._vector)]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *parts])

    def ids_of_rows(self, rows: Rows) -> list[str]:
        """Return the ids of rows that the exact pass has read, in the same order."""
        found = self._take(rows, self._id)
        return [str(id_) for each in found for id_ in each[self._id].to_pylist()]

    def sample(self, n: int, seed: int) -> tuple[list[str], Embeddings]:
        """Return documents at places chosen at random, without those that have no vector."""
        places = np.random.default_rng(seed).permutation(self._table.count_rows())[:n]
        ids: list[str] = []
        vectors: list[Embeddings] = [np.empty((0, self.dim), dtype=np.float32)]
        for start in range(0, len(places), _TAKEN):
            some = np.sort(places[start : start + _TAKEN]).tolist()
            rows = self._table.take_offsets(some).select([self._id, self._vector]).to_arrow()
            rows = rows.filter(rows[self._vector].is_valid())
            ids += map(str, rows[self._id].to_pylist())
            vectors.append(self._values(rows[self._vector]))
        return ids, np.concatenate(vectors)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents that have a vector."""
        for batch in read_pages(self._table, [self._id, self._vector], _ROWS):
            filled = batch.filter(batch[self._vector].is_valid())
            yield from map(str, filled[self._id].to_pylist())

    def _index(self) -> tuple[str, str, Metric]:
        """Return the name, the type and the metric of the index of the column; "" for none."""
        for index in self._table.list_indices():
            if list(index.columns) == [self._vector]:
                stats = self._table.index_stats(index.name)
                if stats is not None:
                    metric = _METRICS.get(str(stats.distance_type).lower())
                    if metric is None:
                        problem = f"the index {index.name} uses {stats.distance_type}."
                        raise DataError(self.place, f"{problem} Pass cosine, ip or l2.")
                    return index.name, str(stats.index_type), metric
        return "", "", "l2"  # the default of LanceDB

    def _path(self, name: str, kind: str, point: OperatingPoint | None) -> SearchPath:
        if not name:
            return SearchPath("", point or OperatingPoint((Stage(self.dim, "float32"),)))
        nprobes = int(self._settings.get("nprobes", _DEFAULT_NPROBES))
        width = Width("nprobes", nprobes, _MOST_NPROBES)
        if point is None and kind in _EXACT_INDEXES:
            point = OperatingPoint((Stage(self.dim, "float32"),))
        return SearchPath(f"{name} ({kind})", point, width)

    def _vectors(self) -> Iterator[tuple[NDArray[np.uint64], Embeddings]]:
        for batch in read_pages(self._table, [self._vector], _ROWS, row_ids=True):
            filled = batch.filter(batch[self._vector].is_valid())
            yield filled[_ROW_ID].to_numpy(), self._values(filled[self._vector])

    def _matching(self, condition: Condition) -> NDArray[np.uint64]:
        """Return the row ids of the rows that match a condition."""
        search = self._table.search().where(compile_lance(condition, self._columns))
        found: NDArray[np.uint64] = (
            search.select([self._id]).with_row_id(True).to_arrow()[_ROW_ID].to_numpy()
        )
        return found

    def _take(self, rows: Rows, column: str) -> Iterator[Any]:
        row_ids = np.concatenate(self._row_ids) if self._row_ids else np.empty(0, dtype=np.uint64)
        for start in range(0, len(rows), _TAKEN):
            some = row_ids[rows[start : start + _TAKEN]].tolist()
            yield self._table.take_row_ids(some).select([column]).to_arrow()

    def _values(self, column: Any) -> Embeddings:
        """Return the vectors of a column of Arrow, [n, dim]."""
        array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        flat = array.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float32).reshape(-1, self.dim)


def _checked(search: TableSearch, place: str) -> Mapping[str, str]:
    if search.statement:
        problem = f"{place} is searched by LanceDB, which runs no statement."
        raise InvalidArgument(f"{problem} Omit the statement.")
    for name, value in search.settings.items():
        if name not in _SETTINGS or not value.isdigit():
            known = ", ".join(_SETTINGS)
            problem = f"the setting {name}={value} is not one of {known} with a whole number."
            raise InvalidArgument(f"{problem} Example: nprobes=40.")
    return search.settings
