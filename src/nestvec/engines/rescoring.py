"""Score the candidates that a database returned, for engines that do not score them exactly.

The database proposes candidates with their stored vectors. Only the scores of the codecs decide
which are returned, and in which order, so that results equal those that were measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.threads import one_thread
from nestvec.types import Embeddings, Hits, Precision, Stage


class Shortlist(NamedTuple):
    """The candidates of one query, from the first stage.

    Attributes:
        ids: Their ids, in any order.
        vectors: Their stored vectors, [n, full_dim], in the same order.
    """

    ids: Sequence[str]
    vectors: NDArray[np.floating]


def rescore(
    queries: Embeddings, candidates: Iterable[Shortlist], stages: Sequence[Stage], k: int
) -> Hits:
    """Run the stages of an operating point over candidates of its first stage.

    Args:
        queries: [n_queries, full_dim], of unit length or zero.
        candidates: The candidates of each query: at least those that the first stage keeps.
        stages: The stages. Their precisions fit nothing to a corpus.
        k: Number of results.

    Returns:
        The best ``k`` of each query, equal scores by descending id.
    """
    hits = Hits([], [])
    with one_thread():  # to wait for other threads would take longer than a few hundred candidates
        for query, found in zip(queries, candidates, strict=True):
            ids = np.array(found.ids, dtype=object)
            rows, scores = np.argsort(ids, kind="stable")[::-1], np.empty(0, np.float32)
            for stage in stages:
                scores = _scores(query, found.vectors[rows], stage)
                best = np.argsort(-scores, kind="stable")[: stage.keep or k]
                rows, scores = rows[best], scores[best]
            hits.ids.append(ids[rows].tolist())
            hits.scores.append(scores.tolist())
    return hits


def _scores(query: Embeddings, stored: NDArray[np.floating], stage: Stage) -> Embeddings:
    codec = _codec(*stage.representation)
    vectors = codec.decode_stored(stored)
    # A matrix product may round equal vectors differently and so break their ties.
    scores: Embeddings = np.einsum("nd,d->n", vectors, codec.prepare(query[None])[0])
    return scores


@lru_cache(maxsize=64)
def _codec(dim: int, precision: Precision) -> Codec:
    return Codec(dim, precision, layer_norm=False, calibration=np.empty(0, dtype=np.float32))
