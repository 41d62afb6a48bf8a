"""What a search did, stage by stage: what each handed on, how long it took, what it looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.index.embedded.codecs import FROM_VECTORS
from nestvec.index.embedded.searching import PointSearch
from nestvec.metrics.ranking import Ranked
from nestvec.types import Embeddings, Hits, Stage


@dataclass(frozen=True)
class StageTrace:
    """What one stage did with a batch of queries.

    Attributes:
        stage: What it scored, and how many it hands on.
        hits: What it handed on, best first by its own scores.
        milliseconds: How long it took.
        bytes: Codes that it scanned, or vectors that it read.
    """

    stage: Stage
    hits: Hits
    milliseconds: float
    bytes: int


@dataclass(frozen=True)
class Explained:
    """A search with what led to it.

    Attributes:
        hits: What ``search`` returns.
        stages: In the order in which they ran; the hits of the last are these hits.
    """

    hits: Hits
    stages: tuple[StageTrace, ...]


def traced(
    search: PointSearch, embeddings: Embeddings, k: int, mask: NDArray[np.bool_] | None
) -> Iterator[tuple[Ranked, float, int]]:
    """Run a search and yield what each stage found, its milliseconds and its bytes."""
    candidates, start = 0, time.perf_counter()
    for number, found in enumerate(search.stages(embeddings, k, mask)):
        milliseconds = (time.perf_counter() - start) * 1000
        yield found, milliseconds, _bytes(search, number, candidates, len(embeddings))
        candidates, start = found.rows.size, time.perf_counter()


def _bytes(search: PointSearch, number: int, candidates: int, n_queries: int) -> int:
    snapshot, codec = search.snapshot, search.codecs[number]
    each, stored = codec.bytes_per_vector, snapshot.vectors.arrays[0]
    if number and codec.precision in FROM_VECTORS:
        each = codec.dim * stored.itemsize
    looked_at = candidates if number else int(snapshot.starts[-1]) * n_queries
    in_tail = 0
    if number == len(search.codecs) - 1:
        in_tail = len(snapshot.tail.ids) * n_queries * stored.shape[1] * stored.itemsize
    return looked_at * each + in_tail
