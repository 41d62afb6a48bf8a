"""The data of the engine contract, and a brute-force search by NumPy to compare with.

The corpus is generated: 200 documents with ids "d0" to "d199", whose vectors are the rows of
``VECTORS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.engine import Engine
from nestvec.engines.manifest import Manifest
from nestvec.engines.registry import capabilities, engine_class
from nestvec.types import (
    Document,
    Embeddings,
    Hits,
    MetadataValue,
    ModelInfo,
    OperatingPoint,
    Stage,
)

Feature = Literal["filters", "exact", "any_point"]
"""The optional features of an engine: fields of its ``Capabilities``."""


class EngineSetup(Protocol):
    """The functions that the tests need of an engine.

    Attributes:
        name: Its name in the registry.
        staged: A point of two stages that the engine supports, with a shortlist of 40 documents.
    """

    name: str
    staged: OperatingPoint

    def create(self, place: Path, model: ModelInfo, point: OperatingPoint) -> Engine:
        """Create an empty index that stores float32 vectors, and open it."""

    def open(self, place: Path) -> Engine:
        """Open an index again."""

    def settle(self, engine: Engine) -> None:
        """Return when all added documents have their final codes or search structures."""

    def scores(self, queries: Embeddings, corpus: Embeddings, stage: Stage) -> np.ndarray:
        """Return the scores of a stage, computed by NumPy, [n_queries, n].

        Args:
            queries: [n_queries, full_dim], as the model returns them.
            corpus: [n, full_dim], the vectors of all documents: ``VECTORS``.
            stage: The stage, with its dim and precision.
        """


class UrlSetup:
    """The setup of a database, whose scores are those of codecs that fit nothing to a corpus."""

    name: str
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def url(self, place: Path) -> str:
        """Return the URL of an index."""
        raise NotImplementedError

    def create(self, place: Path, model: ModelInfo, point: OperatingPoint) -> Engine:
        """Create an empty index that stores float32 vectors, and open it."""
        return engine_class(self.name).create(self.url(place), Manifest(model, "float32", point))

    def open(self, place: Path) -> Engine:
        """Open an index again, and check it."""
        return engine_class(self.name).open(self.url(place), verify=True)

    def settle(self, engine: Engine) -> None:
        """Build the search structures."""
        engine.build_codes()

    def scores(self, queries: Embeddings, corpus: Embeddings, stage: Stage) -> np.ndarray:
        """Return the scores of the codec of a stage."""
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


FULL_DIM = 32
MODEL = ModelInfo("models/any", "e" * 64, FULL_DIM, (32, 16), "config.json", True)
POINTS = ["32:float32", "32:float16", "16:int8", "16:int4", "8:binary", "16:sign", "16:pq4"]
POINTS += ["16:float16", "16:float16@40>32:float32", "8:float32@90>16:float16@30>32:float32"]
POINTS += [
    "32:sign@60>32:float16",
    "16:binary@40>32:float16",
    "16:int8@30>32:float32",
    "8:binary@90>16:int8@30>32:float16",
]
PLAIN = OperatingPoint.parse("32:float32")
N = 200


def make_document(number: int) -> Document:
    metadata: dict[str, MetadataValue] = {"n": number, "half": number / 2}
    if number % 3:  # every third document has no ``lang``
        metadata["lang"] = ("en", "de")[number % 2]
    if number % 5 == 0:
        metadata["mixed"] = str(number) if number % 2 else number
    if number % 7 == 0:
        metadata["open"] = number % 2 == 0
    if number % 4:
        metadata["tags"] = [f"t{number % 3}", "all"] if number % 2 else []
    if number % 6 == 0:
        metadata["codes"] = [number, 0.5] if number % 4 else number
    metadata["day"] = f"2026-01-{1 + number % 28:02}T00:00:00"
    return Document(f"text {number}", f"title {number}", metadata)


# The order of ids differs from the order of their numbers. "d3" and "d30" have equal vectors.
CORPUS = {f"d{number}": make_document(number) for number in range(N)}


def made(n: int, seed: int) -> Embeddings:
    return np.random.default_rng(seed).standard_normal((n, FULL_DIM)).astype(np.float32)


VECTORS = made(N, seed=0)
VECTORS[3] = VECTORS[30]
QUERIES = made(5, seed=1)
VECTORS.setflags(write=False)
QUERIES.setflags(write=False)


def best_ids(scores: np.ndarray, ids: Sequence[str], k: int) -> list[int]:
    """Return the best positions, equal scores by descending id."""
    by_id = sorted(range(len(ids)), key=ids.__getitem__, reverse=True)
    return sorted(by_id, key=lambda position: -scores[position])[:k]


def brute_force(
    setup: EngineSetup, point: OperatingPoint, k: int, allowed: Sequence[str] = tuple(CORPUS)
) -> Hits:
    """Run the stages of a point by NumPy over the allowed documents."""
    rows = np.array([int(id_[1:]) for id_ in allowed], dtype=np.int64)
    stages = [setup.scores(QUERIES, VECTORS, stage) for stage in point.stages]
    hits = Hits([], [])
    for query in range(len(QUERIES)):
        left = rows
        for stage, scores in zip(point.stages, stages, strict=True):
            ids = [f"d{row}" for row in left]
            left = left[best_ids(scores[query, left], ids, stage.keep or k)]
        hits.ids.append([f"d{row}" for row in left])
        hits.scores.append(stages[-1][query, left].tolist())
    return hits


def unit(vectors: Embeddings) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def assert_same(found: Hits, expected: Hits) -> None:
    assert found.ids == expected.ids
    for scores, others in zip(found.scores, expected.scores, strict=True):
        np.testing.assert_allclose(scores, others, atol=2e-6)


def needs(setup: EngineSetup, feature: Feature) -> None:
    if not getattr(capabilities(setup.name), feature):
        pytest.skip(f"engine {setup.name} does not support {feature}")


def needs_point(setup: EngineSetup, point: OperatingPoint) -> None:
    if not capabilities(setup.name).can_run(point):
        pytest.skip(f"engine {setup.name} does not support {point}")
