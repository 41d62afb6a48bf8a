"""Stage 1 of the precision ``sign``: the Hamming distance to every code, with exact results.

Many documents have equal scores, so that a search must know all documents of the last score. It
counts the differing bits of every code and needs no index of FAISS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.scoring import is_in
from nestvec.types import Codes, Embeddings, Rows


class SignScan:
    """An exhaustive search over the sign bits of a corpus."""

    def __init__(self, codec: Codec, codes: Codes, *, empty: Rows) -> None:
        """Load the codes.

        Args:
            codec: The codec of the codes.
            codes: [n, bytes_per_vector].
            empty: Rows of zero vectors, ascending. Their score is 0, whatever their codes.
        """
        self._codec, self._empty = codec, empty
        self._words = _as_words(codes)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._words)

    def search(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the best ``k`` rows of each query, as ``Scan.search`` does."""
        rows = np.arange(len(self), dtype=np.int64) if allowed is None else allowed.rows
        words = self._words if allowed is None else self._words[rows]
        k = min(k, len(rows))
        zeros = is_in(self._empty, rows) if len(self._empty) else None
        queries = _as_words(self._codec.encode(embeddings))
        nonzero = np.count_nonzero(self._codec.prepare(embeddings), axis=1) > 0
        scores = np.zeros((len(queries), k), dtype=np.float32)
        found = np.zeros((len(queries), k), dtype=np.int64)
        for line, query in enumerate(queries):
            each = self._scores(words, query) if nonzero[line] else np.zeros(len(rows), np.int32)
            if zeros is not None:
                each[zeros] = 0
            best = _best(each, k)
            scores[line], found[line] = each[best], rows[best]
        return scores, found

    def shortlist(
        self, embeddings: Embeddings, k: int, *, allowed: Allowed | None = None
    ) -> tuple[Embeddings, Rows]:
        """Return the rows of ``search``, as ``Scan.shortlist`` does."""
        return self.search(embeddings, k, allowed=allowed)

    def _scores(self, words: NDArray[np.unsignedinteger], query: Codes) -> NDArray[np.int32]:
        differing = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.int32)
        scores: NDArray[np.int32] = self._codec.dim - 2 * differing
        return scores


def _as_words(codes: Codes) -> NDArray[np.unsignedinteger]:
    """Return codes as the widest integers that their size allows; fewer are counted faster."""
    codes = np.ascontiguousarray(codes)
    for width in (8, 4, 2):
        if codes.shape[1] % width == 0:
            return codes.view(f"u{width}")
    return codes


def _best(scores: NDArray[np.int32], k: int) -> Rows:
    """Return the positions of the best ``k`` scores, equal scores by ascending position."""
    if k == 0:
        return np.empty(0, dtype=np.int64)
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > last)
    chosen = np.concatenate((above, np.flatnonzero(scores == last)[: k - len(above)]))
    return chosen[np.argsort(-scores[chosen], kind="stable")]
