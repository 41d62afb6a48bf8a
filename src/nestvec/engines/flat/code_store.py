"""Store arrays of codes in memory up to a limit, and further arrays in temporary files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from nestvec.types import Codes

MEMORY_BYTES = 2**30  # for all codes of a corpus in memory; further codes are stored in files


class StoredCodes(Protocol):
    """Codes that are written in blocks."""

    def append(self, block: Codes) -> None:
        """Write the next rows."""
        ...

    def array(self) -> Codes:
        """Return all rows, [n, bytes_per_vector]."""
        ...


class CodeStore:
    """The arrays of codes of one corpus."""

    def __init__(self) -> None:
        """Start without arrays; a folder is created for the first file."""
        self._in_memory = 0
        self._folder: TemporaryDirectory[str] | None = None
        self._files = 0

    def create(self, shape: tuple[int, int]) -> StoredCodes:
        """Return an array without rows.

        Args:
            shape: The shape when all rows are written.
        """
        size = shape[0] * shape[1]
        if self._in_memory + size <= MEMORY_BYTES:
            self._in_memory += size
            return _InMemory(shape)
        return self.create_file(shape)

    def create_file(self, shape: tuple[int, int]) -> StoredFile:
        """Return an array without rows in a file, like ``create``."""
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="nestvec-codes-")
        self._files += 1
        return StoredFile(Path(self._folder.name) / str(self._files), shape)

    def close(self) -> None:
        """Delete the files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._in_memory = 0


class _InMemory:
    def __init__(self, shape: tuple[int, int]) -> None:
        self._codes: Codes = np.empty(shape, dtype=np.uint8)
        self._n = 0

    def append(self, block: Codes) -> None:
        self._codes[self._n : self._n + len(block)] = block
        self._n += len(block)

    def array(self) -> Codes:
        return self._codes


class StoredFile:
    """Codes in a file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        """Create an empty file; ``shape`` is as in ``CodeStore.create``."""
        self.path, self._shape = path, shape
        path.touch()

    def append(self, block: Codes) -> None:
        """Write the next rows."""
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(block).data)

    def array(self) -> Codes:
        """Map the file. A mapping that ends lets the system drop the pages of the file."""
        return np.memmap(self.path, dtype=np.uint8, mode="r", shape=self._shape)
