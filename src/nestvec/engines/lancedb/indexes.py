"""The IVF index of a table: when it is built, how much it searches, and what it loses.

Below ``LEAST_ROWS`` documents, a search scans the column of its first stage and is exact. Above,
the column has an index ``IVF_FLAT``, which stores the prefixes themselves in partitions.
``fitting`` chooses ``nprobes``, the number of partitions that are searched. A filter that at most
``LEAST_ROWS`` documents match is searched by a scan of these documents. Documents added later are
scanned until ``optimize`` adds them to the index. Two more indexes serve ids and filters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nestvec.engines.filters.datafusion import TOKENS
from nestvec.engines.fitting import SAMPLED, Fitted, K, fit, queries_between
from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.rows import ID, VECTOR, vectors_of
from nestvec.engines.manifest import Settings
from nestvec.errors import require
from nestvec.types import Embeddings, Hits, OperatingPoint

LEAST_ROWS = 10_000
_ITERATIONS, _SAMPLE_RATE = 10, 64  # of k-means
_ROWS_PER_CANDIDATE = 4  # in the partitions that are searched
_GROWTH = 2.0  # an index is built again if the best size of partitions differs by this factor

FitSearch = Callable[[Embeddings, int, OperatingPoint, int | None], Hits]
"""A search of queries, k, a point and a number of partitions; None to scan."""


def nprobes(settings: Settings, column: str, keep: int) -> int | None:
    """Return the number of partitions to search for ``keep`` candidates; None without an index."""
    if settings.get("column") != column:
        return None
    least = math.ceil(_ROWS_PER_CANDIDATE * keep / int(settings["partition_rows"]))
    return max(least, int(settings["nprobes"]))


def prefix_index(partition_rows: int) -> Any:
    """Return the configuration of the index of a column of unit prefixes.

    ``optimize`` keeps the size of partitions, but replaces a number of partitions by its own.
    """
    index: Any = require("lancedb.index", extra="lancedb")
    return index.IvfFlat(
        distance_type="dot",
        target_partition_size=partition_rows,
        max_iterations=_ITERATIONS,
        sample_rate=_SAMPLE_RATE,
    )


class LanceIndexes:
    """The indexes of one table."""

    def __init__(self, table: OpenTable) -> None:
        """Use an open table."""
        self._table = table

    def prepare(
        self, column: str, point: OperatingPoint, built: Settings, search: FitSearch
    ) -> Settings:
        """Build the indexes if the table is large enough, and fit ``nprobes``.

        Args:
            column: The column of the first stage.
            point: The operating point.
            built: The settings of the present index of the column; empty without an index.
            search: Searches the table.
        """
        rows = self._table.read(lambda table: int(table.count_rows()))
        if rows < LEAST_ROWS:
            return {}
        size = int(math.sqrt(rows))
        before = int(built.get("partition_rows", 0)) if self.has(column) else 0
        if max(size, before) > _GROWTH * min(size, before):
            self._build(column, size)
            before = size
        self._build_scalar()
        fitted = self._fit(point, math.ceil(rows / before), search)
        built = {"index": "ivf_flat", "column": column, "partition_rows": before}
        return {**built, **fitted.settings("nprobes")}

    def has(self, column: str) -> bool:
        """Return whether a column has an index."""
        return column in self._table.read(lambda table: [*_indexed(table)])

    def bytes(self, column: str | None = None) -> int:
        """Return the size of the indexes of a column, or of all indexes."""
        found = self._table.read(lambda table: list(table.list_indices()))
        return sum(each.size_bytes or 0 for each in found if column in (None, *each.columns))

    def drop_others(self, column: str) -> None:
        """Drop all indexes of vectors except that of one column."""
        for name in self._table.read(_indexed).items():
            if name[0] not in (column, ID, TOKENS):
                self._table.change(lambda table, each=name[1]: table.drop_index(each))  # type: ignore[misc]

    def merge_parts(self, settings: Settings, most: int) -> None:
        """Build the index of vectors again if it has more than ``most`` parts.

        Each ``optimize`` adds a part with the new rows, and a search reads all parts.
        """
        column = str(settings.get("column", ""))
        name = self._table.read(_indexed).get(column)
        if name is not None:
            stats = self._table.read(lambda table: table.index_stats(name))
            if stats is not None and stats.num_indices > most:
                self._build(column, int(settings["partition_rows"]))

    def _build(self, column: str, partition_rows: int) -> None:
        """Build the index of a column."""
        config = prefix_index(partition_rows)
        self._table.change(lambda table: table.create_index(column, config=config, replace=True))

    def _build_scalar(self) -> None:
        index: Any = require("lancedb.index", extra="lancedb")
        indexed = self._table.read(_indexed)
        for column, config in ((ID, index.BTree()), (TOKENS, index.LabelList())):
            if column not in indexed:
                self._table.change(
                    lambda table, name=column, kind=config: table.create_index(name, config=kind)  # type: ignore[misc]
                )

    def _fit(self, point: OperatingPoint, partitions: int, search: FitSearch) -> Fitted:
        """Return the smallest ``nprobes`` that retains enough, and its overlap."""
        queries = self._queries()
        expected = search(queries, K, point, None)
        widths = tried_nprobes(partitions)
        return fit(point, widths, lambda nprobes: search(queries, K, point, nprobes), expected)

    def _queries(self) -> Embeddings:
        """Return queries between documents that are spread over the table, [n, full_dim]."""

        def sample(table: Any) -> Any:
            step = max(1, table.count_rows() // SAMPLED)
            rows = [step * number for number in range(SAMPLED)]
            return table.take_offsets(rows).select([VECTOR]).to_arrow()

        vectors = vectors_of(self._table.read(sample)[VECTOR])
        return queries_between(vectors.astype(np.float32))


def _indexed(table: Any) -> dict[str, str]:
    """Return the names of the indexes by column."""
    return {each.columns[0]: each.name for each in table.list_indices()}


def tried_nprobes(partitions: int) -> Iterator[int]:
    """Yield the numbers of partitions that are tried, ascending; the last is all partitions."""
    tried = max(1, partitions // 64)
    while tried < partitions:
        yield tried
        tried = max(tried + 1, int(1.5 * tried))
    yield partitions
