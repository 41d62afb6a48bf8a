"""What an adapter is fitted on: vectors, perhaps queries, perhaps which document answers which.

Checked once here, and parted into what is fitted on and what is held out to measure. Where the
vectors come from is for ``workflows`` to say.
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
"""The least for each of their dims: twice what did no harm when measured (docs/adapt.md)."""
HELD_OUT = 0.2
MAX_HELD_OUT, MAX_ASKED = 20_000, 2_000  # documents and queries that are measured on
LEAST_ASKED = 500
LEAST_LABELED = 100  # queries: a fifth of fewer tells no method from another
_MOST_EQUAL = 0.5  # of all vectors: beyond it they are some mistake's


_logger = logging.getLogger(__name__)


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
    def n_labeled(self) -> int:
        """How many queries it is known of what answers them."""
        return sum(bool(len(rows)) for rows in self.positives or ())

    @property
    def labeled(self) -> bool:
        """Whether that is known of any."""
        return self.n_labeled > 0


@dataclass(frozen=True, eq=False)
class Parted:
    """A sample in two parts that share no vector.

    Attributes:
        fitted: What an adapter is fitted on.
        held_out: What it is measured on.
        asking: Where the held-out queries are too few to ask for what is nearest, the rows of
            held-out documents that do; no document finds itself. Else None.
    """

    fitted: Sample
    held_out: Sample
    asking: Rows | None


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
    equal = n - len(np.unique(_as_items(there)))
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
        raise InvalidArgument(f"vectors of shape {shape}: an adapter needs [n, full_dim]")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(bad):
        raise InvalidArgument(
            f"vector {int(bad[0])} holds NaN or infinity: encode it again, or leave it out"
        )
    return prefix(embeddings, embeddings.shape[1], layer_norm=layer_norm)


def part(sample: Sample, *, seed: int) -> Parted:
    """Hold a fifth out to measure on: documents, and as many of the queries.

    Where the held-out queries are few, documents ask for what is nearest to them. With labels, the
    documents that answer a held-out query are held out too; labels of too few queries
    to measure by are left out. Equal documents stay together.
    """
    if 0 < sample.n_labeled < LEAST_LABELED:
        _logger.warning(
            "%d labeled queries < %d, the least to measure by: labels are left out",
            sample.n_labeled,
            LEAST_LABELED,
        )
        sample = replace(sample, positives=None)
    rng = np.random.default_rng(seed)
    _, number = np.unique(_as_items(sample.documents), return_inverse=True)  # equal ones share it
    held = np.zeros(number.max() + 1, dtype=np.bool_)
    room = min(int(HELD_OUT * len(held)), MAX_HELD_OUT)
    asked = _held_queries(sample, number, held, room, rng)
    others = rng.permutation(np.flatnonzero(~held))
    held[others[: room - int(held.sum())]] = True
    left = np.setdiff1d(np.arange(len(sample.queries)), asked)
    fitted = _select(sample, left, ~held[number])
    held_out = _select(sample, asked, held[number])
    if len(asked) >= LEAST_ASKED:
        return Parted(fitted, held_out, None)
    documents = np.sort(rng.permutation(len(held_out.documents))[:MAX_ASKED])
    return Parted(fitted, held_out, documents.astype(np.int64))


def _held_queries(
    sample: Sample, number: Rows, held: NDArray[np.bool_], room: int, rng: np.random.Generator
) -> Rows:
    """Return the queries to hold out, and hold out what answers them, while there is room."""
    order = rng.permutation(len(sample.queries))
    most = min(int(HELD_OUT * len(order)), MAX_ASKED)
    if sample.positives is None or not sample.labeled:
        few = most < LEAST_ASKED  # documents say more than so few
        return np.sort(order[: 0 if few else most])
    asked: list[int] = []
    for query in order.tolist():
        answers = np.unique(number[sample.positives[query]])
        new = answers[~held[answers]]
        if len(asked) < most and len(answers) and len(new) <= room:
            held[new] = True
            room -= len(new)
            asked.append(query)
    return np.sort(np.array(asked, dtype=np.int64))


def _as_items(vectors: Embeddings) -> NDArray[np.void]:
    """Return each vector as one item; equal vectors have equal bytes."""
    contiguous = np.ascontiguousarray(vectors)
    return contiguous.view(np.dtype((np.void, vectors.itemsize * vectors.shape[1]))).ravel()


def _select(sample: Sample, queries: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Sample:
    positives = None
    if sample.positives is not None:
        new_row = np.cumsum(chosen) - 1
        positives = tuple(
            new_row[rows[chosen[rows]]].astype(np.int64)
            for rows in (sample.positives[query] for query in queries.tolist())
        )
    return Sample(sample.documents[chosen], sample.queries[queries], positives)
