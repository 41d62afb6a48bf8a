"""The sample an adapter is fitted on: documents, optional queries and optional relevance labels.

This module checks the vectors and splits the sample into a part to fit on and a held-out part to
measure on. ``recipes.adapting`` collects the vectors.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, Rows
from nestvec.wording import count_text, percent

ROWS_PER_DIM = 4
"""Minimum vectors per dim: twice the number that was harmless when measured (docs/adapt.md)."""
HELD_OUT = 0.2  # share of documents and of queries
MAX_HELD_OUT, MAX_QUERIES = 20_000, 2_000  # held-out documents and queries
MIN_QUERIES = 500  # with fewer held-out queries, documents are used as queries
MIN_LABELED = 100  # labeled queries; a fifth of fewer cannot distinguish methods
_MAX_DUPLICATES = 0.5  # share of the vectors; more duplicates suggest a mistake


_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """Unit vectors of documents and queries, with optional relevance labels.

    Attributes:
        documents: [n, full_dim].
        queries: [n_queries, full_dim]; n_queries may be 0.
        positives: For each query, the rows of the relevant documents, possibly none; None without
            labels.
    """

    documents: Embeddings
    queries: Embeddings
    positives: tuple[Rows, ...] | None = None

    @property
    def n_labeled(self) -> int:
        """Number of queries with at least one relevant document."""
        return sum(bool(len(rows)) for rows in self.positives or ())

    @property
    def labeled(self) -> bool:
        """Whether any query has a relevant document."""
        return self.n_labeled > 0


@dataclass(frozen=True, eq=False)
class HeldOutSplit:
    """A sample in two parts that share no vector.

    Attributes:
        fitted: The part to fit on.
        held_out: The part to measure on.
        document_queries: Rows of the held-out documents that replace the queries when nearest
            neighbors are measured; None if there are enough held-out queries.
    """

    fitted: Sample
    held_out: Sample
    document_queries: Rows | None


def check_vectors(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return unit vectors, after checking that an adapter can be fitted on them.

    Args:
        embeddings: Vectors as returned by the model, [n, full_dim]. Zero rows stay zero and do not
            count.
        layer_norm: As in ``codec.prefix``.

    Raises:
        InvalidArgument: If the shape is not [n, full_dim], a value is NaN or infinite, there are
            too few vectors for their width, or more than half of them are duplicates.
    """
    unit = unit_vectors(embeddings, layer_norm=layer_norm)
    full_dim = unit.shape[1]
    there = unit[unit.any(axis=1)]
    n, needed = len(there), ROWS_PER_DIM * full_dim
    if n < needed:
        few = f"{count_text(n, 'nonzero vector')}: an adapter for {full_dim} dims needs at least"
        raise InvalidArgument(f"{few} {needed:,}. Add vectors.")
    equal = n - len(np.unique(_as_items(there)))
    if equal > _MAX_DUPLICATES * n:
        most = f"{equal:,} of {n:,} vectors are duplicates, more than {percent(_MAX_DUPLICATES)}."
        raise InvalidArgument(f"{most} Remove duplicates.")
    return unit


def unit_vectors(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return vectors scaled to unit length; zero rows stay zero.

    Raises:
        InvalidArgument: If the shape is not [n, full_dim], or a value is NaN or infinite.
    """
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        shape = list(embeddings.shape)
        raise InvalidArgument(f"Vectors have shape {shape}. Pass an array of [n, full_dim].")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise InvalidArgument(
            f"Vector {int(bad[0])} contains NaN or infinity. Encode its text again or remove it."
        )
    return prefix(embeddings, embeddings.shape[1], layer_norm=layer_norm)


def split_sample(sample: Sample, *, seed: int) -> HeldOutSplit:
    """Hold out a fifth of the documents, and of the queries, to measure on.

    With labels, the relevant documents of held-out queries are held out, too. Labels of fewer than
    100 queries are ignored. Equal documents stay in the same part. If fewer than 500 queries are
    held out, documents are used as queries where no labels are needed.
    """
    if 0 < sample.n_labeled < MIN_LABELED:
        _logger.warning(
            "labels are ignored: %d labeled queries are fewer than the %d needed to measure",
            sample.n_labeled,
            MIN_LABELED,
        )
        sample = replace(sample, positives=None)
    rng = np.random.default_rng(seed)
    # Equal documents share a number.
    _, number = np.unique(_as_items(sample.documents), return_inverse=True)
    held = np.zeros(number.max() + 1, dtype=np.bool_)
    room = min(int(HELD_OUT * len(held)), MAX_HELD_OUT)
    queries = _hold_out_queries(sample, number, held, room, rng)
    others = rng.permutation(np.flatnonzero(~held))
    held[others[: room - int(held.sum())]] = True
    left = np.setdiff1d(np.arange(len(sample.queries)), queries)
    fitted = _select(sample, left, ~held[number])
    held_out = _select(sample, queries, held[number])
    if len(queries) >= MIN_QUERIES:
        return HeldOutSplit(fitted, held_out, None)
    documents = np.sort(rng.permutation(len(held_out.documents))[:MAX_QUERIES])
    return HeldOutSplit(fitted, held_out, documents.astype(np.int64))


def _hold_out_queries(
    sample: Sample, number: Rows, held: NDArray[np.bool_], room: int, rng: np.random.Generator
) -> Rows:
    """Choose the queries to hold out, and mark their relevant documents in ``held``.

    At most ``room`` distinct documents are marked.
    """
    order = rng.permutation(len(sample.queries))
    most = min(int(HELD_OUT * len(order)), MAX_QUERIES)
    if sample.positives is None or not sample.labeled:
        few = most < MIN_QUERIES  # documents are used as queries instead
        return np.sort(order[: 0 if few else most])
    chosen: list[int] = []
    for query in order.tolist():
        relevant = np.unique(number[sample.positives[query]])
        new = relevant[~held[relevant]]
        if len(chosen) < most and len(relevant) and len(new) <= room:
            held[new] = True
            room -= len(new)
            chosen.append(query)
    return np.sort(np.array(chosen, dtype=np.int64))


def _as_items(vectors: Embeddings) -> NDArray[np.void]:
    """View each vector as one item of bytes; items are equal where all bytes are."""
    contiguous = np.ascontiguousarray(vectors)
    return contiguous.view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()


def _select(sample: Sample, queries: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Sample:
    """Return a sample of the given queries and of the documents with True in ``chosen``, [n]."""
    positives = None
    if sample.positives is not None:
        new_row = np.cumsum(chosen) - 1
        positives = tuple(
            new_row[rows[chosen[rows]]].astype(np.int64)
            for rows in (sample.positives[query] for query in queries.tolist())
        )
    return Sample(sample.documents[chosen], sample.queries[queries], positives)
