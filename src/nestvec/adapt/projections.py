"""Projections of vectors that exist already, so that their first dimensions hold the most.

Linear, and fitted on a corpus without labels or queries. Applied before a prefix is cut; cutting
and quantizing are the codec's work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

FITTED_ROWS = 100_000  # more of them no longer move the axes
_BLOCK = 8_192
_LEAST_SPREAD = 1e-6  # of the greatest: below it there is only rounding


@dataclass(frozen=True)
class Projection:
    """An orthogonal change of axes, perhaps around a mean.

    Attributes:
        matrix: [full_dim, full_dim], the most important axis first.
        mean: Subtracted from unit vectors before, [full_dim]; None where nothing is.
    """

    matrix: Embeddings
    mean: Embeddings | None = None

    def apply(self, embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
        """Project unit vectors, documents and queries alike, [n, full_dim] -> [n, full_dim].

        Args:
            embeddings: As the model gives them; zero vectors stay zero.
            layer_norm: As in ``codec.prefix``.

        Raises:
            InvalidArgument: If the vectors have another width.
        """
        full_dim = len(self.matrix)
        if embeddings.shape[1:] != (full_dim,):
            raise InvalidArgument(f"vectors of shape {embeddings.shape}, projection of {full_dim}")
        unit = prefix(embeddings, full_dim, layer_norm=layer_norm)
        if self.mean is not None:
            unit[unit.any(axis=1)] -= self.mean
        return unit @ self.matrix


def fit_svd(embeddings: Embeddings, *, layer_norm: bool = False, seed: int = 0) -> Projection:
    """Take the right singular vectors of the unit vectors: uncentered, so cosines stay as they are.

    Args:
        embeddings: [n, full_dim], as the model gives them; at most 100,000 rows are used.
        layer_norm: As in ``codec.prefix``.
        seed: Of the sample.

    Raises:
        InvalidArgument: If there are no vectors.
    """
    moments, _ = _moments(embeddings, layer_norm, seed)
    return Projection(_axes(moments))


def fit_pca(embeddings: Embeddings, *, layer_norm: bool = False, seed: int = 0) -> Projection:
    """Take the principal axes of the unit vectors around their mean; arguments as ``fit_svd``.

    Centring moves cosines even at full width: what this scores there can differ from the model.
    """
    moments, mean = _moments(embeddings, layer_norm, seed)
    return Projection(_axes(moments - np.outer(mean, mean)), mean.astype(np.float32))


def fit_whitening(
    embeddings: Embeddings, *, power: float = 0.25, layer_norm: bool = False, seed: int = 0
) -> Projection:
    """Take the axes of ``fit_svd`` and shrink what they differ in by.

    Each axis is divided by a power of its mean square. A half would spread all equally, and make
    what the last axes hold, mostly noise, as loud as what the first do; a quarter is half way.

    Args:
        embeddings: As ``fit_svd`` takes them.
        power: 0 leaves lengths as they are.
        layer_norm: As in ``codec.prefix``.
        seed: Of the sample.

    Raises:
        InvalidArgument: If there are no vectors.
    """
    moments, _ = _moments(embeddings, layer_norm, seed)
    axes = _axes(moments)
    spread = np.einsum("ij,ij->j", axes, moments @ axes)
    spread = np.maximum(spread / spread.max(), _LEAST_SPREAD)
    return Projection((axes / spread**power).astype(np.float32))


def random_dims(full_dim: int, *, seed: int = 0) -> Projection:
    """Put the dimensions in random order: what a model without any order would lose."""
    order = np.random.default_rng(seed).permutation(full_dim)
    return Projection(np.eye(full_dim, dtype=np.float32)[:, order])


def _moments(
    embeddings: Embeddings, layer_norm: bool, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return E[x x^T] and E[x] of the unit vectors x that are not zero."""
    if not len(embeddings):
        raise InvalidArgument("cannot fit a projection on 0 vectors")
    n, full_dim = embeddings.shape
    rows = np.arange(n)
    if n > FITTED_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(n, FITTED_ROWS, replace=False))
    squares, total, count = np.zeros((full_dim, full_dim)), np.zeros(full_dim), 0
    for start in range(0, len(rows), _BLOCK):
        unit = prefix(embeddings[rows[start : start + _BLOCK]], full_dim, layer_norm=layer_norm)
        squares += unit.T @ unit
        total += unit.sum(axis=0, dtype=np.float64)
        count += int(unit.any(axis=1).sum())
    return squares / max(count, 1), total / max(count, 1)


def _axes(moments: NDArray[np.float64]) -> Embeddings:
    _, axes = np.linalg.eigh(moments)  # ascending
    return np.ascontiguousarray(axes[:, ::-1], dtype=np.float32)
