"""Measure adapters on held-out vectors, query by query at each dim, and choose one.

The measure without labels is whether the nearest document at full width, without an adapter, is
among the ten nearest of a prefix. With labels, nDCG@10 is measured, too. Rankings are exhaustive,
by truncated and renormalized vectors, as everywhere.

The strongest adapter is chosen that is significantly better than truncation in the mean over the
requested dims, worse at no dim, and significantly better than any cheaper adapter. The caller gives
the order of strength. An adapter that was fitted on labels must be significantly better than one
that was not: it fits these queries, and other queries may differ. Without such an adapter, nothing
is changed. Labels overrule agreement wherever they show a difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.adapt.sample import Parted
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
CUTTING = "none"
MARGIN: Mapping[Metric, float] = {"ndcg@10": 0.01, "nearest@10": 0.02}
"""What no dim may lose against cutting, with confidence."""
CONFIDENCE = 0.95


class HeldOutScores(NamedTuple):
    """What held-out vectors say of an adapter, [n_dims, n_queries] each.

    Attributes:
        nearest: 1 where a query's nearest document is still found, else 0. Not the share of the
            ten nearest: what is relevant is seldom all of them, and what turns vectors for the
            better moves their order.
        judged: nDCG@10 of the labels; None without them.
    """

    nearest: Scores
    judged: Scores | None

    @property
    def said(self) -> Scores:
        """The stronger evidence."""
        return self.nearest if self.judged is None else self.judged


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Held-out vectors and what their queries should find.

    Attributes:
        documents: Held-out documents, [n, full_dim].
        asking: What asks for its nearest, queries or some of the documents, [n_asking, full_dim].
        own: The rows of what asks, where it is documents.
        exact: The nearest of each, as the vectors are, [n_asking].
        queries: What labels judge, [n_queries, full_dim].
        judged: What is relevant to them; None without labels.
    """

    documents: Embeddings
    asking: Embeddings
    own: Rows | None
    exact: Rows
    queries: Embeddings
    judged: RelevanceLabels | None

    @classmethod
    def of(cls, parted: Parted) -> Yardstick:
        """Take the ranking of the vectors as they are, and labels where there are any."""
        held, own = parted.held_out, parted.asking
        asking = held.queries if own is None else held.documents[own]
        (ranked,) = _rank(asking, held.documents, [held.documents.shape[1]], own)
        judged = None
        if held.labeled and held.positives is not None:
            names = [str(row) for row in range(len(held.documents))]
            qrels = {
                str(number): {names[row]: 1.0 for row in rows.tolist()}
                for number, rows in enumerate(held.positives)
            }
            judged = RelevanceLabels.from_qrels(qrels, list(qrels), names)
        return cls(held.documents, asking, own, ranked[:, 0], held.queries, judged)

    @property
    def metric(self) -> Metric:
        """What the stronger evidence is."""
        return "nearest@10" if self.judged is None else "ndcg@10"

    @property
    def n_asked(self) -> int:
        """How many queries that evidence has."""
        return len(self.asking if self.judged is None else self.queries)

    def measure(
        self, documents: Head | None, queries: Head | None, dims: Sequence[int]
    ) -> HeldOutScores:
        """Score each query at each dim.

        Args:
            documents: What documents go through; None for vectors as they are.
            queries: What queries go through.
            dims: Ascending.
        """
        corpus = _through(documents, self.documents)
        found = _rank(_through(queries, self.asking), corpus, dims, self.own)
        nearest = [(rows == self.exact[:, None]).any(axis=1) for rows in found]
        judged = self._judge(_through(queries, self.queries), corpus, dims)
        return HeldOutScores(np.array(nearest, dtype=np.float64), judged)

    def _judge(self, queries: Embeddings, corpus: Embeddings, dims: Sequence[int]) -> Scores | None:
        if self.judged is None:
            return None
        found = _rank(queries, corpus, dims, None)
        return np.array([score("ndcg@10", self.judged.grades(rows), self.judged) for rows in found])


def _through(head: Head | None, vectors: Embeddings) -> Embeddings:
    return vectors if head is None else head(vectors)


def _rank(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], own: Rows | None
) -> list[Rows]:
    """Return the top 10 rows at each dim, never a document for itself."""
    found: list[list[Rows]] = [[] for _ in dims]
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        for place, (_, scores) in enumerate(prefix_scores(block, corpus, dims)):
            if own is not None:
                scores[np.arange(len(block)), own[start : start + _BLOCK]] = -2  # below any cosine
            found[place].append(best(np.ascontiguousarray(scores), _DEPTH).rows)
    return [np.concatenate(each) for each in found]


def choose(
    measured: Mapping[str, HeldOutScores], *, of_labels: Collection[str] = (), seed: int
) -> str:
    """Return the name of what to take.

    Args:
        measured: Of each adapter that was fitted, from cheap to strong, at the dims asked, the full
            width last; among them ``CUTTING``.
        of_labels: Those that learnt from labels.
        seed: Of the bounds.
    """
    cut = measured[CUTTING]
    chosen = CUTTING
    for name, found in measured.items():
        if name == CUTTING or not surely_better(found.said, cut.said, seed=seed):
            continue
        cheaper = measured[chosen].said
        if name in of_labels:
            holds = surely_better(found.said, cheaper, seed=seed)
        else:
            holds = not surely_better(cheaper, found.said, seed=seed)
        if holds and _nowhere_worse(found, cut, seed):
            chosen = name
    return chosen


def surely_better(ours: Scores, theirs: Scores, *, seed: int) -> bool:
    """Tell whether the mean over the dims below the full width, the last, is higher.

    Beyond what chance explains: by the lower bound of the mean over queries.
    """
    return _at_least((ours - theirs)[:-1].mean(axis=0), 0.0, seed)


def _nowhere_worse(ours: HeldOutScores, cut: HeldOutScores, seed: int) -> bool:
    """Tell whether no dim is worse: labels show it, or cannot tell and the nearest are found."""
    for dim in range(len(cut.nearest)):
        found = ours.nearest[dim] - cut.nearest[dim]
        holds = _at_least(found, -MARGIN["nearest@10"], seed)
        if ours.judged is not None and cut.judged is not None:
            gained = ours.judged[dim] - cut.judged[dim]
            holds = holds and not _at_least(-gained, 0.0, seed)
            holds = holds or _at_least(gained, -MARGIN["ndcg@10"], seed)
        if not holds:
            return False
    return True


def _at_least(differences: Scores, least: float, seed: int) -> bool:
    """Tell whether the mean over queries surely exceeds a value; equal is equal, of any number."""
    if not differences.any():
        return least < 0
    return lower_bound(differences, confidence=CONFIDENCE, seed=seed) > least
