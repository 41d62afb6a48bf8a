"""Costs: bytes as counted by hand, times of single searches on one thread."""

import faiss
import numpy as np
import pytest

from nestvec.evaluate import cost
from nestvec.evaluate.cost import costs
from nestvec.evaluate.representations import Representations
from nestvec.types import OperatingPoint

# Point, bytes in memory, on disk, read for a query.
BY_HAND = (
    ("64:float32", 256, 0, 0),
    ("64:float16", 128, 0, 0),
    ("32:int8", 32, 0, 0),
    ("30:int4", 15, 0, 0),
    ("30:int2", 8, 0, 0),  # 60 bits
    ("12:binary", 2, 0, 0),  # 12 bits
    ("16:binary@20>64:int8", 2, 64, 20 * 64),
    ("16:binary@40>32:int4@30>64:float16", 2, 16 + 128, 40 * 16 + 30 * 128),
)
RNG = np.random.default_rng(0)
QUERIES = RNG.standard_normal((120, 64), dtype=np.float32)


@pytest.fixture
def corpus():
    return Representations(RNG.standard_normal((60, 64), dtype=np.float32), layer_norm=False)


@pytest.fixture
def threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield 2
    faiss.omp_set_num_threads(before)


def test_bytes_are_those_counted_by_hand(corpus):
    points = [OperatingPoint.parse(text) for text, *_ in BY_HAND]
    measured = costs(points, QUERIES, corpus)
    assert set(measured) == set(points)
    for point, (text, ram, disk, read) in zip(points, BY_HAND, strict=True):
        row = measured[point]
        found = (row.ram_bytes_per_vector, row.disk_bytes_per_vector, row.read_bytes_per_query)
        assert found == (ram, disk, read), text
        assert 0 < row.p50_ms <= row.p95_ms <= row.p99_ms
        assert row.build_s > 0


def test_building_two_stages_costs_the_sum_of_both(corpus):
    names = ("16:binary", "64:int8", "16:binary@20>64:int8")
    by_name = costs([*map(OperatingPoint.parse, names)], QUERIES, corpus)
    alone = sum(by_name[OperatingPoint.parse(name)].build_s for name in names[:2])
    assert by_name[OperatingPoint.parse(names[2])].build_s == pytest.approx(alone)


def test_a_first_stage_shared_by_points_is_laid_out_once(corpus, monkeypatch):
    made = []

    class CountedScan(cost.Scan):
        def __init__(self, codec, codes, *, empty):
            made.append((codec.dim, codec.precision))
            super().__init__(codec, codes, empty=empty)

    monkeypatch.setattr(cost, "Scan", CountedScan)
    names = ("16:binary@9>64:int8", "64:int8", "16:binary", "16:binary@9>64:float16")
    costs([*map(OperatingPoint.parse, names)], QUERIES, corpus)
    assert sorted(made) == [(16, "binary"), (64, "int8")]


def test_searches_are_timed_one_by_one_on_one_thread(corpus, threads, monkeypatch):
    batches, seen = [], []

    class WatchedSearch(cost.StagedSearch):
        def search(self, embeddings, k):
            batches.append((len(embeddings), k))
            seen.append(faiss.omp_get_max_threads())
            return super().search(embeddings, k)

    monkeypatch.setattr(cost, "StagedSearch", WatchedSearch)
    steps = []
    costs([OperatingPoint.parse("64:int8")], QUERIES, corpus, on_step=lambda: steps.append(1))
    assert set(batches) == {(1, cost.TIMED_K)}
    assert len(batches) == cost.WARM_UP + cost.TIMED_QUERIES
    assert set(seen) == {1}
    assert steps == [1]
    assert faiss.omp_get_max_threads() == threads


def test_the_number_of_threads_is_restored_after_an_error(corpus, threads):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        costs([OperatingPoint.parse("64:int8")], QUERIES, corpus, on_step=interrupt)
    assert faiss.omp_get_max_threads() == threads


def test_one_query_is_enough(corpus):
    (row,) = costs([OperatingPoint.parse("16:int4")], QUERIES[:1], corpus).values()
    assert row.p50_ms == row.p99_ms > 0
