"""Stand-ins that tests of several folders share: an encoder that nests, and made retrieval sets.

Everything is deterministic and made in milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np

from nestvec.data.retrieval import RetrievalSet
from nestvec.types import Document, Embeddings, Kind, ModelInfo, OnProgress

FAKE_INFO = ModelInfo("fake/nested", "f" * 64, 64, (64, 32, 16), "config.json", True)


class NestedHashEncoder:
    """Adds up a fixed random vector for each word; early dimensions carry most of the variance.

    Attributes:
        calls: The kind and the texts of every call of ``encode``.
    """

    def __init__(
        self,
        info: ModelInfo = FAKE_INFO,
        *,
        spoiled: Mapping[str, float] | None = None,
    ) -> None:
        """Choose the model's card, and texts whose whole vector is one value (0, NaN)."""
        self.info = info
        self.calls: list[tuple[Kind, list[str]]] = []
        self._spoiled = spoiled or {}
        self._vectors: dict[str, Embeddings] = {}

    def encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> Embeddings:
        self.calls.append((kind, list(texts)))
        embeddings = np.zeros((len(texts), self.info.full_dim), dtype=np.float32)
        for line, text in zip(embeddings, texts, strict=True):
            for word in text.split():
                line += self._word(word)
            if text in self._spoiled:
                line[:] = self._spoiled[text]
        if on_progress is not None:
            on_progress(len(texts), len(texts))
        return embeddings

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        limit = self.info.max_tokens
        return 0 if limit is None else sum(len(text.split()) > limit for text in texts)

    def times_encoded(self, kind: Kind) -> Counter[str]:
        """Count how often each text was encoded."""
        return Counter(text for each, texts in self.calls if each == kind for text in texts)

    def _word(self, word: str) -> Embeddings:
        if word not in self._vectors:
            vector = np.random.default_rng(crc32(word.encode())).standard_normal(self.info.full_dim)
            decay = np.arange(1, self.info.full_dim + 1) ** -0.5
            self._vectors[word] = (vector * decay).astype(np.float32)
        return self._vectors[word]


def fake_info(**changes: object) -> ModelInfo:
    """Return the fake model's card with other values."""
    return replace(FAKE_INFO, **changes)


def retrieval_set(
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
) -> RetrievalSet:
    """Make a retrieval set of texts."""
    return RetrievalSet(
        name="made",
        split="test",
        corpus={id_: Document(text) for id_, text in documents.items()},
        queries=dict(queries),
        qrels={id_: dict(judged) for id_, judged in qrels.items()},
        counts={"unknown_documents": 0},
    )


def made_set(n_documents: int = 300, n_queries: int = 40, *, seed: int = 0) -> RetrievalSet:
    """Make random texts; a query is some words of the document it asks for, and noise.

    The document asked for has grade 2, another one at random grade 1. Every text is another one.
    """
    rng = np.random.default_rng(seed)
    words = np.array([f"w{number}" for number in range(200)])
    documents = {f"d{n}": " ".join([*rng.choice(words, 12), f"own{n}"]) for n in range(n_documents)}
    queries, qrels = {}, {}
    for n in range(n_queries):
        asked, other = (f"d{number}" for number in rng.integers(n_documents, size=2))
        known = rng.choice(documents[asked].split()[:-1], 4)
        queries[f"q{n}"] = " ".join([*known, *rng.choice(words, 2), f"ask{n}"])
        qrels[f"q{n}"] = {other: 1, asked: 2}
    return retrieval_set(documents, queries, qrels)


def assert_same_ranking(
    found: Sequence[Sequence[int]],
    expected: Sequence[Sequence[int]],
    scores: np.ndarray,
    *,
    tolerance: float = 1e-6,
) -> None:
    """Fail unless two rankings are the same wherever scores differ by more than a tolerance.

    Args:
        found: Rows of each query, best first.
        expected: The same, of the same shape.
        scores: The score of each query and row, [n_queries, n].
        tolerance: Of scores.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert all(len(set(line)) == len(line) for line in found.tolist())
    differ = np.take_along_axis(scores, found, 1) - np.take_along_axis(scores, expected, 1)
    assert np.abs(differ).max() <= tolerance
