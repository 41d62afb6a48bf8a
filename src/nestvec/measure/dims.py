"""Score a model at each width at float32, to evaluate it during training; and check probes.

Probes are a few triplets that the model should rank correctly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.similarity import ScoredPairs, Triplets
from nestvec.engines.flat.representations import Representations
from nestvec.measure.comparisons import Vectors, correlations
from nestvec.measure.documents import rank_documents
from nestvec.measure.scores import RankingScorer
from nestvec.measure.texts import Texts
from nestvec.models.encoding import embed
from nestvec.types import Encoder, Kind, OperatingPoint

METRIC = "ndcg@10"


def score_dims(
    model: Encoder, data: RetrievalSet | ScoredPairs, dims: Sequence[int]
) -> dict[int, float]:
    """Return nDCG@10 of a retrieval set, or Spearman's correlation of scored pairs, by width.

    Raises:
        ModelError: If the model returns NaN, infinite values or vectors of another width.
    """
    if isinstance(data, ScoredPairs):
        return _correlate(model, data, dims)
    texts = Texts.of(data)
    documents = embed(model, texts.row_ids, texts.rows, kind="document")
    queries = embed(model, texts.query_ids, texts.queries, kind="query")
    points = [OperatingPoint.single(dim, "float32") for dim in dims]
    with Representations(documents, layer_norm=model.info.layer_norm) as corpus:
        ranked = rank_documents(points, queries, corpus, texts.documents, depth=10)
    scorer = RankingScorer((METRIC,), texts.labels(), ranked[points[0]].rows)
    return {
        dim: scorer.means(ranked[point].rows)[METRIC]
        for dim, point in zip(dims, points, strict=True)
    }


def probe(model: Encoder, probes: Triplets, dims: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
    """Return whether each anchor is nearer to its positive than to its negative, by width.

    Raises:
        ModelError: If the model returns NaN, infinite values or vectors of another width.
    """
    kinds: tuple[Kind, ...] = ("query", "document", "document")
    sides = (probes.anchors, probes.positives, probes.negatives)
    columns = [
        embed(model, texts, texts, kind=kind) for texts, kind in zip(sides, kinds, strict=True)
    ]
    passed = {}
    for dim in dims:
        anchors, positives, negatives = (
            prefix(each, dim, layer_norm=model.info.layer_norm) for each in columns
        )
        passed[dim] = (anchors * positives).sum(1) > (anchors * negatives).sum(1)
    return passed


def _correlate(model: Encoder, data: ScoredPairs, dims: Sequence[int]) -> dict[int, float]:
    texts = list(dict.fromkeys([*data.first, *data.second]))
    row_of = {text: row for row, text in enumerate(texts)}
    vectors = embed(model, texts, texts, kind="document")
    truncated = (prefix(vectors, dim, layer_norm=model.info.layer_norm) for dim in dims)
    first, second = (
        np.array([row_of[text] for text in side], dtype=np.int64)
        for side in (data.first, data.second)
    )
    found = correlations(
        (Vectors(each, each) for each in truncated), first, second, np.array(data.scores), seed=0
    )
    return dict(zip(dims, found["spearman"].values.tolist(), strict=True))
