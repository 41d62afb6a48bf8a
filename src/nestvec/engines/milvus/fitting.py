"""The HNSW index of a first stage: when it is rebuilt, how wide it searches, what it loses."""

from __future__ import annotations

from nestvec.engines.fitting import SAMPLED, K, fit, queries_between
from nestvec.engines.manifest import Manifest, Settings
from nestvec.engines.milvus.candidates import CandidateSearch
from nestvec.engines.milvus.collections import (
    EF_CONSTRUCTION,
    M,
    flush,
    index_state,
    replace_index,
    wait_for_index,
)
from nestvec.engines.milvus.connection import Connection
from nestvec.types import Hits, OperatingPoint

EF_SEARCH = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_GROWN = 2  # an index is built and fitted again when its documents have doubled


def is_current(
    connection: Connection, name: str, manifest: Manifest, rows: int, *, indexed: bool
) -> bool:
    """Return whether complete prefixes have the index that their number of rows needs.

    Rows that are still in memory are written, and indexed with the others.
    """
    kind = index_state(connection, name).kind
    if not indexed:
        return kind == "FLAT"
    fitted = int(manifest.settings.get("rows", 0))
    if kind != "HNSW" or not fitted or rows > _GROWN * fitted:
        return False
    flush(connection, name)
    wait_for_index(connection, name, "HNSW")
    return True


def fit_index(
    connection: Connection, search: CandidateSearch, name: str, point: OperatingPoint
) -> Settings:
    """Give new prefixes an HNSW index, and fit the width of its searches."""
    queries = queries_between(search.sample(SAMPLED))
    search.collection = name
    flush(connection, name)
    expected = search.run(queries, K, point, "")
    replace_index(connection, name, "HNSW")

    def by_width(ef_search: int) -> Hits:
        search.ef_search = ef_search
        return search.run(queries, K, point, "")

    fitted = fit(point, EF_SEARCH, by_width, expected)
    built: Settings = {"index": "hnsw", "m": M, "ef_construction": EF_CONSTRUCTION}
    rows = index_state(connection, name).rows
    return {**built, **fitted.settings("ef_search"), "rows": rows}
