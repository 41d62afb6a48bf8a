"""Vectors of texts that were encoded before, kept while there is room: the least used go first."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from nestvec.types import Embeddings, Kind

_OVERHEAD = 400  # bytes of an entry beside its text and its vector, measured


class Known(NamedTuple):
    """What is known of a text: its vector [full_dim], and how many tokens it has."""

    vector: Embeddings
    tokens: int


class VectorCache:
    """Vectors by kind and text. Used from one thread, that of the event loop."""

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit`` bytes."""
        self._limit = limit
        self._bytes = 0
        self._known: OrderedDict[tuple[Kind, str], Known] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Count the vectors."""
        return len(self._known)

    @property
    def bytes(self) -> int:
        """What is kept takes so much."""
        return self._bytes

    def get(self, kind: Kind, text: str) -> Known | None:
        """Return what is known of a text, and count whether anything was."""
        known = self._known.get((kind, text))
        if known is None:
            self.misses += 1
            return None
        self._known.move_to_end((kind, text))
        self.hits += 1
        return known

    def put(self, kind: Kind, text: str, known: Known) -> None:
        """Keep what is known of a text; a copy, so that no larger array is held."""
        size = _size(text, known)
        if size > self._limit or (kind, text) in self._known:
            return
        self._known[kind, text] = Known(known.vector.copy(), known.tokens)
        self._bytes += size
        while self._bytes > self._limit:
            (_, oldest), gone = self._known.popitem(last=False)
            self._bytes -= _size(oldest, gone)


def _size(text: str, known: Known) -> int:
    return len(text) * 4 + known.vector.nbytes + _OVERHEAD
