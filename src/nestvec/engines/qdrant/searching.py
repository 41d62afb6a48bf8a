"""Search the points of an index by the stages of an operating point, with the scores of the codecs.

Qdrant's scores differ from those of the codecs by rounding: it rounds a query to the precision of
the vectors. A point whose score is within ``MARGIN`` of the last one that a stage keeps is
therefore scored again by the codec. Qdrant's order of equal scores changes with the limit, so that
a query is repeated with a larger limit until all scores within the margin are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.engines.qdrant.columns import FULL, Layout, as_arrays
from nestvec.engines.qdrant.payloads import ID
from nestvec.engines.qdrant.points import Points
from nestvec.engines.qdrant.requests import Body, Step, approximate, exhaustive
from nestvec.engines.rescoring import Shortlist, rescore
from nestvec.types import Embeddings, Hits, Precision, Stage

MARGIN: dict[Precision, float] = {"float32": 1e-5, "float16": 1e-3}
"""The largest difference of a score of Qdrant and of the codec; twice 2**-11 for float16."""
LARGEST_LIMIT = 10_000
"""Among more documents of almost equal scores, those that a search returns are arbitrary."""
_GROWTH = 4
_MORE = 8  # points of a last stage, which are enough unless many scores are almost equal
Found = list[tuple[str, float]]
"""The ids and the scores of points, best first."""


def candidates(keep: int) -> int:
    """Return the number of candidates for a number of results."""
    return max(int(1.25 * keep), keep + 32)


class Separated(NamedTuple):
    """The points that a stage certainly keeps, and those that the codec must score."""

    sure: list[str]
    unsure: list[str]


class Searcher:
    """Searches of one index."""

    def __init__(self, points: Points, layout: Layout) -> None:
        """Search the points of an index."""
        self._points, self._layout = points, layout

    def exhaustive(
        self, queries: Embeddings, stages: Sequence[Stage], k: int, where: Body | None
    ) -> Hits:
        """Score all documents that match a filter by the first stage, and shortlists by the others.

        Args:
            queries: [n_queries, full_dim], of unit length or zero.
            stages: The stages.
            k: Number of results.
            where: The compiled filter; None for all documents.
        """
        allowed: list[list[str] | None] = [None] * len(queries)
        for stage in stages[:-1]:
            keep = stage.keep or k
            bodies = [
                exhaustive(self._step(query, stage, candidates(keep)), where, points)
                for query, points in zip(queries, allowed, strict=True)
            ]
            splits = [_split(found, keep, stage) for found in self._found(bodies, keep, stage)]
            allowed = list(self._kept(queries, splits, keep, stage))
        last = stages[-1]
        bodies = [
            exhaustive(self._step(query, last, candidates(k)), where, points)
            for query, points in zip(queries, allowed, strict=True)
        ]
        return self._hits(queries, bodies, k, last)

    def approximate(
        self,
        queries: Embeddings,
        stages: Sequence[Stage],
        k: int,
        where: Body | None,
        params: Body,
    ) -> Hits:
        """Search the index of the first stage; the engine runs all stages of a query in one call.

        Args:
            queries: As in ``exhaustive``.
            stages: As in ``exhaustive``.
            k: As in ``exhaustive``.
            where: As in ``exhaustive``.
            params: ``requests.search_params``.
        """
        limits = [*(stage.keep or k for stage in stages[:-1]), k + _MORE]
        bodies = []
        for query in queries:
            steps = map(self._step, [query] * len(stages), stages, limits)
            bodies.append(approximate(list(steps), where, params))
        return self._hits(queries, bodies, k, stages[-1])

    def _step(self, query: Embeddings, stage: Stage, limit: int) -> Step:
        vector = prefix(query[None], stage.dim)[0]
        return Step(vector, self._layout.name(stage.representation), limit)

    def _found(self, bodies: list[Body], keep: int, stage: Stage) -> list[Found]:
        """Run queries; repeat those whose last score is within the margin of the kept ones."""
        found = self._points.query(bodies)
        for number, body in enumerate(bodies):
            limit = body["limit"]
            while limit < LARGEST_LIMIT and _is_cut(found[number], keep, limit, stage):
                limit *= _GROWTH
                (found[number],) = self._points.query([body | {"limit": limit}])
        return found

    def _kept(
        self, queries: Embeddings, splits: Sequence[Separated], keep: int, stage: Stage
    ) -> Iterable[list[str]]:
        """Yield the points that a stage keeps."""
        for query, split in zip(queries, splits, strict=True):
            left = keep - len(split.sure)
            if len(split.unsure) <= left:
                yield split.sure + split.unsure
                continue
            (scored,), points = self._candidates([split.unsure])
            hits = rescore(query[None], [scored], [_last(stage)], left)
            yield split.sure + [points[id_] for id_ in hits.ids[0]]

    def _hits(self, queries: Embeddings, bodies: list[Body], k: int, stage: Stage) -> Hits:
        splits = []
        for found in self._found(bodies, k, stage):
            split = _split(found, k, stage)
            splits.append(split.sure + split.unsure)
        scored, _ = self._candidates(splits)
        return rescore(queries, scored, [_last(stage)], k)

    def _candidates(self, lists: Sequence[Sequence[str]]) -> tuple[list[Shortlist], dict[str, str]]:
        """Read the ids and the vectors of points; also return the points by id."""
        wanted = list(dict.fromkeys(point for points in lists for point in points))
        read = self._points.retrieve(wanted, [ID], [FULL]) if wanted else []
        vectors = as_arrays(read)
        rows = {str(point.id): row for row, point in enumerate(read)}
        ids = [point.payload[ID] for point in read]
        scored = []
        for points in lists:
            chosen = [rows[point] for point in points if point in rows]
            empty = np.empty((0, self._layout.full_dim), np.float32)
            scored.append(
                Shortlist([ids[row] for row in chosen], vectors[chosen] if chosen else empty)
            )
        return scored, {ids[row]: point for point, row in rows.items()}


def _split(found: Found, keep: int, stage: Stage) -> Separated:
    """Separated points by their distance from the score of the last kept point."""
    if len(found) <= keep:
        return Separated([], [point for point, _ in found])
    margin, limit = MARGIN[stage.precision], found[keep - 1][1]
    sure = [point for point, score in found if score > limit + margin]
    unsure = [point for point, score in found if abs(score - limit) <= margin]
    return Separated(sure, unsure)


def _is_cut(found: Found, keep: int, limit: int, stage: Stage) -> bool:
    """Return whether more points than those found can be within the margin."""
    if len(found) < limit:
        return False
    return found[-1][1] >= found[keep - 1][1] - MARGIN[stage.precision]


def _last(stage: Stage) -> Stage:
    return Stage(stage.dim, stage.precision)
