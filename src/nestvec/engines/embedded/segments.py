"""Segment files: full vectors one after another, appended to and never changed.

    page 0      what it is: format, width, kind of number, generation, number, first row
    pages 1, 2  the witness: counter and running hash of the last commit, written in turn, so that
                one of them is whole whenever the machine stops
    then        vectors, [n, full_dim]

How many of the vectors are there is what SQLite says; what lies behind them is overwritten.
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
from nestvec.engines.manifest import Stored
from nestvec.errors import DamagedFile, DataError
from nestvec.files.atomic import sync
from nestvec.files.mapped import map_array

_MAGIC = b"nestvec vectors\n"
_VERSION = 1
_PAGE = 4096
_DATA = 3 * _PAGE
_HEADER = struct.Struct("<16sIIQQQ")  # magic, version, bits, full_dim, generation, first row
_WITNESS = struct.Struct("<Q16s")  # counter, running hash
_SUM = 16
_BITS = {"float16": 16, "float32": 32}
MAX_BYTES = 2**30  # of one file: what a copy, or a failed write, has to do with at a time

Vectors = NDArray[np.floating]


@dataclass(frozen=True)
class Segment:
    """One segment file.

    Attributes:
        path: The file.
        stored: Its kind of number.
        full_dim: Its width.
        generation: Whose rows it counts.
        first_row: The row of its first vector.
    """

    path: Path
    stored: Stored
    full_dim: int
    generation: int
    first_row: int

    @property
    def room(self) -> int:
        """How many vectors a file holds."""
        return max(1, MAX_BYTES // self._row_bytes)

    def create(self, counter: int, running_hash: bytes) -> None:
        """Make the file, with the last commit as its witness, and have its name on disk."""
        header = _summed(self._header())
        witness = _page(_summed(_WITNESS.pack(counter, running_hash)))
        with self._written("wb") as file:
            file.write(_page(header) + witness + witness)
            sync(self.path.parent)

    def append(self, at: int, vectors: Vectors) -> None:
        """Write vectors behind the first ``at`` of them, and have them on disk.

        Args:
            at: How many are committed; what lies behind is of a write that never was.
            vectors: [n, full_dim], of the stored kind.
        """
        with self._written("r+b") as file:
            file.truncate(_DATA + at * self._row_bytes)
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(vectors).reshape(-1).view(np.uint8).data)

    def bear_witness(self, counter: int, running_hash: bytes) -> None:
        """Note a commit that is on disk, in the older of both pages, and have that on disk."""
        with self._written("r+b") as file:
            file.seek(_PAGE * (1 + counter % 2))
            file.write(_summed(_WITNESS.pack(counter, running_hash)))

    def witness(self) -> tuple[int, bytes]:
        """Return counter and running hash of the last commit that was noted.

        Raises:
            DamagedFile: If neither page is whole.
        """
        with self._opened() as file:
            pages = [self._read(file.fileno(), _PAGE * number, _WITNESS) for number in (1, 2)]
        noted = [_WITNESS.unpack(page) for page in pages if page is not None]
        if not noted:
            raise DamagedFile(self.path, "has lost the note of the last commit: restore a copy")
        counter, running_hash = max(noted)
        return counter, running_hash

    def map(self, n_rows: int, *, scattered: bool = False) -> Vectors:
        """Map the first vectors, [n_rows, full_dim].

        Args:
            n_rows: How many.
            scattered: Whether single rows will be read here and there, not all in order.

        Raises:
            DamagedFile: If the file is missing, too short, or another one.
        """
        expected = _DATA + n_rows * self._row_bytes
        with self._opened() as file:
            size = os.fstat(file.fileno()).st_size
            if size < expected:
                problem = f"has {size} bytes < {expected}: restore it from a copy"
                raise DamagedFile(self.path, problem)
            if self._read(file.fileno(), 0, _HEADER) != self._header():
                problem = "has another header than written: restore it from a copy"
                raise DamagedFile(self.path, problem)
            if not n_rows:
                return np.empty((0, self.full_dim), dtype=self.stored)
            shape = (n_rows, self.full_dim)
            return map_array(file, self.stored, shape, at=_DATA, scattered=scattered)

    @contextmanager
    def _written(self, mode: str) -> Iterator[IO[bytes]]:
        """Open the file to write, and have what the block writes on disk.

        Raises:
            DataError: If it cannot be; of what was committed, nothing has changed.
        """
        try:
            with self.path.open(mode) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"could not be written ({error.strerror}); the last commit is untouched"
            raise DataError(self.path, problem) from error

    def _opened(self) -> BufferedReader:
        try:
            return self.path.open("rb")
        except FileNotFoundError as error:
            raise DamagedFile(self.path, "is missing: restore it from a copy") from error
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
        """Return what a page holds, None if it is not whole."""
        page = os.pread(descriptor, layout.size + _SUM, at)
        packed = page[: layout.size]
        return packed if page == _summed(packed) else None


def _summed(packed: bytes) -> bytes:
    return packed + digest(packed)


def _page(content: bytes) -> bytes:
    return content.ljust(_PAGE, b"\0")
