"""LanceDB with an index of partitions: recall, filters, ties, later documents and settings."""

import re

import numpy as np
import pytest
from lance_corpus import (
    FULL_DIM,
    IDS,
    MODEL,
    POINT,
    QUERIES,
    SOURCE,
    VECTORS,
    N,
    expected_ids,
    load,
    made_document,
    made_vectors,
    manifest,
    overlap,
)

from nestvec.engines.filters.where import Where
from nestvec.engines.lancedb import indexes
from nestvec.engines.lancedb import table as table_module
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument, ModelMismatch
from nestvec.types import Document, OperatingPoint


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An index of all documents, with an index of vectors."""
    url = f"lance://{tmp_path_factory.mktemp('lance')}/built"
    with LanceEngine.building(url, manifest(), source=SOURCE) as engine:
        load(engine)
    return url


@pytest.fixture
def index(place):
    engine = LanceEngine.open(place)
    yield engine
    engine.close()


def lance_table(engine):
    """The Lance table of an engine."""
    return engine._tables._folder.database.open_table(engine._tables.latest(engine._name).table)


def searched_partitions(engine):
    """The number of partitions that a search reads, as Lance reports it."""
    from nestvec.engines.lancedb.column_search import ColumnSearch

    plans = []

    class Query:
        def __init__(self, query):
            self._query = query

        def __getattr__(self, name):
            return lambda *values, **named: Query(getattr(self._query, name)(*values, **named))

        def to_arrow(self):
            plans.append(self._query.analyze_plan())
            return self._query.to_arrow()

    class Table:
        def __init__(self, table):
            self._table = table

        def search(self, *values, **named):
            return Query(self._table.search(*values, **named))

    original = ColumnSearch._fetch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ColumnSearch, "_fetch", lambda self, table, *rest: original(self, Table(table), *rest)
        )
        engine.search(QUERIES[:1], 10)
    return int(re.search(r"partitions_searched=(\d+)", plans[0])[1])


def expected_partitions(engine):
    """The fitted number of partitions, or those that the shortlist needs."""
    settings, first = engine.manifest.settings, engine.manifest.point.stages[0]
    return indexes.nprobes(settings, settings["column"], first.keep)


def test_the_fitted_search_retains_the_exact_results(index):
    settings = index.manifest.settings
    assert settings["index"] == "ivf_flat"
    assert settings["overlap@10"] >= 0.99
    assert searched_partitions(index) == settings["nprobes"] < N / settings["partition_rows"] / 2
    found = index.search(QUERIES, 10)
    # Other queries than the fitted ones: 3 standard errors of their results below .99.
    assert overlap(expected_ids(QUERIES, range(N)), found.ids) >= 0.955
    exact = expected_ids(QUERIES, range(N), OperatingPoint.parse("64:float32"))
    assert overlap(exact, index.search(QUERIES, 10, exact=True).ids) == 1


def test_the_index_contains_all_documents(index):
    stats = lance_table(index).index_stats(f"{index.manifest.settings['column']}_idx")
    assert (stats.index_type, stats.num_indexed_rows) == ("IVF_FLAT", N)
    assert stats.num_unindexed_rows == 0


@pytest.mark.parametrize("scanned", [10_000, 0])  # with 0, the index is searched
@pytest.mark.parametrize(("text", "share"), [("ten = 3", 10), ("hundred = 7", 100)])
def test_a_selective_filter_returns_k_documents(index, monkeypatch, text, share, scanned):
    monkeypatch.setattr(indexes, "LEAST_ROWS", scanned)
    rows = [n for n in range(N) if n % share == (3 if share == 10 else 7)]
    hits = index.search(QUERIES, 10, where=Where.parse(text))
    assert {len(ids) for ids in hits.ids} == {10}
    # The index is fitted to .99 without a filter. Allow 3 standard errors of 30 queries, as above.
    assert overlap(expected_ids(QUERIES, rows), hits.ids) >= 0.955
    exact = index.search(QUERIES, 10, where=Where.parse(text), exact=True)
    assert exact.ids == expected_ids(QUERIES, rows, OperatingPoint.parse("64:float32"))


@pytest.mark.parametrize(("text", "count"), [("n in (5, 50, 19999)", 3), ("n < 0", 0)])
def test_a_filter_that_few_documents_match_returns_all_of_them(index, text, count):
    hits = index.search(QUERIES, 10, where=Where.parse(text))
    assert {len(ids) for ids in hits.ids} == {count}


def test_a_shortlist_of_the_index_is_complete(index):
    hits = index.search(QUERIES[:3], 500)
    assert {len(ids) for ids in hits.ids} == {100}
    assert {len(ids) for ids in index.search(QUERIES[:3], 150, exact=True).ids} == {150}


def test_a_scan_replaces_an_index_that_returns_too_few(index, monkeypatch):
    from nestvec.engines.lancedb.column_search import ColumnSearch

    original = ColumnSearch._fetch

    def fetch(self, table, prefixes, wanted):
        rows = original(self, table, prefixes, wanted)
        return rows if self.nprobes is None else rows.slice(0, 5)

    expected = expected_ids(QUERIES[:2], range(N))
    monkeypatch.setattr(ColumnSearch, "_fetch", fetch)
    monkeypatch.setattr(indexes, "LEAST_ROWS", 0)
    assert index.search(QUERIES[:2], 10).ids == expected


def test_later_documents_are_found_and_then_indexed(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "LEAST_ROWS", 2_000)
    engine = LanceEngine.create(f"lance://{tmp_path}/later", manifest())
    load(engine, 0, 3_000)
    engine.build_codes()
    assert engine.manifest.settings["index"] == "ivf_flat"
    engine.add({IDS[n]: made_document(n) for n in range(3_000, 3_500)}, VECTORS[3_000:3_500])
    (found,) = engine.search(VECTORS[[3_345]], 1).ids
    assert found == [IDS[3_345]]
    assert searched_partitions(engine) == expected_partitions(engine)
    column = f"{engine.manifest.settings['column']}_idx"
    assert lance_table(engine).index_stats(column).num_unindexed_rows == 500
    assert engine.delete([IDS[n] for n in range(100)]) == 100
    engine.compact()
    stats = lance_table(engine).index_stats(column)
    assert (stats.num_indexed_rows, stats.num_unindexed_rows) == (3_400, 0)
    assert stats.num_indices == 1
    assert searched_partitions(engine) == expected_partitions(engine)
    (found,) = engine.search(VECTORS[[3_345]], 1).ids
    assert found == [IDS[3_345]]
    assert overlap(expected_ids(QUERIES, range(100, 3_500)), engine.search(QUERIES, 10).ids) > 0.98
    engine.close()


def test_the_parts_of_an_index_are_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(indexes, "LEAST_ROWS", 1_000)
    monkeypatch.setattr(table_module, "MOST_FRAGMENTS", 1)
    monkeypatch.setattr(table_module, "MOST_INDEX_PARTS", 2)
    engine = LanceEngine.create(f"lance://{tmp_path}/parts", manifest())
    load(engine, 0, 1_500)
    engine.build_codes()
    parts = []
    for first in range(1_500, 2_000, 50):
        load(engine, first, first + 50)
        column = f"{engine.manifest.settings['column']}_idx"
        parts.append(lance_table(engine).index_stats(column).num_indices)
    assert max(parts) == 2
    assert min(parts[parts.index(2) :]) == 1
    assert lance_table(engine).stats()["fragment_stats"]["num_fragments"] <= 6
    assert engine.search(QUERIES, 10, exact=True).ids == expected_ids(
        QUERIES, range(2_000), OperatingPoint.parse("64:float32")
    )
    engine.close()


def test_another_point_is_prepared_while_searches_continue(tmp_path):
    engine = LanceEngine.create(f"lance://{tmp_path}/other", manifest())
    load(engine, 0, 3_000)
    other = OperatingPoint.parse("32:float32@50>64:float32")
    with pytest.raises(InvalidArgument, match=r"Run nestvec index use lance://\S+ 32:float32@50"):
        engine.search(QUERIES, 10, point=other)
    engine.use(other)
    assert engine.search(QUERIES, 10).ids == expected_ids(QUERIES, range(3_000), other)
    names = lance_table(engine).schema.names
    assert [name for name in names if name.startswith("prefix")] == ["prefix_32_float32"]
    engine.use(OperatingPoint.parse("64:float32"))
    assert not any(name.startswith("prefix") for name in lance_table(engine).schema.names)
    engine.close()


def test_an_interrupted_new_column_is_completed(tmp_path, monkeypatch):
    from nestvec.engines.lancedb import columns

    engine = LanceEngine.create(f"lance://{tmp_path}/column", manifest())
    load(engine, 0, 3_000)
    other = OperatingPoint.parse("32:float16@50>64:float32")
    original, calls = columns.prefixes, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError("stopped")
        return original(*arguments)

    monkeypatch.setattr(columns, "prefixes", interrupted)
    with pytest.raises((DataError, MemoryError), match="stopped"):
        engine.use(other)
    assert len([*(tmp_path / "column").glob("documents_*")]) == 2
    assert engine.search(QUERIES, 10).ids == expected_ids(QUERIES, range(3_000))  # the old point
    monkeypatch.setattr(columns, "prefixes", original)
    engine.use(other)
    assert len([*(tmp_path / "column").glob("documents_*")]) == 1
    assert engine.search(QUERIES, 10).ids == expected_ids(QUERIES, range(3_000), other)
    engine.close()


def test_zero_vectors_score_0(tmp_path):
    engine = LanceEngine.create(
        f"lance://{tmp_path}/zero", manifest(OperatingPoint.parse("16:float16"))
    )
    vectors = np.zeros((40, FULL_DIM), dtype=np.float32)
    vectors[:20, 0] = 1
    vectors[20:30, 0] = -1
    vectors[30:35, 40] = 1  # the prefix is zero
    ids = [f"z{number:02}" for number in range(40)]
    engine.add({id_: Document("") for id_ in ids}, vectors)
    hits = engine.search(vectors[[0, 39]], 31)
    assert hits.ids[0] == [*reversed(ids[:20]), *reversed(ids[30:]), ids[29]]
    assert hits.scores[0] == [*[1.0] * 20, *[0.0] * 10, -1.0]
    assert hits.ids[1] == list(reversed(ids))[:31]  # a zero query: all scores are 0
    assert set(hits.scores[1]) == {0.0}
    engine.close()


def test_more_ties_than_are_fetched_are_ordered_by_id(tmp_path):
    engine = LanceEngine.create(
        f"lance://{tmp_path}/ties", manifest(OperatingPoint.parse("16:float16"))
    )
    ids = [f"t{(number * 7) % 1_000:03}" for number in range(1_000)]
    engine.add({id_: Document("") for id_ in ids}, np.repeat(VECTORS[:1], 1_000, axis=0))
    engine.add({"best": Document("")}, QUERIES[:1])
    (found,) = engine.search(QUERIES[:1], 5).ids
    assert found == ["best", "t999", "t998", "t997", "t996"]
    engine.close()


def test_vectors_of_another_width_are_refused(index):
    with pytest.raises(InvalidArgument, match="for 1 documents"):
        index.add({"x": Document("")}, VECTORS[:1, :32])
    with pytest.raises(ModelMismatch, match="Encode at full width"):
        index.search(QUERIES[:, :32], 3)


def test_float16_vectors_are_stored_in_half_the_bytes(tmp_path):
    sizes = {}
    for stored in ("float16", "float32"):
        point = OperatingPoint.parse(f"16:float16@100>64:{stored}")
        engine = LanceEngine.create(f"lance://{tmp_path}/{stored}", Manifest(MODEL, stored, point))
        load(engine, 0, 1_000)
        assert engine.search(QUERIES, 10).ids == expected_ids(QUERIES, range(1_000), point)
        column = lance_table(engine).search().select(["vector"]).to_arrow()
        sizes[stored] = column.nbytes
        engine.close()
    assert sizes == {"float16": 1_000 * FULL_DIM * 2, "float32": 1_000 * FULL_DIM * 4}


def test_a_trial_deletes_its_tables(tmp_path):
    from nestvec.engines.flat.representations import Representations

    vectors = made_vectors(1_000, seed=5)
    ids = [f"d{number:04}" for number in reversed(range(1_000))]
    place = f"lance://{tmp_path}/trial"
    trial = LanceEngine.trial(Representations(vectors, layer_norm=False), ids, {}, place=place)
    hits = trial.searcher(POINT)(vectors[:5], 3)
    assert [each[0] for each in hits.ids] == ids[:5]
    assert trial.bytes(POINT).disk_per_vector > FULL_DIM * 4
    trial.close()
    assert not [each.name for each in tmp_path.glob("trial/documents*")]
