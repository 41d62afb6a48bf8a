"""Checksums of rows, vectors and files, and cache files that contain their own checksum."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from nestvec.errors import DamagedFile
from nestvec.files.atomic import replace_file

_SIGN = 2**63
_MAGIC = b"nestvec cache 1\n"
_HEAD = 64
_Bytes = NDArray[np.uint8]


def checksum(data: bytes | memoryview) -> int:
    """Return a checksum of 64 bits as a signed integer, as SQLite stores integers."""
    value: int = xxhash.xxh3_64_intdigest(data)
    return value - 2 * _SIGN if value >= _SIGN else value


def digest(data: bytes | memoryview) -> bytes:
    """Return a checksum of 16 bytes, for data where a collision would hide a lost commit."""
    value: bytes = xxhash.xxh3_128_digest(data)
    return value


def vector_checksums(vectors: NDArray[np.floating]) -> list[int]:
    """Return the checksum of each stored vector, [n, full_dim] -> [n]."""
    data, size = vectors.reshape(-1).view(np.uint8).data, vectors.itemsize * vectors.shape[1]
    return [checksum(data[start : start + size]) for start in range(0, len(data), size)]


def row_checksum(values: Sequence[str | int]) -> int:
    """Return the checksum of the values of a row of documents.

    Raises:
        UnicodeEncodeError: If a text contains an unpaired surrogate.
    """
    return checksum(json.dumps(values, ensure_ascii=False).encode())


def file_digest(path: Path) -> str:
    """Return the checksum of a file in hexadecimal."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**22):
            state.update(block)
    return str(state.hexdigest())


def write_cache(path: Path, label: str, size: int, fill: Callable[[_Bytes], None]) -> None:
    """Write a cache file atomically.

    Args:
        path: The path of the file.
        label: Identifies the data that the content was computed from.
        size: Bytes of content.
        fill: A function that fills the content, [size], in any order.

    Raises:
        DataError: If the file cannot be written.
    """
    with replace_file(path) as temporary:
        with temporary.open("wb") as file:
            _reserve(file.fileno(), _HEAD + size)
        content: _Bytes = np.empty(0, dtype=np.uint8)
        if size:
            mapped = np.memmap(temporary, dtype=np.uint8, mode="r+", offset=_HEAD, shape=(size,))
            fill(mapped)
            mapped.flush()
            content = mapped
        with temporary.open("r+b") as file:
            file.write(_head(label, content))


def read_cache(path: Path, label: str) -> _Bytes:
    """Check a cache file, and return its content as a memory map, [size].

    Raises:
        DamagedFile: If the file is missing, has another label, or differs from what was written.
    """
    try:
        size = path.stat().st_size - _HEAD
        content = np.empty(0, dtype=np.uint8)
        if size > 0:
            content = np.memmap(path, dtype=np.uint8, mode="r", offset=_HEAD, shape=(size,))
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise DamagedFile(path, "is missing") from error
    except OSError as error:
        raise DamagedFile(path, f"cannot be read ({error.strerror})") from error
    if head != _head(label, content):
        raise DamagedFile(path, "differs from what was written")
    return content


def _reserve(descriptor: int, size: int) -> None:
    """Allocate the disk space first: writing to a map on a full disk would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def _head(label: str, content: _Bytes) -> bytes:
    checksums = xxhash.xxh3_128_digest(label.encode()) + xxhash.xxh3_128_digest(content.data)
    return (_MAGIC + checksums + len(content).to_bytes(8, "little")).ljust(_HEAD, b"\0")
