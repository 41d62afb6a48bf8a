"""Costs: bytes as counted by hand, searches timed alone and in a batch, warm and cold."""

import itertools
import tempfile

import faiss
import numpy as np
import pytest

from nestvec.measure import cost
from nestvec.measure.cold import ColdCodes, can_forget, reads_from_disk
from nestvec.measure.cost import costs
from nestvec.measure.representations import Representations
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


@pytest.fixture
def watched(monkeypatch):
    """Searches made: queries, k, threads of FAISS, whether rescore codes are mapped."""
    seen = []

    class WatchedSearch(cost.StagedSearch):
        def search(self, embeddings, k):
            mapped = [not each.codes.flags.writeable for each in self.rescorers]
            seen.append((len(embeddings), k, faiss.omp_get_max_threads(), mapped))
            return super().search(embeddings, k)

    monkeypatch.setattr(cost, "StagedSearch", WatchedSearch)
    return seen


def test_searches_are_timed_alone_on_one_thread_and_in_a_batch_on_all(corpus, threads, watched):
    steps = []
    point = OperatingPoint.parse("64:int8")
    (row,) = costs([point], QUERIES, corpus, k=7, on_step=lambda: steps.append(1)).values()
    *alone, batch = watched
    assert alone == [(1, 7, 1, [])] * (cost.WARM_UP + cost.TIMED_QUERIES)
    assert batch == (cost.BATCH, 7, threads, [])
    assert row.batch_qps > 0
    assert row.cold_p50_ms is None  # nothing is read from disk
    assert steps == [1]
    assert faiss.omp_get_max_threads() == threads


def test_cold_searches_map_their_codes_again_each_time(corpus, threads, watched, monkeypatch):
    reads = itertools.count()
    monkeypatch.setattr(cost, "reads_from_disk", lambda: next(reads))
    point = OperatingPoint.parse("16:binary@20>64:int8")
    (row,) = costs([point], QUERIES, corpus).values()
    cold = [search for search in watched if search[-1] == [True]]
    assert cold == [(1, cost.TIMED_K, 1, [True])] * cost.COLD_QUERIES
    assert watched[0][3] == [False]
    assert row.cold_p50_ms > 0


def test_reading_is_timed_once_for_points_that_read_alike(corpus, watched, monkeypatch):
    reads = itertools.count()
    monkeypatch.setattr(cost, "reads_from_disk", lambda: next(reads))
    alike, other = ("16:binary@20>64:int8", "32:int2@20>64:int8"), "16:binary@9>64:int8"
    measured = costs([*map(OperatingPoint.parse, (*alike, other))], QUERIES, corpus)
    assert [mapped for *_, mapped in watched].count([True]) == 2 * cost.COLD_QUERIES
    first, second = (measured[OperatingPoint.parse(name)] for name in alike)
    assert first.cold_p50_ms - first.p50_ms == pytest.approx(second.cold_p50_ms - second.p50_ms)


@pytest.mark.parametrize("name", ["can_forget", "reads_from_disk"])
def test_cold_times_are_not_told_where_the_cache_stays(corpus, monkeypatch, name):
    monkeypatch.setattr(cost, name, lambda: 0)
    (row,) = costs([OperatingPoint.parse("16:binary@20>64:int8")], QUERIES, corpus).values()
    assert row.cold_p50_ms is None
    assert row.p50_ms > 0


def test_cold_codes_are_the_same_codes_and_leave_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    codes = RNG.integers(0, 255, (50, 8), dtype=np.uint8)
    with ColdCodes() as cold:
        for _ in range(2):
            np.testing.assert_array_equal(cold.map((64, "binary"), codes), codes)
        other = cold.map((32, "int4"), codes[:7])
        np.testing.assert_array_equal(other, codes[:7])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not can_forget(), reason="this system keeps the page cache of files")
def test_cold_codes_are_read_from_disk(tmp_path):
    codes = RNG.integers(0, 255, (4096, 1024), dtype=np.uint8)
    with ColdCodes() as cold:
        cold.map((1024, "int8"), codes)
        before = reads_from_disk()
        mapped = cold.map((1024, "int8"), codes)
        assert mapped[::64].sum(dtype=np.int64) > 0
        if reads_from_disk() == before:
            pytest.skip("the temporary folder lies in memory")
        again = reads_from_disk()
        mapped[::64].sum(dtype=np.int64)
        assert reads_from_disk() - again <= (again - before) // 4  # warm now


def test_the_number_of_threads_is_restored_after_an_error(corpus, threads):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        costs([OperatingPoint.parse("64:int8")], QUERIES, corpus, on_step=interrupt)
    assert faiss.omp_get_max_threads() == threads


def test_one_query_is_enough(corpus):
    (row,) = costs([OperatingPoint.parse("16:int4")], QUERIES[:1], corpus).values()
    assert row.p50_ms == row.p99_ms > 0
