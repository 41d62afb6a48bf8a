"""Rows of a stored array of vectors in another order, read when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings, Rows


@dataclass(frozen=True, eq=False)
class EmbeddingRows:
    """Vectors that are selected from an array by row number, without a copy of the array.

    Indexing by a slice or by row numbers reads these vectors and converts them to float32. The
    array may be a memory-mapped file that is larger than memory.

    Attributes:
        values: float16, float32 or float64 [n_values, full_dim].
        rows: Row in ``values`` of each vector, [n].
    """

    values: NDArray[np.floating[Any]]
    rows: Rows

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of vectors, and their width."""
        return len(self.rows), self.values.shape[1]

    def __getitem__(self, selected: slice | Rows) -> Embeddings:
        """Return vectors as float32, [n, full_dim]."""
        return self.values[self.rows[selected]].astype(np.float32, copy=False)
