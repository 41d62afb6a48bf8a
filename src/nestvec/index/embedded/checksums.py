"""Checksums that notice damage: xxh3, as fast as memory. They do not stop a forger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

_SIGN = 2**63


def checksum(data: bytes | memoryview) -> int:
    """Return a checksum that fits SQLite's signed integers of 64 bits."""
    value: int = xxhash.xxh3_64_intdigest(data)
    return value - 2 * _SIGN if value >= _SIGN else value


def digest(data: bytes | memoryview) -> bytes:
    """Return a checksum of 16 bytes, where a chance match would hide a loss."""
    value: bytes = xxhash.xxh3_128_digest(data)
    return value


def vector_checksums(vectors: NDArray[np.floating]) -> list[int]:
    """Return the checksum of each stored vector, [n, full_dim] -> [n]."""
    data, size = vectors.reshape(-1).view(np.uint8).data, vectors.itemsize * vectors.shape[1]
    return [checksum(data[start : start + size]) for start in range(0, len(data), size)]


def row_checksum(values: Sequence[str | int]) -> int:
    """Return the checksum of what a row of documents holds.

    Raises:
        UnicodeEncodeError: If a text is half of a surrogate pair.
    """
    return checksum(json.dumps(values, ensure_ascii=False).encode())


def file_digest(path: Path) -> str:
    """Return the checksum of a whole file, in hexadecimal."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**22):
            state.update(block)
    return str(state.hexdigest())
