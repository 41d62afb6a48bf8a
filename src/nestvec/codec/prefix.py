"""Layer-normalize if the model requires it, truncate, then L2-renormalize."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

LAYER_NORM_EPSILON = 1e-5  # torch.nn.functional.layer_norm's default, as nomic's card uses it


def layer_normalize(embeddings: Embeddings) -> Embeddings:
    """Scale each vector to zero mean and unit variance, [n, dim] -> [n, dim] (Ba et al. 2016)."""
    centered = embeddings - embeddings.mean(axis=1, keepdims=True)
    variance = np.mean(centered * centered, axis=1, keepdims=True)
    normalized: Embeddings = centered / np.sqrt(variance + LAYER_NORM_EPSILON)
    return normalized


def normalize(embeddings: Embeddings) -> Embeddings:
    """Scale each vector to unit length, [n, dim] -> [n, dim]; zero vectors stay zero."""
    return _normalize(embeddings, None)


def _normalize(embeddings: Embeddings, out: Embeddings | None) -> Embeddings:
    """Normalize into an array, which may be the embeddings themselves; None for a new array."""
    lengths = np.sqrt(_squared_lengths(embeddings))[:, None].astype(np.float32)
    positive = lengths > 0
    unit: Embeddings
    if positive.all():  # several times faster than a division with a condition
        unit = np.divide(embeddings, lengths, out=out)
    else:
        unit = np.divide(embeddings, lengths, out=np.zeros_like(embeddings), where=positive)
    return unit


def prefix(embeddings: Embeddings, dim: int, *, layer_norm: bool = False) -> Embeddings:
    """Truncate vectors to their first ``dim`` dimensions and renormalize them.

    Args:
        embeddings: Raw model output, [n, full_dim].
        dim: Number of dimensions to truncate to, at most full_dim.
        layer_norm: Layer-normalize the full vector first. Set it if the model card requires
            layer normalization.

    Returns:
        [n, dim], each row of unit length or zero.

    Raises:
        InvalidArgument: If ``dim`` is not from 1 to full_dim.
    """
    check_width(embeddings, dim)
    if layer_norm:
        embeddings = layer_normalize(embeddings)
    vectors = np.ascontiguousarray(embeddings[:, :dim], dtype=np.float32)
    return _normalize(vectors, None if np.may_share_memory(vectors, embeddings) else vectors)


def as_float32(embeddings: NDArray[np.floating]) -> Embeddings:
    """Return vectors as C-contiguous float32; values beyond its range become infinite."""
    with np.errstate(over="ignore"):  # callers check for infinity and report more than a warning
        return np.ascontiguousarray(embeddings, dtype=np.float32)


def as_stored(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return the unit vectors that an index stores, layer-normalized if requested.

    Args:
        embeddings: Raw model output, [n, full_dim].
        layer_norm: As in ``prefix``.

    Returns:
        [n, full_dim]. ``Codec.encode_stored`` encodes any prefix of these vectors.
    """
    return prefix(embeddings, embeddings.shape[1], layer_norm=layer_norm)


class PrefixScores:
    """Computes the cosines of queries and documents at several dims, for the cost of one product.

    The product at a larger dim is the product at the next smaller dim plus one block:
    U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T. Squared lengths add up in the same way.
    """

    def __init__(
        self, queries: Embeddings, dims: Sequence[int], *, layer_norm: bool = False
    ) -> None:
        """Normalize the queries.

        Args:
            queries: [n_queries, full_dim].
            dims: The dims, in any order.
            layer_norm: As in ``prefix``.

        Raises:
            InvalidArgument: If the queries are not 2-D, or a dim is not from 1 to full_dim.
        """
        self.dims = tuple(sorted(set(dims)))
        for dim in self.dims:
            check_width(queries, dim)
        self._layer_norm = layer_norm
        self._queries = prefix(queries, queries.shape[1], layer_norm=layer_norm)
        squares = (_squared_lengths(block) for _, block in self._blocks(self._queries))
        lengths = np.cumsum([np.zeros(len(queries)), *squares], axis=0)[1:]
        self._query_factors = [_inverse_lengths(each)[:, None] for each in lengths]

    def scores(self, corpus: Embeddings) -> Iterator[tuple[int, Embeddings]]:
        """Yield the cosines of all queries and the given documents at each dim.

        Args:
            corpus: [n, full_dim].

        Yields:
            (dim, scores [n_queries, n]), smallest dim first. The scores equal
            ``prefix(queries, dim) @ prefix(corpus, dim).T`` up to rounding.
        """
        check_width(corpus, self._queries.shape[1])
        corpus = prefix(corpus, self._queries.shape[1], layer_norm=self._layer_norm)
        product = np.zeros((len(self._queries), len(corpus)), dtype=np.float32)
        addend, squares = np.empty_like(product), np.zeros(len(corpus))
        sides = zip(self._blocks(self._queries), self._blocks(corpus), strict=True)
        for ((dim, queries), (_, block)), factor in zip(sides, self._query_factors, strict=True):
            np.matmul(queries, block.T, out=addend)
            product += addend
            squares += _squared_lengths(block)
            scores = product * factor
            scores *= _inverse_lengths(squares)
            yield dim, scores

    def _blocks(self, side: Embeddings) -> Iterator[tuple[int, Embeddings]]:
        """Yield each dim with the columns between the previous dim and this dim."""
        for start, dim in zip((0, *self.dims), self.dims, strict=False):
            yield dim, side[:, start:dim]


def prefix_scores(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], *, layer_norm: bool = False
) -> Iterator[tuple[int, Embeddings]]:
    """Yield the cosines of all queries and documents at each dim, as ``PrefixScores`` does.

    Args:
        queries: [n_queries, full_dim].
        corpus: [n, full_dim].
        dims: The dims, in any order.
        layer_norm: As in ``prefix``.

    Yields:
        (dim, scores [n_queries, n]), smallest dim first.
    """
    yield from PrefixScores(queries, dims, layer_norm=layer_norm).scores(corpus)


def check_width(embeddings: Embeddings, dim: int) -> None:
    """Check that the embeddings are 2-D and that they have ``dim`` dimensions.

    Raises:
        InvalidArgument: If they are not 2-D, or ``dim`` is not from 1 to full_dim.
    """
    if embeddings.ndim != 2:
        raise InvalidArgument(
            f"embeddings have shape {embeddings.shape}. Pass an array of shape [n, dim]."
        )
    full_dim = embeddings.shape[1]
    if dim > full_dim:
        raise InvalidArgument(
            f"dim={dim} is larger than full_dim={full_dim}. Choose a value from 1 to {full_dim}."
        )
    if dim < 1:
        raise InvalidArgument(f"dim={dim} is below 1. Choose a value from 1 to {full_dim}.")


def _squared_lengths(embeddings: Embeddings) -> NDArray[np.float64]:
    """Sum squares in float64, where squares of float32 values neither underflow nor overflow."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    return squares


def _inverse_lengths(squares: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32)
