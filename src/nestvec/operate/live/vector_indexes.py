"""Indexes for nearest neighbors on a table of PostgreSQL, and the one that a search uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nestvec.operate.exact import Metric

_INDEXES = """
SELECT c.relname, am.amname, opc.opcname, pg_get_indexdef(i.indexrelid, 1, false),
    i.indkey[0] <> 0
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS am ON am.oid = c.relam
JOIN pg_opclass AS opc ON opc.oid = i.indclass[0]
WHERE i.indrelid = %s::regclass AND i.indisvalid AND i.indpred IS NULL
AND am.amname IN ('hnsw', 'ivfflat') ORDER BY i.indexrelid
"""


class VectorIndex(NamedTuple):
    """An index for nearest neighbors.

    Attributes:
        name: Its name.
        method: ``hnsw`` or ``ivfflat``.
        operator_class: The operator class, which states the type and the metric.
        expression: The SQL of the indexed column or expression.
        is_plain: Whether it indexes a column, and not an expression.
    """

    name: str
    method: str
    operator_class: str
    expression: str
    is_plain: bool

    @property
    def metric(self) -> Metric | None:
        """The metric; None for others than cosine, inner product and Euclidean distance."""
        name = self.operator_class
        found: dict[str, Metric] = {"_cosine_ops": "cosine", "_ip_ops": "ip", "_l2_ops": "l2"}
        return next((each for end, each in found.items() if name.endswith(end)), None)


def read_indexes(connection: Any, table: str) -> list[VectorIndex]:
    """Return the valid indexes over all rows of a table.

    Args:
        connection: A connection of psycopg.
        table: The quoted name of the table.
    """
    return [VectorIndex(*row) for row in connection.execute(_INDEXES, [table]).fetchall()]


def fitting_index(
    indexes: Sequence[VectorIndex], column: str, dim: int, metric: Metric | None
) -> VectorIndex | None:
    """Return the index that a search of the full vectors can use; None if there is none.

    Args:
        indexes: The indexes of the table.
        column: The column of vectors.
        dim: Number of dimensions of the vectors.
        metric: The metric of the search; None for any.
    """
    cast = f"{column}::halfvec({dim})"
    fitting = [
        index for index in indexes if index.is_plain and index.expression.strip('"') == column
    ] + [index for index in indexes if _plain(index.expression) == _plain(cast)]
    return next((each for each in fitting if metric in (None, each.metric)), None)


def used_index(plan: Mapping[str, Any], indexes: Sequence[VectorIndex]) -> VectorIndex | None:
    """Return the index that a plan of PostgreSQL uses; None if it uses none of them."""
    used = set(_index_names(plan))
    return next((each for each in indexes if each.name in used), None)


def _plain(expression: str) -> str:
    return re.sub(r"[\s()\"]", "", expression)


def _index_names(plan: Mapping[str, Any]) -> Iterator[str]:
    if "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", ()):
        yield from _index_names(part)
