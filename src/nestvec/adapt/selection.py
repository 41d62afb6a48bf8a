"""Measure adapters on held-out vectors, query by query at each dim, and choose one.

Without labels, the measure is nearest@10: whether the nearest document at full width, without an
adapter, is among the ten nearest of a prefix. With labels, nDCG@10 is measured, too. Rankings are
exhaustive and use truncated, renormalized vectors.

The caller passes the adapters from cheap to strong. The strongest adapter is chosen that

- is significantly better than truncation in the mean over the dims below the full width,
- is not worse than truncation at any dim, within ``MARGIN``,
- and is not significantly worse than the cheaper adapter chosen before. An adapter fitted on labels
  must be significantly better than this adapter, because it may not suit other queries.

If no adapter qualifies, vectors are only truncated. Where nDCG@10 shows a significant difference,
nearest@10 is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.adapt.sample import HeldOutSplit
from nestvec.codec.prefix import prefix_scores
from nestvec.metrics.ranking import best
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.metrics.stats import lower_bound
from nestvec.models.adapter import Head
from nestvec.types import Embeddings, Rows

Metric = Literal["ndcg@10", "nearest@10"]
Scores = NDArray[np.float64]
_DEPTH = 10
_BLOCK = 256  # queries at a time
TRUNCATION = "none"
MARGIN: Mapping[Metric, float] = {"ndcg@10": 0.01, "nearest@10": 0.02}
"""Largest loss against truncation that is allowed at any dim, tested with ``CONFIDENCE``."""
CONFIDENCE = 0.95


class HeldOutScores(NamedTuple):
    """Scores of an adapter on held-out vectors.

    Attributes:
        nearest: 1 where a query's nearest document is in the top 10, else 0, [n_dims, n_queries].
            The overlap of the ten nearest is not used: few of them are relevant, and a good adapter
            changes their order.
        ndcg: nDCG@10 on the labels, [n_dims, n_labeled_queries]; None without labels.
    """

    nearest: Scores
    ndcg: Scores | None

    @property
    def primary(self) -> Scores:
        """nDCG@10 if there are labels, else ``nearest``."""
        return self.nearest if self.ndcg is None else self.ndcg


@dataclass(frozen=True, eq=False)
class HeldOutEvaluator:
    """Measures adapters on held-out vectors.

    Attributes:
        documents: Held-out documents, [n, full_dim].
        neighbor_queries: Queries whose nearest document is looked for, or documents used as
            queries, [n_neighbor_queries, full_dim].
        own_rows: Row of each neighbor query in ``documents`` if the queries are documents, so that
            no document finds itself; else None.
        nearest: Row of the nearest document by the original vectors, [n_neighbor_queries].
        queries: Held-out queries, [n_queries, full_dim].
        labels: Relevance labels of ``queries``; None without labels.
    """

    documents: Embeddings
    neighbor_queries: Embeddings
    own_rows: Rows | None
    nearest: Rows
    queries: Embeddings
    labels: RelevanceLabels | None

    @classmethod
    def of(cls, split: HeldOutSplit) -> HeldOutEvaluator:
        """Rank with the original vectors, and convert labels if there are any."""
        held, own = split.held_out, split.document_queries
        neighbor_queries = held.queries if own is None else held.documents[own]
        (ranked,) = _rank(neighbor_queries, held.documents, [held.documents.shape[1]], own)
        labels = None
        if held.labeled and held.positives is not None:
            names = [str(row) for row in range(len(held.documents))]
            qrels = {
                str(number): {names[row]: 1.0 for row in rows.tolist()}
                for number, rows in enumerate(held.positives)
            }
            labels = RelevanceLabels.from_qrels(qrels, list(qrels), names)
        return cls(held.documents, neighbor_queries, own, ranked[:, 0], held.queries, labels)

    @property
    def metric(self) -> Metric:
        """Name of the primary metric."""
        return "nearest@10" if self.labels is None else "ndcg@10"

    @property
    def n_queries(self) -> int:
        """Number of queries that the primary metric is measured on."""
        return len(self.neighbor_queries if self.labels is None else self.queries)

    def measure(
        self, documents: Head | None, queries: Head | None, dims: Sequence[int]
    ) -> HeldOutScores:
        """Score each query at each dim.

        Args:
            documents: Head of documents; None for the original vectors.
            queries: Head of queries; None for the original vectors.
            dims: Ascending.
        """
        corpus = _transform(documents, self.documents)
        found = _rank(_transform(queries, self.neighbor_queries), corpus, dims, self.own_rows)
        nearest = [(rows == self.nearest[:, None]).any(axis=1) for rows in found]
        ndcg = self._ndcg(_transform(queries, self.queries), corpus, dims)
        return HeldOutScores(np.array(nearest, dtype=np.float64), ndcg)

    def _ndcg(self, queries: Embeddings, corpus: Embeddings, dims: Sequence[int]) -> Scores | None:
        labels = self.labels
        if labels is None:
            return None
        found = _rank(queries, corpus, dims, None)
        return np.array([score("ndcg@10", labels.grades(rows), labels) for rows in found])


def _transform(head: Head | None, vectors: Embeddings) -> Embeddings:
    return vectors if head is None else head(vectors)


def _rank(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], own: Rows | None
) -> list[Rows]:
    """Return the top 10 rows at each dim, [n_queries, at most 10], without the rows ``own``."""
    found: list[list[Rows]] = [[] for _ in dims]
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        for place, (_, scores) in enumerate(prefix_scores(block, corpus, dims)):
            if own is not None:
                scores[np.arange(len(block)), own[start : start + _BLOCK]] = -2  # below any cosine
            found[place].append(best(np.ascontiguousarray(scores), _DEPTH).rows)
    return [np.concatenate(each) for each in found]


def choose(
    measured: Mapping[str, HeldOutScores], *, label_fitted: Collection[str] = (), seed: int
) -> str:
    """Return the name of the adapter to use, see the rules in the module docstring.

    Args:
        measured: Scores by name, from cheap to strong, at ascending dims with the full width last.
            Includes ``TRUNCATION``.
        label_fitted: Names of the adapters fitted on labels.
        seed: Seed of the confidence bounds.
    """
    truncated = measured[TRUNCATION]
    chosen = TRUNCATION
    for name, scores in measured.items():
        if name == TRUNCATION:
            continue
        if not significantly_better(scores.primary, truncated.primary, seed=seed):
            continue
        cheaper = measured[chosen].primary
        if name in label_fitted:
            passes = significantly_better(scores.primary, cheaper, seed=seed)
        else:
            passes = not significantly_better(cheaper, scores.primary, seed=seed)
        if passes and _no_dim_worse(scores, truncated, seed):
            chosen = name
    return chosen


def significantly_better(scores: Scores, reference: Scores, *, seed: int) -> bool:
    """Test whether the mean over the dims below the full width exceeds the reference (95 %).

    The full width is the last row. The test uses the lower bound of the mean over queries.
    """
    return _mean_exceeds((scores - reference)[:-1].mean(axis=0), 0.0, seed)


def _no_dim_worse(scores: HeldOutScores, truncated: HeldOutScores, seed: int) -> bool:
    """Test whether no dim is worse than truncation by more than the margins.

    A dim passes if nDCG@10 is within its margin. It also passes if nDCG@10 shows no significant
    loss and ``nearest`` is within its margin.
    """
    for dim in range(len(truncated.nearest)):
        difference = scores.nearest[dim] - truncated.nearest[dim]
        passes = _mean_exceeds(difference, -MARGIN["nearest@10"], seed)
        if scores.ndcg is not None and truncated.ndcg is not None:
            gain = scores.ndcg[dim] - truncated.ndcg[dim]
            passes = passes and not _mean_exceeds(-gain, 0.0, seed)
            passes = passes or _mean_exceeds(gain, -MARGIN["ndcg@10"], seed)
        if not passes:
            return False
    return True


def _mean_exceeds(differences: Scores, least: float, seed: int) -> bool:
    """Test whether the mean over queries significantly exceeds a value."""
    if not differences.any():  # the bound of the mean of n zeros would be below 0
        return least < 0
    return lower_bound(differences, confidence=CONFIDENCE, seed=seed) > least
