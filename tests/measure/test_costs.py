"""Costs: bytes of the engine, and times of single and batch searches, warm and cold."""

import itertools
from contextlib import closing

import faiss
import numpy as np
import pytest

from nestvec.engines.embedded.trial import EmbeddedTrial
from nestvec.engines.flat.representations import Representations
from nestvec.engines.results import PointBytes
from nestvec.measure import cost
from nestvec.measure.cost import costs
from nestvec.types import Document, Hits, OperatingPoint

# Point, bytes in memory, of codes on disk, read for a query.
BY_HAND = (
    ("64:float16", 128, 128, 0),
    ("32:int8", 32, 32, 0),
    ("30:int4", 15, 15, 0),
    ("30:int2", 8, 8, 0),  # 60 bits
    ("12:binary", 2, 2, 0),  # 12 bits
    ("16:binary@20>64:int8", 2, 2 + 64, 20 * 64),
    ("16:binary@40>32:int4@30>64:float16", 2, 2 + 16, 40 * 16 + 30 * 128),
)
RNG = np.random.default_rng(0)
QUERIES = RNG.standard_normal((120, 64), dtype=np.float32)
IDS = [f"{row:03}" for row in reversed(range(60))]


@pytest.fixture
def trial():
    corpus = Representations(RNG.standard_normal((60, 64), dtype=np.float32), layer_norm=False)
    documents = {id_: Document("a text") for id_ in IDS}
    with closing(EmbeddedTrial(corpus, IDS, documents)) as trial:
        yield trial


@pytest.fixture
def threads():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    yield 2
    faiss.omp_set_num_threads(before)


class WatchedTrial:
    """Searches that only record their arguments."""

    def __init__(self, share=1.0):
        self.seen, self.cold, self.share = [], [], share

    def searcher(self, point):
        return self._search(self.seen)

    def cold_searcher(self, point):
        return None if len(point.stages) == 1 else self._search(self.cold)

    def _search(self, seen):
        def search(embeddings, k):
            seen.append((len(embeddings), k, faiss.omp_get_max_threads()))
            return Hits([], [])

        return search

    def scanned_share(self, point):
        return self.share

    def bytes(self, point):
        return PointBytes(1, 2, 3, 4)

    def build_s(self, point):
        return 0.5

    def lookup_ms(self, k):
        return 100.0 * k


def test_bytes_are_those_counted_by_hand(trial):
    points = [OperatingPoint.parse(text) for text, *_ in BY_HAND]
    measured = costs(points, QUERIES, trial)
    assert set(measured) == set(points)
    for point, (text, ram, codes, read) in zip(points, BY_HAND, strict=True):
        row = measured[point]
        assert (row.ram_bytes_per_vector, row.read_bytes_per_query) == (ram, read), text
        # Full vectors of float16, codes, where a document is and where its id of 3 bytes is.
        assert row.disk_bytes_per_vector == 128 + codes + 16 + 3, text
        assert row.text_bytes_per_vector > 6
        assert 0 < row.lookup_ms < row.p50_ms <= row.p95_ms <= row.p99_ms
        assert row.build_s > 0


def test_building_two_stages_costs_the_sum_of_both(trial):
    names = ("16:binary", "64:int8", "16:binary@20>64:int8")
    by_name = costs([*map(OperatingPoint.parse, names)], QUERIES, trial)
    alone = sum(by_name[OperatingPoint.parse(name)].build_s for name in names[:2])
    assert by_name[OperatingPoint.parse(names[2])].build_s == pytest.approx(alone)


def test_a_first_stage_shared_by_points_is_built_once(trial, monkeypatch):
    from nestvec.engines.embedded import part

    made = []

    class CountedScan(part.Scan):
        def __init__(self, codec, codes, *, empty):
            made.append((codec.dim, codec.precision))
            super().__init__(codec, codes, empty=empty)

    monkeypatch.setattr(part, "Scan", CountedScan)
    names = ("16:binary@9>64:int8", "64:int8", "16:binary", "16:binary@9>64:float16")
    costs([*map(OperatingPoint.parse, names)], QUERIES, trial)
    assert sorted(made) == [(16, "binary"), (64, "int8")]


def test_single_searches_use_one_thread_and_batches_all(threads):
    steps, watched = [], WatchedTrial()
    point = OperatingPoint.parse("64:int8")
    (row,) = costs([point], QUERIES, watched, k=7, on_step=lambda: steps.append(1)).values()
    *alone, batch = watched.seen
    assert alone == [(1, 7, 1)] * (cost.WARM_UP + cost.TIMED_QUERIES)
    assert batch == (cost.BATCH, 7, threads)
    assert row.batch_qps > 0
    assert row.cold_p50_ms is None  # nothing is read from disk
    assert row.lookup_ms == 700  # of the 7 documents of a query, and a part of its time
    assert 700 < row.p50_ms < 710
    assert steps == [1]
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.parametrize(("precision", "batch"), [("float32", cost.LEAST_BATCH), ("int8", 4)])
def test_slow_searches_are_timed_on_fewer_queries(monkeypatch, threads, precision, batch):
    clock = itertools.count()  # seconds: each reading of the clock is one second later
    monkeypatch.setattr(cost.time, "perf_counter", lambda: float(next(clock)))
    watched = WatchedTrial()
    point = OperatingPoint.parse(f"64:{precision}@20>64:float16")
    (row,) = costs([point], QUERIES, watched).values()
    sizes = [size for size, _, _ in watched.seen]
    assert sizes == [1] * (1 + cost.STABLE_QUERIES) + [batch]  # one is warm-up
    assert row.batch_qps == batch  # in one second


