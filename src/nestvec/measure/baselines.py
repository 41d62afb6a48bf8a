"""Measure baselines on the same queries as the model.

BM25 uses the texts. The other baselines project the model's vectors on other axes and truncate
them. They are measured at float32, because they differ from the model in the dimensions only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nestvec.adapt.projections import Projection, fit_pca, fit_svd, random_dims
from nestvec.codec.rows import EmbeddingRows
from nestvec.curve.point import BaselinePoint
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.errors import require
from nestvec.files.mapped import new_embeddings
from nestvec.measure.documents import collapse, rank_documents
from nestvec.measure.grid import Baseline
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts
from nestvec.measure.words import split_words, stop_words_of
from nestvec.metrics.ranking import Ranked, best
from nestvec.types import Embeddings, OperatingPoint, Rows

_BLOCK = 256  # queries scored at a time
_PROJECTED = 4_096  # documents projected at a time
_logger = logging.getLogger(__name__)


def rank_bm25(queries: Sequence[str], documents: Sequence[str], *, depth: int) -> Rows:
    """Rank documents by Lucene's BM25 (k1 1.5, b 0.75).

    Stop words are removed if the documents are English. Scripts without spaces between words are
    matched by pairs of characters, see ``words``.

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
    all_words = split_words(documents)
    stop_words = stop_words_of(all_words)
    document_words = [[word for word in words if word not in stop_words] for words in all_words]
    if not any(document_words):  # bm25s would divide by the mean length, which is 0
        return np.full((len(queries), min(depth, len(documents))), -1, dtype=np.int64)
    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    retriever.index(document_words, show_progress=False)
    # The vocabulary contains no stop words.
    words = [retriever.get_tokens_ids(each) for each in split_words(queries)]
    ranked = []
    for start in range(0, len(words), _BLOCK):
        scores = [retriever.get_scores_from_ids(ids) for ids in words[start : start + _BLOCK]]
        block_scores, rows = best(np.stack(scores), depth)
        ranked.append(np.where(block_scores > 0, rows, -1))
    return np.concatenate(ranked)


def baselines_for(names: Sequence[Baseline], data: RetrievalSet) -> tuple[Baseline, ...]:
    """Remove baselines that cannot be measured on a data set, with a warning.

    Agreement with the model's ranking does not measure BM25, which may be better than the model.
    """
    if "bm25" in names:
        if data.evidence == "agreement":
            _logger.warning("bm25 is not measured: it needs relevance labels (qrels)")
        elif not data.has_texts:
            _logger.warning("bm25 is not measured: %s has no texts of documents", data.name)
        else:
            return tuple(names)
    return tuple(name for name in names if name != "bm25")


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
    documents: Embeddings | EmbeddingRows
    layer_norm: bool
    scorer: RankingScorer
    depth: int


class MeasuredBaseline(NamedTuple):
    """The points of a baseline, and counts of input that the baseline cannot use.

    Attributes:
        points: One point for each number of dims; one point for BM25.
        counts: ``bm25_queries_without_match``: queries without a word of the corpus.
    """

    points: tuple[BaselinePoint, ...]
    counts: dict[str, int]


def measure_baseline(name: Baseline, dims: Sequence[int], on: BaselineTask) -> MeasuredBaseline:
    """Measure one baseline at all dims.

    A projected corpus that is larger than ``files.mapped.IN_MEMORY_BYTES`` is stored in a file.

    Raises:
        MissingExtra: If the baseline is BM25 and bm25s is not installed.
    """
    if name == "bm25":
        return _measure_bm25(on)
    projection = _fit(name, on)
    queries = projection.apply(on.queries, layer_norm=on.layer_norm)
    documents = new_embeddings(*on.documents.shape)
    for start in range(0, len(documents), _PROJECTED):
        rows = slice(start, start + _PROJECTED)
        documents[rows] = projection.apply(on.documents[rows], layer_norm=on.layer_norm)
    points = [OperatingPoint.single(dim, "float32") for dim in dims]
    # The projection already applied the model's layer normalization.
    with Representations(documents, layer_norm=False) as corpus:
        ranked = rank_documents(points, queries, corpus, on.texts.documents, depth=on.depth)
    measured = tuple(
        BaselinePoint(dim, on.scorer.means(ranked[point].rows))
        for dim, point in zip(dims, points, strict=True)
    )
    return MeasuredBaseline(measured, {})


def _measure_bm25(on: BaselineTask) -> MeasuredBaseline:
    documents = on.texts.documents
    rows = rank_bm25(on.texts.queries, on.texts.rows, depth=documents.needed(on.depth))
    unscored = Ranked(np.zeros(rows.shape, dtype=np.float32), rows)
    ranked = collapse(unscored, documents, on.depth).rows
    unmatched = int((rows[:, 0] < 0).sum())
    point = BaselinePoint(None, on.scorer.means(ranked))
    return MeasuredBaseline((point,), {"bm25_queries_without_match": unmatched})


def _fit(name: Baseline, on: BaselineTask) -> Projection:
    if name == "random":
        return random_dims(on.documents.shape[1])
    fit = fit_svd if name == "svd" else fit_pca
    return fit(on.documents, layer_norm=on.layer_norm)
