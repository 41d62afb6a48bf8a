"""Compare the results of a search with exact answers, query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.metrics.stats import lower_bound
from nestvec.operate.check_report import OverlapAtK
from nestvec.operate.exact import TIE, Metric, score_one
from nestvec.operate.live.database import ExactAnswers
from nestvec.types import Embeddings, Scores

_WORST_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class ComparedResults:
    """Which results of a search are exact answers.

    A result counts as an exact answer at k if its exact score is at least that of the k-th exact
    answer, so that equal documents may stand for each other.

    Attributes:
        scores: Exact scores of the results, [n_queries][at most k]; minus infinity for documents
            that no longer exist.
        exact: Scores of the exact answers, [n_queries][at most k].
    """

    scores: Sequence[Sequence[float]]
    exact: Sequence[Sequence[float]]

    def overlap(self, k: int, queries: Sequence[int] | None = None) -> Scores:
        """Return overlap@k of each query, [n_queries]; 1 for a query without exact answers.

        Args:
            k: Number of results.
            queries: Numbers of the queries; None for all.
        """
        chosen = range(len(self.exact)) if queries is None else queries
        return np.array([_overlap(self.scores[n], self.exact[n], k) for n in chosen])

    def at(self, k: int) -> OverlapAtK:
        """Return the mean overlap@k, its lower bound, and that of the worst queries."""
        values = self.overlap(k)
        worst = np.sort(values)[: max(1, round(_WORST_SHARE * len(values)))]
        at_least = lower_bound(values, lowest=0.0)
        return OverlapAtK(k, float(values.mean()), at_least, float(worst.mean()))

    def short(self, k: int) -> NDArray[np.bool_]:
        """Return which queries got fewer than k results although there are more answers."""
        pairs = zip(self.scores, self.exact, strict=True)
        return np.array([len(found) < min(k, len(exact)) for found, exact in pairs])


def compare(
    found: Sequence[Sequence[str]],
    exact: ExactAnswers,
    queries: Embeddings,
    metric: Metric,
    *,
    vectors: Callable[[Sequence[str]], Mapping[str, Embeddings]],
) -> ComparedResults:
    """Score the results of a search.

    Args:
        found: Ids of the results of each query.
        exact: The exact answers of the same queries.
        queries: The queries, [n, dim].
        metric: The metric of the scores.
        vectors: Returns vectors by id; it is called for results that are no exact answers.
    """
    known = [dict(zip(*each, strict=True)) for each in zip(exact.ids, exact.scores, strict=True)]
    missed = {id_ for ids, own in zip(found, known, strict=True) for id_ in ids if id_ not in own}
    stored = vectors(sorted(missed)) if missed else {}

    def score(query: int, id_: str) -> float:
        if id_ in known[query]:
            return known[query][id_]
        vector = stored.get(id_)
        return -np.inf if vector is None else score_one(queries[query], vector, metric)

    scores = [[score(n, id_) for id_ in ids] for n, ids in enumerate(found)]
    return ComparedResults(scores, exact.scores)


def without_own(exact: ExactAnswers, own: Sequence[str], k: int) -> ExactAnswers:
    """Return the answers of documents that serve as queries, without themselves.

    Args:
        exact: At most k + 1 answers of each query.
        own: The id of each query.
        k: Number of answers to return.
    """
    ids, scores = [], []
    for name, *answers in zip(own, exact.ids, exact.scores, strict=True):
        pairs = [pair for pair in zip(*answers, strict=True) if pair[0] != name][:k]
        ids.append([id_ for id_, _ in pairs])
        scores.append([score for _, score in pairs])
    return exact._replace(ids=ids, scores=scores)


def _overlap(found: Sequence[float], exact: Sequence[float], k: int) -> float:
    expected = min(k, len(exact))
    if not expected:
        return 1.0
    lowest = exact[expected - 1] - TIE * max(1.0, abs(exact[expected - 1]))
    right = sum(score >= lowest for score in found[:k])
    return min(right, expected) / expected
