"""The HNSW index of pgvector: plans, filters, settings, changes and zero vectors."""

import numpy as np
import psycopg
import pytest
from postgres import PostgresServer

from conftest import free_ports
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.filters.postgresql import compile_condition
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.engines.pgvector.statements import search_statement
from nestvec.errors import InvalidArgument
from nestvec.index.copying import copy_index
from nestvec.types import Document, ModelInfo, OperatingPoint

N, FULL_DIM = 12_000, 64
MODEL = ModelInfo("models/any", "e" * 64, FULL_DIM, (FULL_DIM,), "config.json", True)
POINT = OperatingPoint.parse("32:float16@100>64:float16")
FILTERS = {None: N, "tenth = 3": N // 10, "hundredth = 3": N // 100}


def made(n, seed):
    """Vectors around 300 centers, with less variance in later dims."""
    centers = np.random.default_rng(0).standard_normal((300, FULL_DIM))
    rng = np.random.default_rng(seed)
    spread = (1 + np.arange(FULL_DIM)) ** -0.5
    vectors = centers[rng.integers(0, 300, n)] + 0.7 * rng.standard_normal((n, FULL_DIM))
    return (vectors * spread).astype(np.float32)


VECTORS, QUERIES = made(N, 1), made(50, 2)
DOCUMENTS = {
    f"d{n}": Document(f"text {n}", metadata={"tenth": n % 10, "hundredth": n % 100})
    for n in range(N)
}


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture(scope="module")
def index(server):
    """An index of all documents; tests may add and delete other documents."""
    engine = PgvectorEngine.create(f"{server.url}?table=docs", Manifest(MODEL, "float16", POINT))
    ids = list(DOCUMENTS)
    for first in range(0, N, 3_000):
        batch = ids[first : first + 3_000]
        engine.add({id_: DOCUMENTS[id_] for id_ in batch}, VECTORS[first : first + 3_000])
    engine.build_codes()
    yield engine
    engine.close()


def overlap(found, expected):
    pairs = zip(found.ids, expected.ids, strict=True)
    return np.mean([len({*one} & {*two}) / len(two) for one, two in pairs])


def explained(server, where, *, indexed):
    """Return the plan of the statement that the engine runs."""
    from nestvec.engines.pgvector.statements import VectorColumn

    condition = None if where is None else compile_condition(Where.parse(where), "metadata")
    column = VectorColumn('"embedding"', "float16", FULL_DIM)
    statement = search_statement(
        '"docs"', column, POINT.stages, 10, condition=condition, indexed=indexed
    )
    with psycopg.connect(server.url, autocommit=True) as connection:
        from pgvector.psycopg import register_vector

        register_vector(connection)
        connection.execute("SET jit = off")
        rows = connection.execute(
            f"EXPLAIN {statement.text}", statement.parameters(QUERIES[0])
        ).fetchall()
    return "\n".join(line for (line,) in rows)


def test_the_settings_and_their_overlap_are_stored(index, server):
    settings = index.manifest.settings
    assert settings["index"] == "hnsw"
    assert 100 <= settings["ef_search"] <= 1000
    assert settings["overlap@10"] >= 0.99
    reopened = PgvectorEngine.open(f"{server.url}?table=docs")
    assert reopened.manifest.settings == settings == reopened.stats().settings
    reopened.close()


def test_the_index_serves_the_first_stage(index, server):
    assert "Index Scan using docs_32_float16" in explained(server, None, indexed=True)


@pytest.mark.parametrize(("where", "by_graph"), [("tenth = 3", True), ("hundredth = 3", False)])
def test_the_planner_decides_by_the_number_of_matches(index, server, where, by_graph):
    """The graph with a filter needs the iterative scan; few matches are scored exactly."""
    plan = explained(server, where, indexed=True)
    assert ("Index Scan using docs_32_float16" in plan) is by_graph
    assert "metadata @> " in plan


def test_results_overlap_with_a_scan(index):
    found, exact = index.search(QUERIES, 10), index.search(QUERIES, 10, exact=True)
    assert overlap(found, exact) >= 0.9


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("k", [10, 100])
def test_a_filtered_search_returns_k_documents(index, text, k):
    where = None if text is None else Where.parse(text)
    found = index.search(QUERIES, k, where=where)
    assert {len(ids) for ids in found.ids} == {min(k, FILTERS[text])}
    exact = index.search(QUERIES, 10, where=where, exact=True)
    assert overlap(index.search(QUERIES, 10, where=where), exact) >= 0.9


def test_a_graph_that_ends_early_is_replaced_by_a_scan(index, server, monkeypatch):
    """Without an iterative scan, the graph returns about a tenth of the candidates."""
    monkeypatch.setattr(
        "nestvec.engines.pgvector.connection.SESSION",
        {"hnsw.iterative_scan": "off", "enable_bitmapscan": "off", "enable_seqscan": "off"},
    )
    other = PgvectorEngine.open(f"{server.url}?table=docs")
    where = Where.parse("tenth = 3")
    found = other.search(QUERIES[:5], 100, where=where)
    assert {len(ids) for ids in found.ids} == {100}
    expected = index.search(QUERIES[:5], 100, where=where, point=POINT)
    assert overlap(found, expected) >= 0.9
    other.close()


def test_a_shortlist_above_ef_search_is_complete(index):
    point = OperatingPoint.parse("32:float16@1500>64:float16")
    found = index.search(QUERIES[:5], 1500, point=point)
    assert {len(ids) for ids in found.ids} == {1500}


def test_another_point_is_searched_without_its_index(index):
    point = OperatingPoint.parse("64:float16")
    assert (
        overlap(index.search(QUERIES, 10, point=point), index.search(QUERIES, 10, exact=True)) == 1
    )


def test_zero_vectors_score_zero_and_are_found(index):
    zeros = np.zeros((1, FULL_DIM), np.float32)
    prefix = np.zeros((1, FULL_DIM), np.float32)
    prefix[0, 40] = 1.0
    index.add(
        {"zero": Document(""), "late": Document("", metadata={"late": True})},
        np.concatenate((zeros, prefix)),
    )
    try:
        assert index.search(prefix, 1, exact=True).ids == [["late"]]
        hits = index.search(prefix, 1, where=Where.parse("late = true"))
        assert hits.ids == [["late"]] and hits.scores[0][0] == pytest.approx(1, abs=1e-3)
        (scores,) = index.search(zeros, 3).scores
        assert scores == [0, 0, 0]
    finally:
        assert index.delete(["zero", "late"]) == 2


def test_unchanged_documents_are_not_written_again(index, server):
    ids = list(DOCUMENTS)[:2_000]
    query = "SELECT max(xmin::text::bigint), pg_relation_size('docs_32_float16') FROM docs"
    with psycopg.connect(server.url, autocommit=True) as connection:
        before = connection.execute(query).fetchone()
        for _ in range(10):
            batch = {id_: DOCUMENTS[id_] for id_ in ids}
            index.add(batch, VECTORS[:2_000], replace=True)
        assert connection.execute(query).fetchone() == before


def test_a_new_point_is_built_while_the_old_one_is_searched(index, server):
    other = PgvectorEngine.open(f"{server.url}?table=docs")
    before = other.search(QUERIES, 10)
    index.use(OperatingPoint.parse("64:float16"))
    assert overlap(other.search(QUERIES, 10), before) >= 0.95
    assert index.stats().settings["overlap@10"] >= 0.99
    with psycopg.connect(server.url) as connection:
        names = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'docs'")
        assert {name for (name,) in names} == {"docs_pkey", "docs_metadata_idx", "docs_64_float16"}
    index.use(POINT)
    other.close()


def test_vectors_of_more_than_2000_dims(server):
    wide = 2_560
    model = ModelInfo("models/wide", "e" * 64, wide, (wide,), "config.json", True)
    point = OperatingPoint.parse("256:float16@50>2560:float16")
    url = f"{server.url}?table=wide"
    engine = PgvectorEngine.create(url, Manifest(model, "float16", point))
    vectors = np.random.default_rng(5).standard_normal((300, wide)).astype(np.float32)
    engine.add({f"d{n}": Document("") for n in range(300)}, vectors)
    assert engine.search(vectors[[7]], 1).ids == [["d7"]]
    engine.close()


def test_a_build_continues_after_the_server_was_killed(tmp_path):
    (port,) = free_ports(1)
    own = PostgresServer(port, fsync=True).start()
    try:
        url = f"{own.url}?table=killed"
        engine = PgvectorEngine.create(url, Manifest(MODEL, "float16", POINT))
        engine.add({"d0": DOCUMENTS["d0"]}, VECTORS[:1])
        own.kill()
        own.start()
        engine.add({"d1": DOCUMENTS["d1"]}, VECTORS[1:2])  # the engine connects again
        assert sorted(engine.ids()) == ["d0", "d1"]
        engine.close()
    finally:
        own.remove()


def test_an_index_is_copied_to_postgresql_and_back(server, tmp_path):
    local = tmp_path / "local"
    engine = EmbeddedEngine.create(
        str(local), Manifest(MODEL, "float16", OperatingPoint.parse("32:int8@100>64:float16"))
    )
    engine.add({f"d{n}": DOCUMENTS[f"d{n}"] for n in range(2_000)}, VECTORS[:2_000])
    engine.close()
    url = f"{server.url}?table=copied"
    with pytest.raises(InvalidArgument, match="cannot search by the point 32:int8@100>64:float16"):
        copy_index(local, url)
    copy_index(local, url, point=POINT).close()
    back = copy_index(url, tmp_path / "back")
    assert (len(back), back.point) == (2_000, POINT)
    back.close()
