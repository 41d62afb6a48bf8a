"""A table of documents in Lance: changes, searches, columns and sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.checks import existing_id
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.datafusion import compile_condition
from nestvec.engines.filters.fields import FieldKinds
from nestvec.engines.lancedb import columns, indexes
from nestvec.engines.lancedb.column_search import ColumnSearch
from nestvec.engines.lancedb.indexes import LanceIndexes
from nestvec.engines.lancedb.kinds import FieldReader
from nestvec.engines.lancedb.merging import Merge, RowExists
from nestvec.engines.lancedb.opened import OpenTable, id_condition
from nestvec.engines.lancedb.rows import (
    DOCUMENT,
    ID,
    VECTOR,
    column_key,
    documents_of,
    vector_column,
    vectors_of,
)
from nestvec.engines.manifest import Manifest, Settings
from nestvec.engines.rescoring import rescore
from nestvec.engines.tables import DocumentTable, TableSizes
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document, Embeddings, Hits, OperatingPoint, Stage

MOST_FRAGMENTS, ROWS_PER_FRAGMENT = 32, 20_000
"""Small parts of the table, one for each ``add``, are merged when there are more than 32, and more
than one for 20,000 documents: a merge can write a million documents again."""
MOST_INDEX_PARTS, ROWS_PER_INDEX_PART = 8, 100_000
"""Each of these merges adds a part to the index. It is built again when it has more than 8 parts,
and more than one additional part for 100,000 documents."""
KEPT_S = 600
"""Versions that were replaced by a merge of parts are readable for this time."""
_SAMPLED = 1_000  # documents whose texts are measured


class LanceTable(DocumentTable):
    """An open table of documents."""

    def __init__(self, table: OpenTable, manifest: Manifest) -> None:
        """Use an open table.

        Args:
            table: The table.
            manifest: The manifest of its index.
        """
        self.manifest = manifest
        self._table = table
        self._indexes, self._fields = LanceIndexes(table), FieldReader(table)

    def add(
        self, added: Mapping[str, Document], vectors: NDArray[np.floating], *, replace: bool
    ) -> None:
        """Add all documents in one commit, as ``DocumentTable.add`` does.

        Rows are merged by id, so that a repeated commit adds no document twice. If two processes
        add the same new id at the same time, one of them gets the error of an existing id. A crash
        leaves all documents or none, and possibly a file that no version names, which ``compact``
        deletes.
        """
        merge = Merge(added, vectors, replace=replace, locked=self._table.folder.is_local)

        def run(table: Any) -> bool:
            merge.run(table)
            return _is_fragmented(table)

        with self._table.folder.changing():
            if not replace:
                self._refuse_existing(added)
            try:
                is_fragmented = self._table.change(run)
            except RowExists:
                if merge.attempts == 1 or not self._contains(added, vectors):
                    self._refuse_existing(added)
                    raise DataError(self._table.shown, "changed meanwhile. Try again.") from None
                # An earlier attempt was committed, but its answer was lost.
                is_fragmented = self._table.read(_is_fragmented)
            if is_fragmented:
                self._merge_parts()

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one commit, and return the number of deleted documents."""
        with self._table.folder.changing():
            existing = sorted(self.existing(ids))
            if existing:
                self._table.change(lambda table: table.delete(id_condition(existing)))
            return len(existing)

    def count(self, where: Condition | None = None) -> int:
        """Return the exact number of documents that match a condition."""
        condition = None if where is None else compile_condition(where)
        return self._table.read(lambda table: int(table.count_rows(condition)))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents in blocks."""
        for block in self._table.blocks([ID]):
            yield from block[ID].to_pylist()

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the table contains."""
        return {id_ for rows in self._table.select([ID], ids) for id_ in rows[ID].to_pylist()}

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id; unknown ids are left out."""
        found: dict[str, Document] = {}
        for rows in self._table.select(DOCUMENT, ids):
            found |= documents_of(rows)
        return found

    def vectors(self, ids: Sequence[str]) -> dict[str, Embeddings]:
        """Return stored vectors, float32 [full_dim], by id; unknown ids are left out."""
        found: dict[str, Embeddings] = {}
        for rows in self._table.select([ID, VECTOR], ids):
            vectors = vectors_of(rows[VECTOR]).astype(np.float32)
            found |= zip(rows[ID].to_pylist(), vectors, strict=True)
        return found

    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``DocumentTable.search`` does.

        If the index returns fewer candidates than match, the search is repeated by a scan.
        """
        condition = None if where is None else compile_condition(where)
        if point is None:
            exact = Stage(self.manifest.model.full_dim, self.manifest.stored)
            return self._search(queries, k, OperatingPoint((exact,)), condition, None)
        point = self._searchable(point)
        first = point.stages[0]
        column = vector_column(first.representation, self.manifest)
        probed = indexes.nprobes(self.manifest.settings, column, first.keep or k)
        if probed is not None and condition is not None:
            matching = self._table.read(lambda table: int(table.count_rows(condition)))
            probed = None if matching <= indexes.LEAST_ROWS else probed
        return self._search(queries, k, point, condition, probed)

    def field_kinds(self, fields: Iterable[str], limit: int | None) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields, over all documents."""
        return self._fields.kinds(fields)

    def field_names(self) -> Iterable[str]:
        """Return the fields of all documents."""
        return self._fields.names()

    def prepare(self, point: OperatingPoint) -> Settings:
        """Add the column of the first stage, and its index if the table needs one."""
        with self._table.folder.changing():
            key = point.stages[0].representation
            column = vector_column(key, self.manifest)
            if column != VECTOR:
                columns.add(self._table, column, key)
            settings = self.manifest.settings
            built = settings if settings.get("column") == column else {}
            self._optimize(KEPT_S)
            return self._indexes.prepare(column, point, built, self._fit_search)

    def remove_unused(self, point: OperatingPoint) -> None:
        """Remove the columns and indexes that a point does not use."""
        with self._table.folder.changing():
            column = vector_column(point.stages[0].representation, self.manifest)
            self._indexes.drop_others(column)
            columns.remove_others(self._table, column)

    def compact(self) -> None:
        """Merge the parts of the table and of its index, and delete files of earlier versions."""
        with self._table.folder.changing():
            self._optimize(0)  # adds new rows to the index as another part
            self._indexes.merge_parts(self.manifest.settings, 1)
            self._optimize(0)

    def sizes(self) -> TableSizes:
        """Return the bytes of the table: texts are measured on a sample."""

        def measure(table: Any) -> tuple[int, int, int]:
            stats = table.stats()
            rows = int(stats["num_rows"])
            texts = [name for name in table.schema.names if name not in (ID, VECTOR)]
            texts = [name for name in texts if column_key(name) is None]
            sample = table.search().select(texts).limit(_SAMPLED).to_arrow()
            average = sample.nbytes / max(1, len(sample))
            return int(stats["total_bytes"]), rows, round(average * rows)

        total, rows, texts = self._table.read(measure)
        texts = min(total, texts)
        first = self.manifest.point.stages[0]
        column = vector_column(first.representation, self.manifest)
        scanned = rows * first.dim * (2 if first.precision == "float16" else 4)
        resident = self._indexes.bytes(column) or scanned
        return TableSizes(total - texts + self._indexes.bytes(), texts, resident)

    def lock(self) -> None:
        """Prevent changes by other processes until the table is closed, in a local folder."""
        self._table.folder.lock()

    def _search(
        self,
        queries: Embeddings,
        k: int,
        point: OperatingPoint,
        condition: str | None,
        nprobes: int | None,
    ) -> Hits:
        first = point.stages[0]
        column = vector_column(first.representation, self.manifest)
        keep = first.keep or k
        stage = ColumnSearch(self._table, column, first.dim, keep, condition, nprobes)
        found = stage.candidates(queries)
        short = [row for row, each in enumerate(found) if len(each.ids) < keep]
        if short and nprobes is not None:
            matching = self._table.read(lambda table: int(table.count_rows(condition)))
            if min(len(found[row].ids) for row in short) < min(matching, keep):
                scan = ColumnSearch(self._table, column, first.dim, keep, condition, None)
                for row, each in zip(short, scan.candidates(queries[short]), strict=True):
                    found[row] = each
        return rescore(queries, found, point.stages, k)

    def _fit_search(
        self, queries: Embeddings, k: int, point: OperatingPoint, nprobes: int | None
    ) -> Hits:
        return self._search(queries, k, point, None, nprobes)

    def _refuse_existing(self, added: Mapping[str, Document]) -> None:
        existing = self.existing(list(added))
        if existing:
            raise existing_id([id_ for id_ in added if id_ in existing])

    def _contains(self, added: Mapping[str, Document], vectors: NDArray[np.floating]) -> bool:
        """Return whether the table contains these documents with these vectors."""
        ids = list(added)
        if self.documents(ids) != dict(added):
            return False
        stored = self.vectors(ids)
        return all(
            np.array_equal(stored[id_], vector.astype(np.float32))
            for id_, vector in zip(ids, vectors, strict=True)
        )

    def _merge_parts(self) -> None:
        """Merge small parts of the table, and of its index if there are too many."""
        most = MOST_INDEX_PARTS + self.count() // ROWS_PER_INDEX_PART
        self._optimize(KEPT_S)
        self._indexes.merge_parts(self.manifest.settings, most)

    def _searchable(self, point: OperatingPoint) -> OperatingPoint:
        """Return the point, or the index's present point if another process has changed it.

        Raises:
            InvalidArgument: If the table has no column of the point.
        """
        known = columns.names(self._table)
        if vector_column(point.stages[0].representation, self.manifest) in known:
            return point
        if point == self.manifest.point:
            self.manifest = self._table.record().manifest
            point = self.manifest.point
            if vector_column(point.stages[0].representation, self.manifest) in known:
                return point
            raise DataError(self._table.shown, f"lacks the column of its point {point}.")
        problem = f"the index has no column for the first stage of {point}."
        remedy = f"Run nestvec index use {self._table.shown} {point}."
        raise InvalidArgument(f"{problem} {remedy}")

    def _optimize(self, kept_s: float) -> None:
        """Merge small parts, add new rows to the indexes, and delete old versions."""
        kept = timedelta(seconds=kept_s)
        with warnings.catch_warnings():
            # For 0, LanceDB warns that other readers fail: OpenTable repeats their calls.
            warnings.simplefilter("ignore", UserWarning)
            self._table.change(lambda table: table.optimize(cleanup_older_than=kept))


def _is_fragmented(table: Any) -> bool:
    stats = table.stats()
    small = int(stats["fragment_stats"]["num_small_fragments"])
    return small > max(MOST_FRAGMENTS, int(stats["num_rows"]) // ROWS_PER_FRAGMENT)
