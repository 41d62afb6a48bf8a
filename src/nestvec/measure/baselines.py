"""Measure baselines on the same queries as the model.

BM25 uses the texts. The other baselines project the model's vectors on other axes and truncate
them. They are measured at float32, because they differ from the model in the dimensions only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestvec.adapt.projections import Projection, fit_pca, fit_svd, random_dims
from nestvec.curve.point import BaselinePoint
from nestvec.engines.flat.representations import Representations
from nestvec.errors import require
from nestvec.measure.documents import collapse, rank_documents, rows_needed
from nestvec.measure.grid import Baseline
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts
from nestvec.metrics.ranking import Ranked, best
from nestvec.types import Embeddings, Evidence, OperatingPoint, Rows

_BLOCK = 256  # queries scored at a time
_logger = logging.getLogger(__name__)


def rank_bm25(queries: Sequence[str], documents: Sequence[str], *, depth: int) -> Rows:
    """Rank documents by Lucene's BM25 (k1 1.5, b 0.75, English stop words).

    Args:
        queries: Texts of queries.
        documents: Texts of documents.
        depth: Maximum number of rows for each query.

    Returns:
        Rows, [n_queries, at most depth], with ties in ascending row; -1 where fewer documents share
        a word with the query.

    Raises:
        MissingExtra: If bm25s is not installed.
    """
    bm25s = require("bm25s", extra="report")

    def tokenize(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)

    document_words = tokenize(documents)
    if not any(document_words):  # bm25s would divide by the mean length, which is 0
        return np.full((len(queries), min(depth, len(documents))), -1, dtype=np.int64)
    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    retriever.index(document_words, show_progress=False)
    words = [retriever.get_tokens_ids(tokens) for tokens in tokenize(queries)]
    ranked = []
    for start in range(0, len(words), _BLOCK):
        scores = [retriever.get_scores_from_ids(ids) for ids in words[start : start + _BLOCK]]
        block_scores, rows = best(np.stack(scores), depth)
        ranked.append(np.where(block_scores > 0, rows, -1))
    return np.concatenate(ranked)


def baselines_for(names: Sequence[Baseline], evidence: Evidence) -> tuple[Baseline, ...]:
    """Remove baselines that the evidence cannot measure, with a warning.

    Agreement with the model's ranking does not measure BM25, which may be better than the model.
    """
    if evidence == "agreement" and "bm25" in names:
        _logger.warning("bm25 is not measured: it needs relevance labels (qrels)")
        return tuple(name for name in names if name != "bm25")
    return tuple(names)


@dataclass(frozen=True)
class BaselineTask:
    """Inputs of the baselines, the same as for the model.

    Attributes:
        texts: The data set as lists.
        queries: Vectors as returned by the model, [n_queries, full_dim].
        documents: Vectors as returned by the model, [n_rows, full_dim].
        layer_norm: As in ``codec.prefix``.
        scorer: Scores the rankings.
        depth: Number of documents to rank.
    """

    texts: Texts
    queries: Embeddings
    documents: Embeddings
    layer_norm: bool
    scorer: RankingScorer
    depth: int


def measure_baseline(
    name: Baseline, dims: Sequence[int], on: BaselineTask
) -> tuple[BaselinePoint, ...]:
    """Measure one baseline at all dims; the projected corpus is held in memory.

    Raises:
        MissingExtra: If the baseline is BM25 and bm25s is not installed.
    """
    if name == "bm25":
        width = rows_needed(on.texts.doc_of_row, on.depth)
        rows = rank_bm25(on.texts.queries, on.texts.rows, depth=width)
        unscored = Ranked(np.zeros(rows.shape, dtype=np.float32), rows)
        docs = collapse(unscored, on.texts.doc_of_row, on.depth).rows
        return (BaselinePoint(None, on.scorer.means(docs)),)
    projection = _fit(name, on)
    queries, documents = (
        projection.apply(side, layer_norm=on.layer_norm) for side in (on.queries, on.documents)
    )
    points = [OperatingPoint.single(dim, "float32") for dim in dims]
    # The projection already applied the model's layer normalization.
    with Representations(documents, layer_norm=False) as corpus:
        ranked = rank_documents(points, queries, corpus, on.texts.doc_of_row, depth=on.depth)
    return tuple(
        BaselinePoint(dim, on.scorer.means(ranked[point].rows))
        for dim, point in zip(dims, points, strict=True)
    )


def _fit(name: Baseline, on: BaselineTask) -> Projection:
    if name == "random":
        return random_dims(on.documents.shape[1])
    fit = fit_svd if name == "svd" else fit_pca
    return fit(on.documents, layer_norm=on.layer_norm)
