"""Fit linear projections on existing vectors, without labels or queries: SVD, PCA, whitening.

A projection sorts its axes by importance and is applied before vectors are truncated. The codec
truncates and quantizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.codec.rows import EmbeddingRows
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

FITTED_ROWS = 100_000  # more rows hardly change the axes
_BLOCK = 8_192  # rows
_MIN_SPREAD = 1e-6  # relative to the largest spread; smaller values are rounding errors


@dataclass(frozen=True)
class Projection:
    """A linear change of axes, with an optional mean.

    Attributes:
        matrix: Axes as columns, most important first, [full_dim, full_dim].
        mean: Vector to subtract from unit vectors first, [full_dim]; None to subtract nothing.
    """

    matrix: Embeddings
    mean: Embeddings | None = None

    def apply(self, embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
        """Project unit vectors, documents and queries alike, [n, full_dim] -> [n, full_dim].

        Args:
            embeddings: Vectors as returned by the model; zero vectors stay zero.
            layer_norm: As in ``codec.prefix``.

        Raises:
            InvalidArgument: If the vectors have another width.
        """
        full_dim = len(self.matrix)
        if embeddings.shape[1:] != (full_dim,):
            problem = f"Vectors of shape {embeddings.shape} do not fit a projection of {full_dim}"
            raise InvalidArgument(f"{problem} dims. Use a projection fitted on these vectors.")
        unit = prefix(embeddings, full_dim, layer_norm=layer_norm)
        if self.mean is not None:
            unit[unit.any(axis=1)] -= self.mean
        return unit @ self.matrix


def fit_svd(
    embeddings: Embeddings | EmbeddingRows, *, layer_norm: bool = False, seed: int = 0
) -> Projection:
    """Fit the right singular vectors of the unit vectors.

    The vectors are not centered, so that full-width cosines do not change.

    Args:
        embeddings: Vectors as returned by the model, [n, full_dim]; at most 100,000 rows are used.
        layer_norm: As in ``codec.prefix``.
        seed: Seed of the sample of rows.

    Raises:
        InvalidArgument: If there are no vectors.
    """
    moments, _ = _moments(embeddings, layer_norm, seed)
    return Projection(_axes(moments))


def fit_pca(
    embeddings: Embeddings | EmbeddingRows, *, layer_norm: bool = False, seed: int = 0
) -> Projection:
    """Fit the principal axes of the centered unit vectors; arguments as in ``fit_svd``.

    Centering changes cosines at every width, so that even full-width scores can differ from the
    scores of the model.
    """
    moments, mean = _moments(embeddings, layer_norm, seed)
    return Projection(_axes(moments - np.outer(mean, mean)), mean.astype(np.float32))


def fit_whitening(
    embeddings: Embeddings, *, power: float = 0.25, layer_norm: bool = False, seed: int = 0
) -> Projection:
    """Fit the axes of ``fit_svd``, each divided by a power of its mean square.

    Power 0.5 is full whitening: all axes have the same variance, and the last axes, mostly noise,
    count as much as the first. The default 0.25 is halfway.

    Args:
        embeddings: As in ``fit_svd``.
        power: Power of the mean square; 0 does not scale the axes.
        layer_norm: As in ``codec.prefix``.
        seed: Seed of the sample of rows.

    Raises:
        InvalidArgument: If there are no vectors.
    """
    moments, _ = _moments(embeddings, layer_norm, seed)
    axes = _axes(moments)
    spread = np.einsum("ij,ij->j", axes, moments @ axes)
    spread = np.maximum(spread / spread.max(), _MIN_SPREAD)
    return Projection((axes / spread**power).astype(np.float32))


def random_dims(full_dim: int, *, seed: int = 0) -> Projection:
    """Permute the dimensions at random, as a baseline without any order of importance."""
    order = np.random.default_rng(seed).permutation(full_dim)
    return Projection(np.eye(full_dim, dtype=np.float32)[:, order])


def _moments(
    embeddings: Embeddings | EmbeddingRows, layer_norm: bool, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return E[x x^T] and E[x] of the unit vectors x that are not zero."""
    if not len(embeddings):
        raise InvalidArgument("Cannot fit a projection on 0 vectors. Pass at least 1 vector.")
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
