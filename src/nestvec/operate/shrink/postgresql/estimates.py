"""Estimated time and space of each statement, from the size of the table.

index_bytes   = rows * (bytes of a code + 350)
index_seconds = rows * (0.6 ms + 0.7 us * bytes of a code)
column_bytes  = rows * (bytes of a code + bytes of a row in the table)
adapt_seconds = rows * dims of the code * (0.6 us + 0.5 ns * dims)
fill_seconds  = rows * (10 us + (0.6 ms + 5 us * dims) for each HNSW index of the table)

An update writes a new version of the row, and enters it in all indexes of the table. The constants
were measured with PostgreSQL 18.6 and pgvector 0.8.6 on two processor cores, with 10,000 to 100,000
rows that fit into memory. A graph that exceeds ``maintenance_work_mem`` is built many times slower.
"""

from __future__ import annotations

from nestvec.codec.quantizer import code_bytes
from nestvec.types import CodeKey

_NODE_BYTES = 350  # neighbors, headers and unused space of a page
_NODE_S, _BYTE_S = 0.6e-3, 0.7e-6
_UPDATE_S, _INSERT_S, _DIM_S = 10e-6, 0.6e-3, 5e-6
_WEIGHTS_S, _WEIGHT_S = 0.6e-6, 0.5e-9


def index_bytes(rows: int, key: CodeKey) -> int:
    """Return the size of an HNSW index.

    >>> index_bytes(1_000_000, (128, "float16"))
    606000000
    """
    return rows * (code_bytes(*key) + _NODE_BYTES)


def index_seconds(rows: int, key: CodeKey) -> float:
    """Return the time to build an HNSW index."""
    return rows * (_NODE_S + _BYTE_S * code_bytes(*key))


def column_bytes(rows: int, key: CodeKey, table_bytes: int) -> int:
    """Return the space that the new versions of all rows need."""
    return rows * code_bytes(*key) + table_bytes


def fill_seconds(rows: int, dim: int, hnsw_indexes: int) -> float:
    """Return the time to compute a column for all rows.

    >>> round(fill_seconds(1_000_000, 768, 0)), round(fill_seconds(1_000_000, 768, 1))
    (10, 4450)
    """
    return rows * (_UPDATE_S + (_INSERT_S + _DIM_S * dim) * hnsw_indexes)


def adapt_seconds(rows: int, dim: int, code_dim: int) -> float:
    """Return the additional time to adapt all rows.

    >>> round(adapt_seconds(1_000_000, 768, 128))
    126
    """
    return rows * code_dim * (_WEIGHTS_S + _WEIGHT_S * dim)
