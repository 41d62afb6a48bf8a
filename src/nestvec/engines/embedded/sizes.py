"""The bytes of an index folder, measured from its files or computed for an operating point."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nestvec.codec.quantizer import code_bytes
from nestvec.engines.embedded.folder import CODES, DATABASE, FROM_VECTORS, VECTORS, coded_keys
from nestvec.engines.manifest import Stored
from nestvec.engines.results import PointBytes
from nestvec.types import OperatingPoint

_ORDER_BYTES = 16  # per document in a part: its row, and the offset of its id


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return _sum(folder.rglob("*"))


def vector_bytes(folder: Path) -> int:
    """Return the size of the files of vectors and of parts (codes, rows and ids)."""
    return folder_bytes(folder / VECTORS) + folder_bytes(folder / CODES)


def text_bytes(folder: Path) -> int:
    """Return the size of the database of documents and its log."""
    return _sum([folder / DATABASE, folder / f"{DATABASE}-wal"])


def ram_bytes(point: OperatingPoint) -> int:
    """Return the bytes per vector that a search needs in memory: the first stage's codes."""
    return code_bytes(*point.stages[0].representation)


def read_bytes(point: OperatingPoint, stored: Stored) -> int:
    """Return the largest number of bytes that one query reads to rescore its shortlists."""
    total = 0
    for before, stage in zip(point.stages, point.stages[1:], strict=False):
        from_vectors = stage.precision in FROM_VECTORS
        each = stage.dim * np.dtype(stored).itemsize if from_vectors else None
        total += (before.keep or 0) * (each or code_bytes(*stage.representation))
    return total


def planned_bytes(
    point: OperatingPoint, stored: Stored, full_dim: int, *, id_bytes: float, text_bytes: float
) -> PointBytes:
    """Return the bytes per document of an index folder with many documents.

    Args:
        point: The operating point.
        stored: The precision of stored vectors.
        full_dim: The width of stored vectors.
        id_bytes: Mean length of an id in UTF-8.
        text_bytes: Mean bytes of a document in the database.
    """
    codes = sum(code_bytes(*key) for key in coded_keys(point))
    return PointBytes(
        ram_per_vector=ram_bytes(point),
        disk_per_vector=full_dim * np.dtype(stored).itemsize + codes + _ORDER_BYTES + id_bytes,
        text_per_vector=text_bytes,
        read_per_query=read_bytes(point, stored),
    )


def _sum(paths: Iterable[Path]) -> int:
    sizes = 0
    for path in paths:
        try:
            sizes += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # SQLite may remove the log at any time
            continue
    return sizes
