"""Segment files, which store full vectors. Vectors are appended and never changed.

    page 0      header: format, version, bits per value, full_dim, generation, first row
    pages 1, 2  commit record: counter and running hash of the last commit. The two pages are
                written in turn, so that one of them is complete after a crash
    then        vectors, [n, full_dim]

SQLite records the number of committed vectors. Bytes after them are overwritten.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded.checksums import digest
from nestvec.engines.embedded.folder import RESTORE
from nestvec.engines.manifest import Stored
from nestvec.errors import DamagedFile, DataError
from nestvec.files.atomic import sync
from nestvec.files.mapped import map_array

_MAGIC = b"nestvec vectors\n"
_VERSION = 1
_PAGE = 4096
_DATA = 3 * _PAGE
_HEADER = struct.Struct("<16sIIQQQ")  # magic, version, bits, full_dim, generation, first row
_COMMIT_RECORD = struct.Struct("<Q16s")  # counter, running hash
_CHECKSUM_BYTES = 16
_BITS = {"float16": 16, "float32": 32}
MAX_BYTES = 2**30  # of one file, so that a file can be copied or written again quickly

Vectors = NDArray[np.floating]


@dataclass(frozen=True)
class Segment:
    """A segment file.

    Attributes:
        path: The path of the file.
        stored: The precision of the vectors.
        full_dim: The width of the vectors.
        generation: The generation of the row numbers.
        first_row: The row of the first vector.
    """

    path: Path
    stored: Stored
    full_dim: int
    generation: int
    first_row: int

    @property
    def capacity(self) -> int:
        """The largest number of vectors of a file."""
        return max(1, MAX_BYTES // self._row_bytes)

    def create(self, counter: int, running_hash: bytes) -> None:
        """Create the file with a record of the last commit, and flush it to disk."""
        header = _with_checksum(self._header())
        record = _page(_with_checksum(_COMMIT_RECORD.pack(counter, running_hash)))
        with self._writing("wb") as file:
            file.write(_page(header) + record + record)
            sync(self.path.parent)

    def append(self, at: int, vectors: Vectors) -> None:
        """Write vectors after the first ``at`` vectors, and flush them to disk.

        Args:
            at: The number of committed vectors. Data after them is of an interrupted write.
            vectors: [n, full_dim], in the stored precision.
        """
        with self._writing("r+b") as file:
            file.truncate(_DATA + at * self._row_bytes)
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(vectors).reshape(-1).view(np.uint8).data)

    def record_commit(self, counter: int, running_hash: bytes) -> None:
        """Record a commit in the older of the two pages, and flush the page to disk."""
        with self._writing("r+b") as file:
            file.seek(_PAGE * (1 + counter % 2))
            file.write(_with_checksum(_COMMIT_RECORD.pack(counter, running_hash)))

    def read_commit_record(self) -> tuple[int, bytes]:
        """Return the counter and the running hash of the last recorded commit.

        Raises:
            DamagedFile: If neither page is complete.
        """
        with self._opened() as file:
            pages = [self._read(file.fileno(), _PAGE * number, _COMMIT_RECORD) for number in (1, 2)]
        records = [_COMMIT_RECORD.unpack(page) for page in pages if page is not None]
        if not records:
            raise DamagedFile(self.path, f"its record of the last commit is damaged. {RESTORE}")
        counter, running_hash = max(records)
        return counter, running_hash

    def map(self, n_rows: int, *, scattered: bool = False) -> Vectors:
        """Map the first vectors into memory, [n_rows, full_dim].

        Args:
            n_rows: The number of vectors.
            scattered: Whether single rows will be read in any order, instead of all in order.

        Raises:
            DamagedFile: If the file is missing, too short, or another segment.
        """
        expected = _DATA + n_rows * self._row_bytes
        with self._opened() as file:
            size = os.fstat(file.fileno()).st_size
            if size < expected:
                problem = f"has {size:,} bytes, fewer than the {expected:,} that were written."
                raise DamagedFile(self.path, f"{problem} {RESTORE}")
            if self._read(file.fileno(), 0, _HEADER) != self._header():
                problem = "its header differs from what was written."
                raise DamagedFile(self.path, f"{problem} {RESTORE}")
            if not n_rows:
                return np.empty((0, self.full_dim), dtype=self.stored)
            shape = (n_rows, self.full_dim)
            return map_array(file, self.stored, shape, at=_DATA, scattered=scattered)

    @contextmanager
    def _writing(self, mode: str) -> Iterator[IO[bytes]]:
        """Open the file for writing, and flush it to disk at the end of the block.

        Raises:
            DataError: If the file cannot be written. Committed data is then unchanged.
        """
        try:
            with self.path.open(mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"could not be written ({error.strerror}). The last commit is unchanged."
            raise DataError(self.path, problem) from error

    def _opened(self) -> BufferedReader:
        try:
            return self.path.open("rb")
        except FileNotFoundError as error:
            raise DamagedFile(self.path, f"is missing. {RESTORE}") from error
        except OSError as error:
            raise DataError(self.path, f"cannot be read ({error.strerror})") from error

    @property
    def _row_bytes(self) -> int:
        return self.full_dim * _BITS[self.stored] // 8

    def _header(self) -> bytes:
        bits = _BITS[self.stored]
        values = (_MAGIC, _VERSION, bits, self.full_dim, self.generation, self.first_row)
        return _HEADER.pack(*values)

    @staticmethod
    def _read(descriptor: int, at: int, layout: struct.Struct) -> bytes | None:
        """Return the content of a page; None if its checksum does not match."""
        page = os.pread(descriptor, layout.size + _CHECKSUM_BYTES, at)
        packed = page[: layout.size]
        return packed if page == _with_checksum(packed) else None


def _with_checksum(packed: bytes) -> bytes:
    return packed + digest(packed)


def _page(content: bytes) -> bytes:
    return content.ljust(_PAGE, b"\0")