@pytest.mark.parametrize(("seconds", "timed"), [((1.0, 1.08), 8), ((1.0, 1.2), 20)])
def test_slow_searches_of_varying_time_are_timed_on_more_queries(monkeypatch, seconds, timed):
    # The times of two searches, in turns, deviate from their mean by 4 % or by 9 %.
    now, lasting = [0.0], itertools.cycle(seconds)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])

    class SlowTrial(WatchedTrial):
        def _search(self, seen):
            watched = super()._search(seen)

            def search(embeddings, k):
                now[0] += next(lasting)
                return watched(embeddings, k)

            return search

    slow = SlowTrial()
    costs([OperatingPoint.parse("64:int8")], QUERIES, slow)
    alone = [size for size, _, _ in slow.seen][:-1]
    assert alone == [1] * (1 + timed)  # one is warm-up


def test_the_time_of_a_part_is_extrapolated_to_the_corpus(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(cost.time, "perf_counter", lambda: float(next(clock)))
    point = OperatingPoint.parse("64:float32")
    (row,) = costs([point], QUERIES, WatchedTrial(0.25), k=7).values()
    assert row.p50_ms == row.p95_ms == 4 * 1000 + 700  # a search of a second, and a lookup
    assert row.batch_qps == cost.LEAST_BATCH / 4


def test_bytes_and_build_time_are_those_of_the_engine():
    (row,) = costs([OperatingPoint.parse("64:int8")], QUERIES, WatchedTrial()).values()
    assert (row.ram_bytes_per_vector, row.disk_bytes_per_vector) == (1, 2)
    assert (row.text_bytes_per_vector, row.read_bytes_per_query, row.build_s) == (3, 4, 0.5)


def test_reading_is_timed_once_for_points_that_read_the_same(threads, monkeypatch):
    reads, watched = itertools.count(), WatchedTrial()
    monkeypatch.setattr(cost, "_reads_from_disk", lambda: next(reads))
    alike, other = ("16:binary@20>64:int8", "32:int2@20>64:int8"), "16:binary@9>64:int8"
    measured = costs([*map(OperatingPoint.parse, (*alike, other))], QUERIES, watched)
    assert watched.cold == [(1, cost.TIMED_K, 1)] * 2 * cost.COLD_QUERIES
    first, second = (measured[OperatingPoint.parse(name)] for name in alike)
    assert first.cold_p50_ms - first.p50_ms == pytest.approx(second.cold_p50_ms - second.p50_ms)


def test_cold_times_are_not_reported_if_nothing_was_read_from_disk(trial, monkeypatch):
    monkeypatch.setattr(cost, "_reads_from_disk", lambda: 0)
    (row,) = costs([OperatingPoint.parse("16:binary@20>64:int8")], QUERIES, trial).values()
    assert row.cold_p50_ms is None
    assert row.p50_ms > 0


def test_a_cold_search_reads_from_disk():
    # 64 MB of vectors, of which a shortlist reads 400 rows here and there.
    corpus = Representations(
        RNG.standard_normal((16_384, 1024), dtype=np.float32), layer_norm=False
    )
    ids = [f"{row:06}" for row in reversed(range(len(corpus)))]
    point = OperatingPoint.parse("8:binary@400>1024:float16")
    with corpus, closing(EmbeddedTrial(corpus, ids, {})) as trial:
        query = RNG.standard_normal((1, 1024), dtype=np.float32)
        trial.searcher(point)(query, 10)
        search = trial.cold_searcher(point)
        if search is None:
            pytest.skip("this system keeps the page cache of files")
        before = cost._reads_from_disk()
        search(query, 10)
        cold = cost._reads_from_disk() - before
        if cold == 0:
            pytest.skip("the temporary folder is in memory")
        search(query, 10)
        assert cost._reads_from_disk() - before - cold <= cold // 4  # warm now


def test_a_warm_search_after_a_cold_one_reads_nothing_from_disk():
    # Points that rescore with the same vectors share a file, which cold searches drop from memory.
    vectors = RNG.standard_normal((16_384, 1024), dtype=np.float32)
    corpus = Representations(vectors, layer_norm=False)
    ids = [f"{row:06}" for row in reversed(range(len(corpus)))]
    one, other = (OperatingPoint.parse(f"{dim}:binary@400>1024:float16") for dim in (8, 16))
    with corpus, closing(EmbeddedTrial(corpus, ids, {})) as trial:
        search = trial.cold_searcher(one)
        if search is None:
            pytest.skip("this system keeps the page cache of files")
        del search
        search = trial.searcher(other)
        before = cost._reads_from_disk()
        search(RNG.standard_normal((5, 1024), dtype=np.float32), 10)
        assert cost._reads_from_disk() - before <= 5


def test_the_number_of_threads_is_restored_after_an_error(trial, threads):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        costs([OperatingPoint.parse("64:int8")], QUERIES, trial, on_step=interrupt)
    assert faiss.omp_get_max_threads() == threads


def test_one_query_is_enough(trial):
    (row,) = costs([OperatingPoint.parse("16:int4")], QUERIES[:1], trial).values()
    assert row.p50_ms == row.p99_ms > 0
