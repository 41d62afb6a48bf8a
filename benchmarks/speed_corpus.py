"""The vectors, queries and labels of the speed benchmark: a folder of ``sentences.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nestvec.metrics.ranking import best
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.types import Embeddings, Rows

K = 10
_BLOCK = 20_000  # vectors scored at a time


@dataclass(frozen=True)
class Corpus:
    """The first ``n`` texts of a folder.

    Attributes:
        folder: The folder that ``sentences.py`` wrote.
        n: The number of texts.
        n_queries: The number of queries; None for all.
        work: The folder for built indexes and exact results.
    """

    folder: Path
    n: int
    work: Path
    n_queries: int | None = None

    @cached_property
    def vectors(self) -> Embeddings:
        """Unit vectors, memory-mapped, [n, dim]."""
        vectors: Embeddings = np.load(self.folder / "vectors.npy", mmap_mode="r")
        return vectors[: self.n]

    @cached_property
    def queries(self) -> Embeddings:
        """Unit vectors, [n_queries, dim]."""
        queries: Embeddings = np.load(self.folder / "queries.npy")
        return queries[: self.n_queries]

    @cached_property
    def about(self) -> dict[str, Any]:
        """The description of the folder (about.json)."""
        about: dict[str, Any] = json.loads((self.folder / "about.json").read_text("utf-8"))
        return about

    def place(self, name: str) -> Path:
        """Return the folder of a contender's index."""
        return self.work / str(self.n) / name.replace(" ", "_").replace(",", "")

    @cached_property
    def exact(self) -> Rows:
        """The best rows of each query at float32, [n_queries, K]; computed once and stored."""
        file = self.work / str(self.n) / "exact.npy"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, _exact(self.queries, self.vectors))
        rows: Rows = np.load(file)
        return rows

    def ndcg(self, rankings: Sequence[Rows]) -> list[float] | None:
        """Return nDCG@10 of each ranking; None if the corpus lacks some labeled documents."""
        if self.about["judged_documents"] > self.n:
            return None
        grades = json.loads((self.folder / "qrels.json").read_text("utf-8"))[: self.n_queries]
        ids = [str(number) for number in range(len(grades))]
        documents = [str(row) for row in range(self.n)]
        judged = RelevanceLabels.from_qrels(dict(zip(ids, grades, strict=True)), ids, documents)
        scores = (score(f"ndcg@{K}", judged.grades(rows), judged) for rows in rankings)
        return [round(float(each.mean()), 4) for each in scores]


def _exact(queries: Embeddings, vectors: Embeddings) -> Rows:
    found = None
    for start in range(0, len(vectors), _BLOCK):
        scores = queries @ vectors[start : start + _BLOCK].T
        found = best(np.ascontiguousarray(scores), K, first_row=start, so_far=found)
    assert found is not None, "no vectors"
    return found.rows
