"""The HNSW index of a first stage: when it is rebuilt, how wide it searches, what it loses."""

from __future__ import annotations

import logging

import numpy as np

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
from nestvec.types import OperatingPoint

LEAST_OVERLAP = 0.99
K = 10
EF_SEARCH = (64, 128, 256, 512, 1_024, 2_048, 4_096)
_SAMPLED_QUERIES = 50
_GROWN = 2  # an index is built and fitted again when its documents have doubled
_logger = logging.getLogger(__name__)


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
    """Give new prefixes an HNSW index, and fit the width of its searches.

    The fitted width is the smallest tried one whose results overlap with those of the exhaustive
    search by ``LEAST_OVERLAP``.
    """
    queries = search.sample(_SAMPLED_QUERIES)
    search.collection = name
    flush(connection, name)
    expected = search.run(queries, K, point, "").ids
    replace_index(connection, name, "HNSW")
    for ef_search in EF_SEARCH:
        search.ef_search = ef_search
        overlap = _overlap(expected, search.run(queries, K, point, "").ids)
        if overlap >= LEAST_OVERLAP:
            break
    else:
        _logger.warning(
            "%s: the index finds %.1f %% of the best %d documents, also with ef=%d.",
            *(point, 100 * overlap, K, ef_search),
        )
    return {
        "index": "hnsw",
        "m": M,
        "ef_construction": EF_CONSTRUCTION,
        "ef_search": ef_search,
        "rows": index_state(connection, name).rows,
        f"overlap@{K}": round(overlap, 4),
    }


def _overlap(expected: list[list[str]], found: list[list[str]]) -> float:
    pairs = zip(expected, found, strict=True)
    return float(np.mean([len({*one} & {*two}) / max(1, len(one)) for one, two in pairs]))
