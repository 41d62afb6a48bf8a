"""The exact scan of stored vectors equals a product by NumPy, and copies no vector."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.flat import exact_scan
from nestvec.engines.flat.exact_scan import nearest
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.manifest import Manifest
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM, K = 5_000, 24, 20
MANY = exact_scan._MANY_QUERIES


def stored(dtype: str) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((N, DIM), dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def queries_of(n: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n, DIM), dtype=np.float32)


@pytest.mark.parametrize("n_queries", [1, MANY - 1, MANY])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("share", [1, 2, 1000])
def test_the_nearest_vectors_equal_a_product(n_queries, dtype, share):
    vectors, queries, mask = stored(dtype), queries_of(n_queries), np.arange(N) % share == 0
    k = min(K, int(mask.sum()))
    expected = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    expected[:, ~mask] = -np.inf
    found = nearest(vectors, queries, k, None if share == 1 else Allowed(mask))
    best = np.argsort(-expected, axis=1)[:, :k]
    assert np.array_equal(np.sort(found.rows), np.sort(best))  # no scores are equal
    assert np.allclose(found.scores, np.take_along_axis(expected, found.rows, axis=1), atol=1e-5)


def test_a_mapped_file_is_searched(tmp_path: Path):
    vectors = stored("float16")
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert np.array_equal(
        nearest(mapped, queries_of(3), K).rows, nearest(vectors, queries_of(3), K).rows
    )


def test_many_queries_find_what_single_queries_find(tmp_path: Path):
    """In several parts, with a tail, deleted documents and equal vectors in all of them."""
    vectors = stored("float32")[:900]
    vectors[::3] = vectors[:300]  # each of 300 vectors occurs several times, or is changed by that
    model = ModelInfo("models/any", "a" * 64, DIM, (DIM,), "config.json", True)
    manifest = Manifest(model, "float16", OperatingPoint.parse(f"{DIM}:int8"))
    with closing(EmbeddedEngine.create(str(tmp_path / "index"), manifest)) as index:
        for start in range(0, 900, 300):
            ids = [f"d{number * 7919 % 900:03}" for number in range(start, start + 300)]
            index.add(dict.fromkeys(ids, Document("")), vectors[start : start + 300])
            if start < 600:
                index.build_codes()
        index.delete([f"d{number:03}" for number in range(0, 900, 10)])
        queries = queries_of(MANY)
        together = index.search(queries, K, exact=True)
        alone = [index.search(query[None], K, exact=True) for query in queries]
    assert together.ids == [hits.ids[0] for hits in alone]
    assert together.scores == [hits.scores[0] for hits in alone]
