"""Layer-norm (where the model asks) -> truncate -> L2 renormalize: every prefix is made here.

What quantizes a prefix, and what turns it for that, is in ``codec``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

LAYER_NORM_EPSILON = 1e-5  # torch.nn.functional.layer_norm's default, as nomic's card uses it


def layer_normalize(embeddings: Embeddings) -> Embeddings:
    """Give each vector zero mean and unit variance, [n, dim] -> [n, dim] (Ba et al. 2016)."""
    centered = embeddings - embeddings.mean(axis=1, keepdims=True)
    variance = np.mean(centered * centered, axis=1, keepdims=True)
    normalized: Embeddings = centered / np.sqrt(variance + LAYER_NORM_EPSILON)
    return normalized


def normalize(embeddings: Embeddings) -> Embeddings:
    """Give each vector unit length, [n, dim] -> [n, dim]; zero vectors stay zero."""
    lengths = np.sqrt(_squared_lengths(embeddings))[:, None].astype(np.float32)
    unit: Embeddings = np.divide(
        embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0
    )
    return unit


def prefix(embeddings: Embeddings, dim: int, *, layer_norm: bool = False) -> Embeddings:
    """Cut vectors to their first ``dim`` dimensions and renormalize them.

    Args:
        embeddings: [n, full_dim], as the model gives them.
        dim: Dimensions to keep, at most full_dim.
        layer_norm: Layer-normalize the whole vector first, where the model's card asks for it.

    Returns:
        [n, dim], each of unit length or zero.

    Raises:
        InvalidArgument: If ``dim`` is not within 1 and full_dim.
    """
    check_width(embeddings, dim)
    if layer_norm:
        embeddings = layer_normalize(embeddings)
    return normalize(np.ascontiguousarray(embeddings[:, :dim], dtype=np.float32))


def as_float32(embeddings: NDArray[np.floating]) -> Embeddings:
    """Return vectors as float32 in one piece; what is above its limit becomes infinite."""
    with np.errstate(over="ignore"):  # whoever checks for infinity says more than a warning
        return np.ascontiguousarray(embeddings, dtype=np.float32)


def as_stored(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return vectors as an index keeps them: of unit length, layer-normalized where asked.

    Args:
        embeddings: [n, full_dim], as the model gives them.
        layer_norm: As in ``prefix``.

    Returns:
        [n, full_dim]; of these, rounded or not, ``Codec.encode_stored`` codes any prefix.
    """
    return prefix(embeddings, embeddings.shape[1], layer_norm=layer_norm)


def prefix_scores(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], *, layer_norm: bool = False
) -> Iterator[tuple[int, Embeddings]]:
    """Yield the cosines of every query and document at each prefix, from one full-width product.

    With A and B cut into blocks between the dims, the product of the wider prefix is the product
    of the narrower one plus one block's: U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T, and squared
    lengths add up alike.

    Args:
        queries: [n_queries, full_dim].
        corpus: [n, full_dim].
        dims: Prefixes, in any order.
        layer_norm: As in ``prefix``.

    Yields:
        (dim, scores [n_queries, n]), narrowest first; equal to
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
    """Refuse a dim that the vectors do not have.

    Raises:
        InvalidArgument: If ``dim`` is not within 1 and full_dim.
    """
    if embeddings.ndim != 2:
        raise InvalidArgument(f"embeddings need the shape [n, dim], not {embeddings.shape}")
    if dim > embeddings.shape[1]:
        raise InvalidArgument(f"dim {dim} > full_dim {embeddings.shape[1]}")
    if dim < 1:
        raise InvalidArgument(f"dim {dim} < 1")


def _squared_lengths(embeddings: Embeddings) -> NDArray[np.float64]:
    """Sum squares as float64, in which the square of no float32 is 0 or infinite."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    return squares


def _inverse_lengths(squares: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32)
