"""Bytes of an index folder: those that are there, and those that a point would have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nestvec.codec.quantizer import code_bytes
from nestvec.engines.embedded.folder import CODES, DATABASE, FROM_VECTORS, VECTORS, with_codes
from nestvec.engines.manifest import Stored
from nestvec.engines.results import PointBytes
from nestvec.types import OperatingPoint

_ORDER_BYTES = 16  # of each document beside its codes: its row, and where its id begins


def folder_bytes(folder: Path) -> int:
    """Add up the sizes of all files in a folder."""
    return _sum(folder.rglob("*"))


def vector_bytes(folder: Path) -> int:
    """Add up the files of vectors, of codes, and of what finds a document by its position."""
    return folder_bytes(folder / VECTORS) + folder_bytes(folder / CODES)


def text_bytes(folder: Path) -> int:
    """Add up the files of documents: the database and its log."""
    return _sum([folder / DATABASE, folder / f"{DATABASE}-wal"])


def ram_bytes(point: OperatingPoint) -> int:
    """Return the bytes of a vector's codes that are resident: those of the first stage."""
    return code_bytes(*point.stages[0].representation)


def read_bytes(point: OperatingPoint, stored: Stored) -> int:
    """Return the bytes that one query reads for rescoring, at most: shortlists times widths."""
    total = 0
    for before, stage in zip(point.stages, point.stages[1:], strict=False):
        from_vectors = stage.precision in FROM_VECTORS
        each = stage.dim * np.dtype(stored).itemsize if from_vectors else None
        total += (before.keep or 0) * (each or code_bytes(*stage.representation))
    return total


def planned_bytes(
    point: OperatingPoint, stored: Stored, full_dim: int, *, id_bytes: float, text_bytes: float
) -> PointBytes:
    """Return what a folder of many documents has for each of them.

    Args:
        point: The operating point.
        stored: How full vectors are stored.
        full_dim: Their width.
        id_bytes: Mean length of an id in UTF-8.
        text_bytes: Of a document in the database, on average.
    """
    codes = sum(code_bytes(*key) for key in with_codes(point))
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
        except FileNotFoundError:  # the log may go at any time
            continue
    return sizes
