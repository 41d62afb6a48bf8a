"""BM25 beside the model: where words alone do better, dims are not the problem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nestvec.errors import require
from nestvec.types import Rows


def rank_bm25(queries: Sequence[str], documents: Sequence[str], *, depth: int) -> Rows:
    """Rank documents by BM25 as Lucene has it (k1 1.5, b 0.75, English stop words).

    Args:
        queries: Texts.
        documents: Texts.
        depth: How many rows of each query.

    Returns:
        [n_queries, at most depth]; -1 where fewer documents share a word with the query.

    Raises:
        MissingExtra: If bm25s is not installed.
    """
    bm25s = require("bm25s", extra="report")
    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    corpus_tokens = bm25s.tokenize(list(documents), stopwords="en", show_progress=False)
    query_tokens = bm25s.tokenize(list(queries), stopwords="en", show_progress=False)
    retriever.index(corpus_tokens, show_progress=False)
    rows, scores = retriever.retrieve(
        query_tokens, k=min(depth, len(documents)), show_progress=False, n_threads=0
    )
    ranked: Rows = np.where(scores > 0, rows, -1).astype(np.int64)
    return ranked
