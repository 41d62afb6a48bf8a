"""Subtract the mean of a corpus before quantizing, and add the mean after decoding.

Vectors of many models have a common direction: their mean is far from zero. A code of few bits then
mainly stores this direction, which is the same for all documents. A code of x - mean stores what
distinguishes the documents. The code needs no more bytes, and the mean is stored once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings

_SMALLEST = 1e-6  # smaller means and distances are rounding errors


@dataclass(frozen=True, eq=False)
class Center:
    """The mean of a corpus, and the mean distance of its vectors from the mean.

    With r = (x - mean) / scale and u = mean / |mean|, a decoded residual d of r becomes the vector

        mean + scale * (d - (1 - weight) * <u, d> * u)

    All vectors have unit length. With a long mean, <u, r> therefore differs little between
    documents, while its rounding error is multiplied by a large <u, query>. The weight reduces this
    error:

        weight = max(0, 1 - shrinkage * |mean|^2)

    ``benchmarks/centering.py`` measures the effect; |mean|^2 is the mean cosine of the vectors.

    Attributes:
        mean: [dim].
        scale: Square root of the mean squared distance from the mean. Residuals divided by the
            scale have a mean squared length of 1, as fixed codebooks expect.
        shrinkage: How much a long mean reduces the weight, at least 0.
    """

    mean: NDArray[np.float32]
    scale: float
    shrinkage: float

    @classmethod
    def fit(cls, vectors: Embeddings, shrinkage: float) -> Center:
        """Compute mean and scale of unit vectors, [n, dim]; zero vectors are left out."""
        nonzero = vectors.any(axis=1)
        if not nonzero.all():  # a selection copies all vectors
            vectors = vectors[nonzero]
        if not len(vectors):
            return cls(np.zeros(vectors.shape[1], dtype=np.float32), 1.0, shrinkage)
        mean = vectors.mean(axis=0, dtype=np.float64)
        squared = float(np.mean(np.einsum("nd,nd->n", vectors, vectors))) - float(mean @ mean)
        scale = float(np.sqrt(max(0.0, squared)))
        return cls(mean.astype(np.float32), scale if scale > _SMALLEST else 1.0, shrinkage)

    @classmethod
    def from_array(cls, values: NDArray[np.float32], shrinkage: float) -> Center:
        """Read the result of ``to_array``."""
        return cls(values[:-1], float(values[-1]), shrinkage)

    @cached_property
    def weight(self) -> float:
        """Weight of the decoded residual along the mean, from 0 to 1."""
        return max(0.0, 1 - self.shrinkage * float(self.mean @ self.mean))

    def to_array(self) -> NDArray[np.float32]:
        """Return the mean, followed by the scale, [dim + 1]."""
        return np.append(self.mean, np.float32(self.scale))

    def residuals(self, vectors: Embeddings) -> Embeddings:
        """Return what is quantized: (vectors - mean) / scale, [n, dim].

        Differences to the mean that are as small as rounding are 0, so that equal vectors have
        equal codes: a matrix product may round them differently.
        """
        residuals = vectors - self.mean
        residuals[np.abs(residuals) < _SMALLEST] = 0
        residuals /= np.float32(self.scale)
        return residuals

    def vectors(self, decoded: Embeddings) -> Embeddings:
        """Return the vectors of decoded residuals, [n, dim]."""
        return self.mean + self._weighted(decoded)

    def split_queries(self, queries: Embeddings) -> tuple[Embeddings, NDArray[np.float32]]:
        """Return queries for scoring decoded residuals, and the score of the mean.

        For each query q and decoded residual d: <q, vectors(d)> = <queries, d> + offset.

        Args:
            queries: [n_queries, dim].

        Returns:
            Queries [n_queries, dim], and offsets [n_queries].
        """
        offsets: NDArray[np.float32] = queries @ self.mean
        return self._weighted(queries), offsets

    def _weighted(self, vectors: Embeddings) -> Embeddings:
        length = float(np.linalg.norm(self.mean))
        if self.weight < 1 and length > _SMALLEST:
            direction = self.mean / np.float32(length)
            # A matrix product may round equal vectors differently and so break their ties.
            along = np.einsum("nd,d->n", vectors, direction)
            vectors = vectors - np.float32(1 - self.weight) * along[:, None] * direction
        return vectors * np.float32(self.scale)
