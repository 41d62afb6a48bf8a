"""The bytes and milliseconds of a curve equal those of an index folder."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest

from fakes import NestedHashEncoder
from nestvec.codec.threads import one_thread
from nestvec.data.retrieval import RetrievalSet
from nestvec.index.building import build_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.types import Document, OperatingPoint

POINTS = (
    "64:int8",
    "16:binary@100>64:int8",
    "16:binary@400>64:float16",
    "32:binary@400>64:float16",
)
BYTES = 0.03  # share by which bytes may differ: pages of SQLite and of segment files
TIMES = 1.5  # ratio of times within one process, both medians, on a machine with other work


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A curve of 20,000 documents, and the index of each point."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(500)])
    texts = [" ".join(rng.choice(words, 12)) for _ in range(20_000)]
    corpus = {f"doc-{n:06}": Document(text, metadata={"n": n}) for n, text in enumerate(texts)}
    queries = {f"q{n}": " ".join(text.split()[:4]) for n, text in enumerate(texts[:100])}
    qrels = {f"q{n}": {f"doc-{n:06}": 1} for n in range(100)}
    data = RetrievalSet("made", "test", corpus, queries, qrels, counts={})
    model = NestedHashEncoder()
    grid = Grid(dims=(64,), precisions=(), shortlisted=(), extra=POINTS)
    measure = partial(evaluate, model, data, grid)
    curve = measure()
    folder = tmp_path_factory.mktemp("measured")
    vectors = model.encode(list(queries.values()), kind="query")
    with build_index(model, corpus, POINTS[0], folder / "0") as first:
        indexes = {POINTS[0]: first}
        for number, point in enumerate(POINTS[1:], 1):
            indexes[point] = build_index(model, corpus, point, folder / str(number))
        yield curve, indexes, vectors, measure
        for point in POINTS[1:]:
            indexes[point].close()


def median_ms(index, vectors, k=10):
    """Time each query by itself on one thread: its search, and fetching its documents."""
    times = []
    with one_thread():
        for query in vectors[:3]:
            index.search(query[None], k)
        for query in vectors:
            start = time.perf_counter()
            index.get(index.search(query[None], k).ids[0])
            times.append((time.perf_counter() - start) * 1000)
    return float(np.median(times))


@pytest.mark.parametrize("point", POINTS)
def test_bytes_of_the_curve_are_those_of_the_folder(measured, point):
    curve, indexes, *_ = measured
    cost, index = curve[point].cost, indexes[point]
    stats = index.stats()
    n = stats.documents
    assert cost.ram_bytes_per_vector == stats.resident_bytes / n
    assert cost.disk_bytes_per_vector == pytest.approx(stats.vector_bytes / n, rel=BYTES)
    assert cost.text_bytes_per_vector == pytest.approx(stats.text_bytes / n, rel=2 * BYTES)
    assert index.bytes.read_per_query == cost.read_bytes_per_query
    assert stats.disk_bytes == pytest.approx(stats.vector_bytes + stats.text_bytes, rel=BYTES)


@pytest.mark.parametrize("point", POINTS)
def test_milliseconds_of_the_curve_are_those_of_the_index(measured, point):
    curve, indexes, vectors, measure = measured
    ratios = []
    for _ in range(5):  # the speed of a shared processor changes: both are measured again
        ratios.append(median_ms(indexes[point], vectors) / curve[point].cost.p50_ms)
        if 1 / TIMES < ratios[-1] < TIMES:
            return
        curve = measure()
    pytest.fail(f"{point}: the index needs {ratios} times what the curve says")


@pytest.mark.parametrize("point", POINTS[1:])
def test_the_index_finds_the_hits_that_were_measured(measured, point):
    curve, indexes, vectors, _ = measured
    row = curve.row_number(OperatingPoint.parse(point))
    found = indexes[point].search(vectors, 10).ids
    top = curve.scores.doc_ids[curve.scores.top[row][:, :10]]
    assert top.tolist() == found
