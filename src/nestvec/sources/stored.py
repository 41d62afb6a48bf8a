"""Vectors with ids, as a reader returns them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.sample import DocumentSample
from nestvec.types import Embeddings

_CHUNK = 16_384  # rows in memory at a time


@dataclass(frozen=True, eq=False)
class StoredEmbeddings:
    """Vectors with their ids, in the order of the file.

    Attributes:
        path: The file or folder.
        ids: Unique ids, [n].
        values: float16 or float32 [n, dim], as stored; memory-mapped if they are large.
        model: Name of the model that computed the vectors; "" if the file does not record it.
        sample: The sample of the rows that was read; None if all rows were read.
    """

    path: Path | str
    ids: Sequence[str]
    values: NDArray[np.floating[Any]]
    model: str = ""
    sample: DocumentSample | None = None

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self.values)

    @property
    def dim(self) -> int:
        """Number of dimensions of each vector."""
        width: int = self.values.shape[1]
        return width

    def chunks(self) -> Iterator[Embeddings]:
        """Yield all vectors in order as float32, a few thousand rows at a time."""
        for start in range(0, len(self.values), _CHUNK):
            yield self.values[start : start + _CHUNK].astype(np.float32)
