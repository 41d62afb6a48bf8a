"""The indexes of a shrink: the new one on the prefixes, and the former one on the vectors."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from nestvec.engines.lancedb.indexes import LEAST_ROWS, prefix_index
from nestvec.errors import require
from nestvec.operate.shrink.lancedb.records import FormerIndex
from nestvec.operate.shrink.lancedb.session import LanceSession, quoted_column
from nestvec.operate.shrink.request import Metric

METRICS: dict[str, Metric] = {"cosine": "cosine", "dot": "ip", "l2": "l2"}
"""The metrics by their names in LanceDB."""
_KINDS = {
    "IVF_FLAT": "IvfFlat",
    "IVF_SQ": "IvfSq",
    "IVF_PQ": "IvfPq",
    "IVF_RQ": "IvfRq",
    "IVF_HNSW_FLAT": "HnswFlat",
    "IVF_HNSW_SQ": "HnswSq",
    "IVF_HNSW_PQ": "HnswPq",
}
_MOST_PARTITIONS = 100_000
_SEARCHED = re.compile(r"partitions_searched=(\d+)")
_MOST_UNINDEXED = 0.1  # of all rows; a search scans them


def indexes_of(session: LanceSession, column: str) -> list[Any]:
    """Return what LanceDB lists about the indexes of a column."""
    names = ([column], [quoted_column(column)])
    listed = session.read(lambda table: list(table.list_indices()))
    return [each for each in listed if list(each.columns) in names]


def index_bytes(session: LanceSession, column: str) -> int:
    """Return the size of the indexes of a column."""
    return sum(each.size_bytes or 0 for each in indexes_of(session, column))


def former_index(session: LanceSession, listed: Any) -> FormerIndex:
    """Read all parameters of an index of the vectors.

    Raises:
        DataError: If the index cannot be rebuilt from its parameters.
    """
    stats = session.read(lambda table: table.index_stats(listed.name))
    kind, metric = str(stats.index_type).upper(), str(stats.distance_type).lower()
    if kind not in _KINDS:
        problem = f"the index {listed.name} has the kind {kind}, which an undo could not rebuild"
        raise session.refuse(f"{problem}. Supported: {', '.join(_KINDS)}.")
    return FormerIndex(
        listed.name,
        kind,
        metric,
        _partitions(session, metric),
        dict(listed.index_details or {}),
        int(listed.size_bytes or 0),
    )


def rebuild_former(session: LanceSession, former: FormerIndex) -> None:
    """Build the index of the vectors again, if it does not exist."""
    if any(each.name == former.name for each in indexes_of(session, session.vector)):
        return
    index: Any = require("lancedb.index", extra="lancedb")
    config = getattr(index, _KINDS[former.kind])(**_parameters(former))
    session.change(
        lambda table: table.create_index(session.vector, config=config, name=former.name)
    )


def drop_former(session: LanceSession, former: FormerIndex) -> int:
    """Drop the index of the vectors, and return its present size."""
    present = [each for each in indexes_of(session, session.vector) if each.name == former.name]
    if not present:
        return 0
    session.change(lambda table: table.drop_index(former.name))
    return int(present[0].size_bytes or 0)


def needs_index(session: LanceSession, column: str) -> bool:
    """Return whether the index of prefixes is missing, or leaves too many rows to a scan."""
    rows = session.read(lambda table: int(table.count_rows()))
    if rows < LEAST_ROWS:
        return False
    present = indexes_of(session, column)
    return not present or (present[0].num_unindexed_rows or 0) > max(
        LEAST_ROWS, _MOST_UNINDEXED * rows
    )


def build_index(session: LanceSession, column: str) -> int:
    """Build the index of prefixes, or replace it, and return the rows of a partition."""
    partition_rows = int(math.sqrt(session.read(lambda table: int(table.count_rows()))))
    config = prefix_index(partition_rows)
    session.change(lambda table: table.create_index(column, config=config, replace=True))
    return partition_rows


def former_metric(session: LanceSession) -> Metric:
    """Return the metric of the index of the vectors, or the default of LanceDB without one."""
    for each in indexes_of(session, session.vector):
        stats = session.read(lambda table, name=each.name: table.index_stats(name))  # type: ignore[misc]
        metric = METRICS.get(str(stats.distance_type).lower())
        if metric is not None:
            return metric
    return "l2"


def _partitions(session: LanceSession, metric: str) -> int | None:
    """Return the number of partitions, which LanceDB reports only in the plan of a search."""
    query = np.ones(session.dim, dtype=np.float32)

    def work(table: Any) -> str:
        search = table.search(query, vector_column_name=session.vector).distance_type(metric)
        search = search.minimum_nprobes(_MOST_PARTITIONS).maximum_nprobes(_MOST_PARTITIONS)
        return str(search.select([session.id, "_distance"]).limit(1).analyze_plan())

    found = [int(each) for each in _SEARCHED.findall(session.read(work))]
    return max(found, default=0) or None


def _parameters(former: FormerIndex) -> dict[str, Any]:
    """Return the parameters of the configuration of an index."""
    compression = former.details.get("compression") or {}
    graph = former.details.get("hnsw") or {}
    hints = former.details.get("runtime_hints") or {}
    found = {
        "distance_type": former.metric,
        "num_partitions": former.partitions,
        "m": graph.get("max_connections"),
        "ef_construction": graph.get("construction_ef"),
        "max_iterations": _number(hints, "lance.ivf.max_iters"),
        "sample_rate": _number(hints, "lance.ivf.sample_rate"),
    }
    if compression.get("type") in ("pq", "rq"):
        found["num_bits"] = compression.get("num_bits")
        found["num_sub_vectors"] = compression.get("num_sub_vectors")
    return {name: value for name, value in found.items() if value is not None}


def _number(hints: dict[str, str], name: str) -> int | None:
    return int(hints[name]) if name in hints else None
