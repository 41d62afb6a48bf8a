"""Measure adaptors on vectors that none of them was fitted on, query by query at each dim.

With labels it is nDCG@10; without, the share of the top 10 of the vectors as they are, at full
width, that a prefix has in its own. The same ranking at full width as everywhere: exhaustive, cut
and re-normalised. Which adaptor to take is for ``choosing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestvec.adapt.adaptor import Head
from nestvec.adapt.sample import Parted
from nestvec.metrics import Judgements, agreement, score
from nestvec.prefix import prefix_scores
from nestvec.ranking import best
from nestvec.types import Embeddings, Rows

Evidence = Literal["ndcg@10", "overlap@10"]
_DEPTH = 10
_BLOCK = 256  # queries at a time


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Held-out vectors and what their queries should find.

    Attributes:
        metric: What is measured.
        parted: Whose held-out part it is.
        exact: The top 10 of the vectors as they are, [n_queries, 10]; None with labels.
        judged: What is relevant; None without labels.
    """

    metric: Evidence
    parted: Parted
    exact: Rows | None
    judged: Judgements | None

    @classmethod
    def of(cls, parted: Parted) -> Yardstick:
        """Take labels where there are any, else the ranking of the vectors as they are."""
        held = parted.held_out
        if held.labelled and held.positives is not None:
            names = [str(row) for row in range(len(held.documents))]
            qrels = {
                str(number): {names[row]: 1.0 for row in rows.tolist()}
                for number, rows in enumerate(held.positives)
            }
            return cls("ndcg@10", parted, None, Judgements.from_qrels(qrels, list(qrels), names))
        full_dim = held.documents.shape[1]
        exact = _rank(held.queries, held.documents, [full_dim], parted.own_rows)[0]
        return cls("overlap@10", parted, exact, None)

    def measure(
        self, documents: Head | None, queries: Head | None, dims: Sequence[int]
    ) -> NDArray[np.float64]:
        """Return each query's score at each dim, [n_dims, n_queries].

        Args:
            documents: What documents go through; None for vectors as they are.
            queries: What queries go through.
            dims: Ascending.
        """
        held = self.parted.held_out
        asked, corpus = (
            vectors if head is None else head(vectors)
            for head, vectors in ((queries, held.queries), (documents, held.documents))
        )
        found = _rank(asked, corpus, dims, self.parted.own_rows)
        return np.array([self._score(rows) for rows in found])

    def _score(self, rows: Rows) -> NDArray[np.float64]:
        if self.judged is not None:
            values: NDArray[np.float64] = score("ndcg@10", self.judged.grades(rows), self.judged)
        elif self.exact is not None:
            values = agreement("overlap@10", rows, self.exact)
        return values


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
