"""What an adaptor is fitted on: vectors, perhaps queries, perhaps which document answers which.

Checked once here, and parted into what is fitted on and what is held out to measure. Where the
vectors come from is for ``workflows`` to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.prefix import prefix
from nestvec.types import Embeddings, Rows
from nestvec.wording import count_text, percent

ROWS_PER_DIM = 4
"""Fewer vectors than this for each of their dims leave the axes to chance: nothing is fitted."""
HELD_OUT = 0.2
MAX_HELD_OUT, MAX_ASKED = 20_000, 2_000  # documents and queries that are measured on
LEAST_ASKED = 100
_MOST_EQUAL = 0.5  # of all vectors: beyond it they are some mistake's


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors of unit length, in the space in which cosines are taken.

    Attributes:
        documents: [n, full_dim].
        queries: [n_queries, full_dim]; none are needed.
        positives: For each query the rows of the documents that answer it, perhaps none;
            None where nothing is known.
    """

    documents: Embeddings
    queries: Embeddings
    positives: tuple[Rows, ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether it is known for any query what answers it."""
        return self.positives is not None and any(len(rows) for rows in self.positives)


@dataclass(frozen=True, eq=False)
class Parted:
    """A sample in two parts that share no vector.

    Attributes:
        fitted: What an adaptor is fitted on.
        held_out: What it is measured on.
        own_rows: Where the held-out queries are documents themselves, their rows in the held-out
            documents, so that no document finds itself; else None.
    """

    fitted: Sample
    held_out: Sample
    own_rows: Rows | None


def check_vectors(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return unit vectors, or say in one line why nothing can be fitted on these.

    Args:
        embeddings: [n, full_dim], as the model gives them; rows of zeros stay, and count for
            nothing.
        layer_norm: As in ``codec.prefix``.

    Raises:
        InvalidArgument: If they are not [n, full_dim], hold NaN or infinity, are too few for
            their width, or most of them are equal.
    """
    unit = unit_vectors(embeddings, layer_norm=layer_norm)
    full_dim = unit.shape[1]
    there = unit[unit.any(axis=1)]
    n, needed = len(there), ROWS_PER_DIM * full_dim
    if n < needed:
        few = f"{count_text(n, 'vector')} other than zero < {needed:,}"
        raise InvalidArgument(f"{few}, the least for {full_dim} dims: add more")
    # Equal vectors have equal bytes.
    items = there.view(np.dtype((np.void, there.itemsize * full_dim))).ravel()
    equal = n - len(np.unique(items))
    if equal > _MOST_EQUAL * n:
        most = f"{equal:,} of {n:,} vectors repeat another, more than {percent(_MOST_EQUAL)}"
        raise InvalidArgument(f"{most}: leave duplicates out")
    return unit


def unit_vectors(embeddings: Embeddings, *, layer_norm: bool = False) -> Embeddings:
    """Return vectors at unit length, rows of zeros as they are.

    Raises:
        InvalidArgument: If they are not [n, full_dim], or hold NaN or infinity.
    """
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        shape = list(embeddings.shape)
        raise InvalidArgument(f"vectors of shape {shape}: an adaptor needs [n, full_dim]")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise InvalidArgument(
            f"vector {int(bad[0])} holds NaN or infinity: encode it again, or leave it out"
        )
    return prefix(embeddings, embeddings.shape[1], layer_norm=layer_norm)


def part(sample: Sample, *, seed: int) -> Parted:
    """Hold a fifth out to measure on: documents, and as many of the queries.

    Where there are no queries, or few without labels, some of the held-out documents ask. With
    labels, the documents that answer a held-out query are held out too.
    """
    rng = np.random.default_rng(seed)
    n, n_queries = len(sample.documents), len(sample.queries)
    asking = rng.permutation(n_queries)
    n_asked = min(int(HELD_OUT * n_queries), MAX_ASKED)
    if not sample.labelled and n_asked < LEAST_ASKED:
        n_asked = 0  # documents say more than so few
    asked, left = np.sort(asking[:n_asked]), np.sort(asking[n_asked:])
    held = np.zeros(n, dtype=np.bool_)
    held[rng.permutation(n)[: min(int(HELD_OUT * n), MAX_HELD_OUT)]] = True
    if sample.positives is not None:
        for query in asked.tolist():
            held[sample.positives[query]] = True
    fitted = _select(sample, left, ~held)
    held_out = _select(sample, asked, held)
    if n_asked:
        return Parted(fitted, held_out, None)
    own = np.sort(rng.permutation(len(held_out.documents))[:MAX_ASKED]).astype(np.int64)
    return Parted(fitted, replace(held_out, queries=held_out.documents[own]), own)


def _select(sample: Sample, queries: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Sample:
    positives = None
    if sample.positives is not None:
        new_row = np.cumsum(chosen) - 1
        positives = tuple(
            new_row[rows[chosen[rows]]].astype(np.int64)
            for rows in (sample.positives[query] for query in queries.tolist())
        )
    return Sample(sample.documents[chosen], sample.queries[queries], positives)
