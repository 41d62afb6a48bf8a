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
    lengths = np.sqrt(_squared_lengths(embeddings))[:, None].astype(np.float32)
    unit: Embeddings = np.divide(
        embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0
    )
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
    return normalize(np.ascontiguousarray(embeddings[:, :dim], dtype=np.float32))


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


def prefix_scores(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], *, layer_norm: bool = False
) -> Iterator[tuple[int, Embeddings]]:
    """Yield the cosines of all queries and documents at each dim, for the cost of one product.

    The product at a larger dim is the product at the next smaller dim plus one block:
    U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T. Squared lengths add up in the same way.

    Args:
        queries: [n_queries, full_dim].
        corpus: [n, full_dim].
        dims: The dims, in any order.
        layer_norm: As in ``prefix``.

    Yields:
        (dim, scores [n_queries, n]), smallest dim first. The scores equal
        ``prefix(queries, dim) @ prefix(corpus, dim).T`` up to rounding.
    """
    full_dim = corpus.shape[1]
    check_width(queries, full_dim)
    queries, corpus = (prefix(side, full_dim, layer_norm=layer_norm) for side in (queries, corpus))
    product = np.zeros((len(queries), len(corpus)), dtype=np.float32)
    query_squares, corpus_squares = np.zeros(len(queries)), np.zeros(len(corpus))
    start = 0
    for stop in sorted(set(dims)):
        check_width(corpus, stop)
        query_block, corpus_block = queries[:, start:stop], corpus[:, start:stop]
        product += query_block @ corpus_block.T
        query_squares += _squared_lengths(query_block)
        corpus_squares += _squared_lengths(corpus_block)
        scores = product * _inverse_lengths(query_squares)[:, None]
        scores *= _inverse_lengths(corpus_squares)
        yield stop, scores
        start = stop


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
