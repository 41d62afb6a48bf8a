"""The corpus at each dim and precision, encoded when first asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nestvec.codec import Codec
from nestvec.index.embedded import empty_rows
from nestvec.types import Codes, Embeddings, Precision


@dataclass(frozen=True)
class Representation:
    """The codes of a corpus and what they were made with.

    Attributes:
        codec: Fitted on this corpus.
        codes: [n, bytes_per_vector].
        build_s: Seconds to fit and encode.
    """

    codec: Codec
    codes: Codes
    build_s: float


class Representations:
    """Every representation of one corpus, each made once."""

    def __init__(self, corpus: Embeddings, *, layer_norm: bool) -> None:
        """Take the embeddings, [n, full_dim], as the model gives them."""
        self.corpus = corpus
        self.layer_norm = layer_norm
        self.empty = empty_rows(corpus)
        self._made: dict[tuple[int, Precision], Representation] = {}

    def __getitem__(self, key: tuple[int, Precision]) -> Representation:
        """Return the representation of (dim, precision)."""
        if key not in self._made:
            start = time.perf_counter()
            codec = Codec.fit(self.corpus, *key, layer_norm=self.layer_norm)
            codes = codec.encode(self.corpus)
            self._made[key] = Representation(codec, codes, time.perf_counter() - start)
        return self._made[key]

    def decoded(self, key: tuple[int, Precision]) -> Embeddings:
        """Return what the codes stand for, [n, dim]; zero vectors are zero."""
        representation = self[key]
        vectors = representation.codec.decode(representation.codes)
        vectors[self.empty] = 0
        return vectors
