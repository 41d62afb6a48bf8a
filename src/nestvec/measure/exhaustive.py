"""Rank the whole corpus at every operating point, exactly, with few large matrix products.

``first_stage`` scores every document by the first stage of each point. This module runs the later
stages, which score shortlists. The points form a tree of stages, which is processed level by level,
so that stages shared by several points are ranked once. Tests check that the rankings equal those
of the deployed index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from nestvec.engines.flat.representations import FROM_EMBEDDINGS, Representations
from nestvec.measure.candidate_scores import CandidateScores
from nestvec.measure.first_stage import FirstStage
from nestvec.metrics.ranking import Ranked, order
from nestvec.types import CodeKey, Embeddings, OnProgress, OperatingPoint, Rows, Stage

_ROUNDING = 2e-6  # a product may round the cosines of equal vectors differently by this much
_Name = TypeVar("_Name", bound=Hashable)
_Node = tuple[Stage, ...]
_List = tuple[_Node, CodeKey]
"""A ranked list: the stages before it, and the codes that rank it. Shortlists are its beginning."""


class Steps:
    """Counts steps and reports progress after each."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        """Start at 0 of ``total`` steps."""
        self._done, self._total, self._on_progress = 0, total, on_progress

    def __call__(self) -> None:
        """Count one more."""
        self._done += 1
        self._on_progress(self._done, self._total)


class ExhaustiveSearch:
    """Ranks documents at operating points, in the whole corpus or in parts of the corpus.

    Every score is computed once: the lists of a larger part are merged from the lists of its
    smaller parts, and a candidate of several shortlists is scored once.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        queries: Embeddings,
        corpus: Representations,
        *,
        depth: int,
        parts: Sequence[Rows] | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Rank every document of every part by the first stages.

        Args:
            points: Operating points that will be ranked.
            queries: Vectors as returned by the model, [n_queries, full_dim].
            corpus: The corpus, or a subset.
            depth: Number of rows to return.
            parts: Rows of disjoint parts of the corpus, each ascending; None for one part.
            on_step: Called after each of ``count_steps(points)`` steps.
        """
        self._corpus, self._depth, self._on_step = corpus, depth, on_step
        lengths = _max_lengths(
            (stage.representation, stage.keep or depth)
            for stage in (point.stages[0] for point in points)
        )
        later = {stage.representation for point in points for stage in point.stages[1:]}
        corpus.encode(key for key in coded_keys(points) if key[1] != "float32")
        self._first = FirstStage(lengths, queries, corpus, parts=parts, on_step=on_step)
        self._candidates = {key: CandidateScores(key, queries, corpus) for key in later}

    def rank(
        self,
        points: Sequence[OperatingPoint],
        *,
        parts: Sequence[int] | None = None,
        queries: Rows | None = None,
    ) -> dict[OperatingPoint, Ranked]:
        """Return the best rows of each query at each point.

        Args:
            points: Some of the points of this search.
            parts: Numbers of the parts to search; None for all parts.
            queries: Numbers of the queries, [n]; None for all queries.

        Returns:
            Scores and rows of the last stage of each point, [n_queries, at most depth].
        """
        lists: dict[_List, Ranked] = {}
        for level in range(max(len(point.stages) for point in points)):
            lengths = self._lengths(points, level)
            if level == 0:
                found = {
                    name: self._first.ranked(name[1], length, parts, queries)
                    for name, length in lengths.items()
                }
            else:
                found = self._rescore(lengths, lists, queries)
            lists |= {
                name: _equalize_scores(each, name[1], self._corpus) for name, each in found.items()
            }
        return {point: lists[_list_key(point.stages)].top(self._depth) for point in points}

    def _lengths(self, points: Sequence[OperatingPoint], level: int) -> dict[_List, int]:
        """Return the lists that a level of the tree ranks, and their lengths."""
        nodes = dict.fromkeys(p.stages[: level + 1] for p in points if len(p.stages) > level)
        return _max_lengths((_list_key(node), node[-1].keep or self._depth) for node in nodes)

    def _rescore(
        self, lengths: Mapping[_List, int], lists: Mapping[_List, Ranked], queries: Rows | None
    ) -> dict[_List, Ranked]:
        """Rank the shortlists of the level before by the scores of this level."""
        ranked: dict[_List, Ranked] = {}
        for key in {key: None for _, key in lengths}:
            # Shortlists of one list differ only in length, so the longest is scored for all.
            own = [before for before, each in lengths if each == key]
            longest = _max_lengths((_list_key(each), each[-1].keep or 0) for each in own)
            rows = {source: lists[source].rows[:, :n] for source, n in longest.items()}
            scores = self._candidates[key].scores(list(rows.values()), queries)
            scored = dict(zip(rows, scores, strict=True))
            for before in own:
                source, keep = _list_key(before), before[-1].keep
                found = order(scored[source][:, :keep], rows[source][:, :keep])
                ranked[before, key] = found.top(lengths[before, key])
        return ranked


def rank(
    points: Sequence[OperatingPoint],
    queries: Embeddings,
    corpus: Representations,
    *,
    depth: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[OperatingPoint, Ranked]:
    """Return the best rows of each query in the whole corpus at each point.

    Args:
        points: Operating points to run.
        queries: Vectors as returned by the model, [n_queries, full_dim].
        corpus: The corpus, or a subset.
        depth: Number of rows to return.
        on_step: Called after each of ``count_steps(points)`` steps.

    Returns:
        Scores and rows of the last stage of each point, [n_queries, at most depth].
    """
    return ExhaustiveSearch(points, queries, corpus, depth=depth, on_step=on_step).rank(points)


def count_steps(points: Sequence[OperatingPoint]) -> int:
    """Count the representations that rank the first stages; each is one step."""
    return len({point.stages[0].representation for point in points})


def coded_keys(points: Iterable[OperatingPoint]) -> set[CodeKey]:
    """Return each (dim, precision) of which an index of one of the points stores codes.

    Exhaustive ranking does not use the codes of float32.
    """
    stages = [point.stages for point in points]
    later = {stage.representation for each in stages for stage in each[1:]}
    stored = {key for key in later if key[1] not in FROM_EMBEDDINGS}
    return stored | {each[0].representation for each in stages}


def rescores_halves(points: Iterable[OperatingPoint]) -> bool:
    """Return whether a later stage of a point reads the float16 vectors of an index."""
    return any(stage.precision == "float16" for point in points for stage in point.stages[1:])


def _equalize_scores(found: Ranked, key: CodeKey, corpus: Representations) -> Ranked:
    """Set the scores of documents with equal codes to the same value, and sort them by row.

    A matrix product may round the scores of equal columns differently, depending on their position.
    """
    gaps = found.scores[:, :-1] - found.scores[:, 1:]
    near = gaps <= _ROUNDING
    near &= (near & (gaps > 0)).any(axis=1, keepdims=True)  # skip queries with equal scores only
    numbers, places = np.nonzero(near)
    same = corpus.equal_codes(key, found.rows[numbers, places], found.rows[numbers, places + 1])
    for query, place in zip(numbers[same].tolist(), places[same].tolist(), strict=True):
        found.scores[query, place + 1] = found.scores[query, place]
    return order(*found) if same.any() else found


def _list_key(node: _Node) -> _List:
    return node[:-1], node[-1].representation


def _max_lengths(lengths: Iterable[tuple[_Name, int]]) -> dict[_Name, int]:
    longest: dict[_Name, int] = defaultdict(int)
    for name, length in lengths:
        longest[name] = max(longest[name], length)
    return longest
