"""Score the ranking of each point combined with a run: fused with another retriever, or reranked.

A combined metric has the name of the plain metric with a prefix: ``rrf:ndcg@10`` and
``sum:ndcg@10`` of a fusion, ``rerank50:ndcg@10`` of the best 50 documents reordered by a reranker.
Each metric is compared with full precision combined in the same way.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.curve.curve import Curve
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.trec_runs import TrecRun, read_run
from nestvec.errors import InvalidArgument, check_least
from nestvec.measure.runs import check_run, count_ignored, documents_of
from nestvec.measure.scores import RankedPoints, RankingScorer
from nestvec.measure.texts import Texts
from nestvec.metrics.fusion import RRF_K, fuse_by_rank, fuse_by_score, rerank
from nestvec.metrics.ranking import Ranked, order
from nestvec.metrics.relevance import Run
from nestvec.types import Rows, Scores

_DEPTHS = (10, 50, 100)
_FUSED = 100  # documents of each ranking; what hybrid searches usually fuse
_logger = logging.getLogger(__name__)

_Combine = Callable[[Ranked], Rows]


@dataclass(frozen=True)
class Fusion:
    """A run of another retriever, such as BM25, to fuse with the ranking of each point.

    The metrics are ``rrf:NAME``, by reciprocal rank (Cormack et al. 2009, k = 60), and
    ``sum:NAME``, by a weighted sum of scores, scaled to 0 to 1 by query.

    Attributes:
        run: A run, or its file.
        weight: Weight of the scores of the point in the sum, from 0 to 1; the run has 1 - weight.
        depth: Number of documents of each of the two rankings that are fused.
    """

    run: TrecRun | Path | str
    weight: float = 0.5
    depth: int = _FUSED

    def __post_init__(self) -> None:
        """Check the limits."""
        check_least(self, depth=1)
        if not 0 <= self.weight <= 1:
            raise InvalidArgument(
                f"weight={self.weight} is out of range. Choose a value from 0 to 1."
            )


@dataclass(frozen=True)
class Reranking:
    """Scores of a reranker, such as a cross-encoder, to reorder the best documents of each point.

    The metrics are ``rerankD:NAME`` for each depth D. Documents without a score follow those with a
    score, and are counted.

    Attributes:
        run: Scores of pairs of query and document as a run, or its file.
        depths: Numbers of documents to rerank.
    """

    run: TrecRun | Path | str
    depths: tuple[int, ...] = _DEPTHS

    def __post_init__(self) -> None:
        """Check the limits."""
        if not self.depths:
            raise InvalidArgument("depths is empty. Pass at least one depth, such as 50.")
        if min(self.depths) < 1:
            raise InvalidArgument(f"depth={min(self.depths)} is less than 1. Choose 1 or more.")

    @property
    def depth(self) -> int:
        """The largest depth."""
        return max(self.depths)


Combination = Fusion | Reranking


class LoadedRun(NamedTuple):
    """How to combine a run, and the run that was read."""

    how: Combination
    run: TrecRun


def load_runs(combinations: Sequence[Combination], data: RetrievalSet) -> tuple[LoadedRun, ...]:
    """Read the files of runs, before time is spent on a measurement.

    Raises:
        InvalidArgument: If there are two fusions or two rerankings, or a run and the data set have
            no query in common.
        DataError: If a file is malformed.
    """
    for kind in (Fusion, Reranking):
        if sum(isinstance(each, kind) for each in combinations) > 1:
            raise InvalidArgument(f"There are two runs of {kind.__name__}. Pass one of them.")
    loaded = []
    for each in combinations:
        run = each.run if isinstance(each.run, TrecRun) else read_run(each.run)
        check_run(run, data)
        loaded.append(LoadedRun(each, run))
    return tuple(loaded)


def count_combined(runs: Sequence[LoadedRun]) -> int:
    """Return the number of steps of ``add_combined``."""
    return sum(2 if isinstance(how, Fusion) else len(how.depths) for how, _ in runs)


def combined_depth(runs: Sequence[LoadedRun]) -> int:
    """Return the number of documents to rank at each point; 0 without runs."""
    return max((how.depth for how, _ in runs), default=0)


def add_combined(
    curve: Curve,
    runs: Sequence[LoadedRun],
    ranked: RankedPoints,
    texts: Texts,
    scorer: RankingScorer,
    *,
    on_step: Callable[[], None] = lambda: None,
) -> Curve:
    """Return a copy of a curve with the metrics of combined rankings.

    Args:
        curve: The curve.
        runs: As ``load_runs`` returns them.
        ranked: Ranked documents of each point of the curve, full precision first.
        texts: The data set as lists.
        scorer: The scorer of the plain rankings.
        on_step: Called after each way of combining.
    """
    for how, run in runs:
        found = documents_of(texts, run.scores)
        pairs = _Pairs.of(found, texts)
        scores: dict[str, NDArray[np.float64]] = {}
        for prefix, combine in _ways(how, pairs):
            full = replace(scorer, exact=combine(next(iter(ranked.values()))))
            by_point = [full.scores(combine(of)) for of in ranked.values()]
            scores |= {
                f"{prefix}:{metric}": np.stack([each[metric] for each in by_point])
                for metric in scorer.metrics
            }
            on_step()
        counts = dict(count_ignored(run.name, run.scores, found, texts))
        if isinstance(how, Reranking):
            counts |= pairs.count_missing(run.name, ranked, how.depth, texts)
        curve = curve.with_metrics(scores)
        curve = replace(
            curve,
            counts={**curve.counts, **counts},
            dataset={**curve.dataset, **_described(how, run)},
        )
    return curve


@dataclass(frozen=True)
class _Pairs:
    """The scores of a run, as arrays.

    Attributes:
        n_docs: Number of documents of the corpus.
        keys: ``query * n_docs + row`` of each scored document of the corpus, ascending.
        scores: Score of each key.
        ranked: The documents of each query, best first, [n_queries, longest]; -1 is empty.
    """

    n_docs: int
    keys: Rows
    scores: Scores
    ranked: Ranked

    @classmethod
    def of(cls, found: Run, texts: Texts) -> _Pairs:
        row_of = {id_: row for row, id_ in enumerate(texts.doc_ids)}
        known = [
            {row_of[id_]: score for id_, score in found[query_id].items() if id_ in row_of}
            for query_id in texts.query_ids
        ]
        shape = len(known), max(map(len, known), default=0)
        rows, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf)
        for number, documents in enumerate(known):
            rows[number, : len(documents)] = list(documents)
            scores[number, : len(documents)] = list(documents.values())
        n_docs = len(texts.doc_ids)
        keys = (np.arange(len(known))[:, None] * n_docs + rows)[rows >= 0]
        ascending = np.argsort(keys)
        flat = scores[rows >= 0]
        # trec_eval compares scores as float32.
        return cls(n_docs, keys[ascending], flat[ascending], order(scores.astype(np.float32), rows))

    def of_rows(self, rows: Rows) -> Scores:
        """Return the score of each row, NaN without a score, [n_queries, n]."""
        wanted = np.arange(len(rows))[:, None] * self.n_docs + rows
        if not len(self.keys):
            return np.full(rows.shape, np.nan)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = (self.keys[place] == wanted) & (rows >= 0)
        scores: Scores = np.where(found, self.scores[place], np.nan)
        return scores

    def count_missing(
        self, name: str, ranked: RankedPoints, depth: int, texts: Texts
    ) -> dict[str, int]:
        """Count the distinct pairs among the best documents of all points that have no score."""
        missing = np.empty(0, dtype=np.int64)
        for of in ranked.values():
            rows = of.rows[:, :depth]
            unscored = np.isnan(self.of_rows(rows)) & (rows >= 0)
            keys = (np.arange(len(rows))[:, None] * self.n_docs + rows)[unscored]
            missing = np.union1d(missing, keys)
        if len(missing):
            query, row = divmod(int(missing[0]), self.n_docs)
            _logger.warning(
                "%s: %d pairs of query and document have no score, such as %r and %r. These "
                "documents follow the documents with a score.",
                *(name, len(missing), texts.query_ids[query], texts.doc_ids[row]),
            )
        return {f"pairs_without_score_of_{name}": len(missing)}


def _ways(how: Combination, pairs: _Pairs) -> Iterator[tuple[str, _Combine]]:
    """Yield the prefix of each metric, and the function that combines the ranking of a point."""
    if isinstance(how, Fusion):
        other = pairs.ranked.top(how.depth)
        yield "rrf", lambda of: fuse_by_rank(of.top(how.depth), other)
        yield "sum", lambda of: fuse_by_score(of.top(how.depth), other, weight=how.weight)
        return
    for depth in how.depths:
        yield f"rerank{depth}", partial(_reranked, pairs=pairs, depth=depth)


def _reranked(of: Ranked, *, pairs: _Pairs, depth: int) -> Rows:
    return rerank(of.rows, pairs.of_rows(of.rows), depth=depth)


def _described(how: Combination, run: TrecRun) -> dict[str, Any]:
    """Return the settings and the sha256 of a run, for the description of the data set."""
    content = json.dumps(run.scores, sort_keys=True).encode()
    values = {"run": run.name, "sha256": hashlib.sha256(content).hexdigest()}
    if isinstance(how, Fusion):
        settings = {"weight": how.weight, "depth": how.depth, "rrf_k": RRF_K}
        return {"fusion": {**values, **settings}}
    return {"reranking": {**values, "depths": list(how.depths)}}
