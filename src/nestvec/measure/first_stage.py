"""Rank all documents of a corpus by each representation, separately in disjoint parts.

The scores are products of the float queries with the decoded codes. All float32 dims come from one
full-width product. Each part is processed in blocks, and only one block is in memory as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from nestvec.codec.prefix import PrefixScores
from nestvec.engines.flat.representations import Representations
from nestvec.engines.flat.scoring import is_in
from nestvec.metrics.ranking import Ranked, TopRows, order
from nestvec.types import CodeKey, Embeddings, Rows

DOCUMENT_BYTES = 16 * 2**20  # maximum size of a block of documents as floats
RANKED_BYTES = 8  # of a ranked row: its score and its number
SCORE_BYTES = 8 * 2**20  # maximum size of the scores of a block: it fits the caches


class FirstStage:
    """The best rows of each part of a corpus, by representation."""

    def __init__(
        self,
        lengths: Mapping[CodeKey, int],
        queries: Embeddings,
        corpus: Representations,
        *,
        parts: Sequence[Rows] | None,
        on_step: Callable[[], None],
    ) -> None:
        """Rank every document of every part.

        Args:
            lengths: Number of rows to rank, for each representation.
            queries: As in ``exhaustive.rank``.
            corpus: As in ``exhaustive.rank``.
            parts: Rows of disjoint parts, each ascending; None for one part with all rows.
            on_step: Called for each representation when it has ranked all parts.
        """
        self._lengths = lengths
        self._parts = [np.arange(len(corpus))] if parts is None else parts
        self._lists: dict[CodeKey, list[Ranked]] = {key: [] for key in lengths}
        float_dims = sorted(dim for dim, precision in lengths if precision == "float32")
        if float_dims:
            scorer = PrefixScores(queries, float_dims, layer_norm=corpus.layer_norm)
            self._rank_floats(scorer, queries, corpus)
            for _ in float_dims:
                on_step()
        for key in lengths:
            if key[1] != "float32":
                self._rank_codes(key, queries, corpus)
                on_step()

    def ranked(
        self, key: CodeKey, length: int, parts: Sequence[int] | None, queries: Rows | None
    ) -> Ranked:
        """Return the best rows of some parts.

        Args:
            key: The representation.
            length: Number of rows to return, at most that of the first stage.
            parts: Numbers of the parts; None for all parts.
            queries: Numbers of the queries; None for all queries.
        """
        numbers = range(len(self._parts)) if parts is None else parts
        lists = [self._lists[key][number] for number in numbers]
        chosen = slice(None) if queries is None else queries
        scores = np.concatenate([each.scores[chosen] for each in lists], axis=1)
        rows = np.concatenate([each.rows[chosen] for each in lists], axis=1).astype(np.int64)
        found = Ranked(scores, rows) if len(lists) == 1 else order(scores, rows)
        return found.top(length)

    def _rank_floats(
        self, scorer: PrefixScores, queries: Embeddings, corpus: Representations
    ) -> None:
        keys: dict[int, CodeKey] = {dim: (dim, "float32") for dim in scorer.dims}
        for part in self._parts:
            tops = {dim: self._top(key, part, len(queries)) for dim, key in keys.items()}
            for rows in _blocks(part, corpus.full_dim, len(queries)):
                vectors = corpus.embeddings(rows)
                for dim, scores in scorer.scores(vectors):
                    tops[dim].add(scores, rows)
            for dim, top in tops.items():
                self._lists[keys[dim]].append(_compact(top.ranked()))

    def _rank_codes(self, key: CodeKey, queries: Embeddings, corpus: Representations) -> None:
        codec = corpus.codec(key)
        prepared, offsets = codec.split_queries(queries)
        empty = corpus.zeros.within(key[0])
        memory = np.empty(0, dtype=np.float32)  # of the scores of all blocks
        for part in self._parts:
            top = self._top(key, part, len(queries))
            for rows in _blocks(part, key[0], len(queries)):
                if memory.size < len(queries) * len(rows):
                    memory = np.empty(len(queries) * len(rows), dtype=np.float32)
                scores = memory[: len(queries) * len(rows)].reshape(len(queries), len(rows))
                np.matmul(prepared, corpus.quantized(key, rows).T, out=scores)
                if offsets is not None:
                    scores += offsets[:, None]
                if len(empty):
                    scores[:, is_in(empty, rows)] = 0
                top.add(scores, rows)
            self._lists[key].append(_compact(top.ranked()))

    def _top(self, key: CodeKey, part: Rows, n_queries: int) -> TopRows:
        return TopRows(n_queries, min(self._lengths[key], len(part)))


def _compact(found: Ranked) -> Ranked:
    """Store rows in 4 bytes each."""
    return Ranked(found.scores, found.rows.astype(np.int32))


def _blocks(part: Rows, dim: int, n_queries: int) -> Iterator[Rows]:
    """Split rows into blocks that respect the memory limits."""
    most = min(DOCUMENT_BYTES // (4 * dim), SCORE_BYTES // (4 * max(1, n_queries)))
    size = max(1, min(most, len(part)))
    for start in range(0, len(part), size):
        yield part[start : start + size]
