"""BM25 beside the model: where words alone do better, dims are not the problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nestvec.errors import require
from nestvec.metrics.ranking import best
from nestvec.types import Rows

_BLOCK = 256  # queries whose scores are held at a time


def rank_bm25(queries: Sequence[str], documents: Sequence[str], *, depth: int) -> Rows:
    """Rank documents by BM25 as Lucene has it (k1 1.5, b 0.75, English stop words).

    Args:
        queries: Texts.
        documents: Texts.
        depth: How many rows of each query.

    Returns:
        [n_queries, at most depth], ties by ascending row; -1 where fewer documents share a word
        with the query.

    Raises:
        MissingExtra: If bm25s is not installed.
    """
    bm25s = require("bm25s", extra="report")

    def tokenise(texts: Sequence[str]) -> Any:
        return bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)

    document_words = tokenise(documents)
    if not any(document_words):  # bm25s would divide by the mean length, which is 0
        return np.full((len(queries), min(depth, len(documents))), -1, dtype=np.int64)
    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    retriever.index(document_words, show_progress=False)
    words = [retriever.get_tokens_ids(tokens) for tokens in tokenise(queries)]
    ranked = []
    for start in range(0, len(words), _BLOCK):
        scores = [retriever.get_scores_from_ids(ids) for ids in words[start : start + _BLOCK]]
        block_scores, rows = best(np.stack(scores), depth)
        ranked.append(np.where(block_scores > 0, rows, -1))
    return np.concatenate(ranked)
