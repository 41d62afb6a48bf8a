"""Measure a retrieval set by PostgreSQL's own searches, choose a point, and deploy it."""

from dataclasses import replace

import numpy as np
import psycopg
import pytest
from postgres import PostgresServer

from conftest import free_ports
from fakes import NestedHashEncoder, retrieval_set
from nestvec.engines.pgvector import indexes
from nestvec.index.building import build_index
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan

N, N_QUERIES = 3_000, 120


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture(scope="module")
def measured():
    """A retrieval set whose queries are parts of documents, and a model."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{n}" for n in range(2_000)])
    texts = {f"d{n}": " ".join(rng.choice(words, 12)) for n in range(N)}
    chosen = rng.permutation(N)[:N_QUERIES]
    queries = {f"q{n}": " ".join(texts[f"d{row}"].split()[:5]) for n, row in enumerate(chosen)}
    qrels = {f"q{n}": {f"d{row}": 1} for n, row in enumerate(chosen)}
    return retrieval_set(texts, queries, qrels), NestedHashEncoder()


def test_a_curve_has_the_engines_own_results_and_settings(server, measured, monkeypatch):
    data, model = measured
    grid = Grid(dims=(64, 16), keeps=(50,))
    local = evaluate(
        model,
        data,
        Grid(
            dims=(64, 16),
            precisions=("float32", "float16", "sign"),
            shortlisted=("float16", "sign"),
            keeps=(50,),
        ),
    )
    exhaustive = evaluate(model, data, grid, engine=server.url)
    for row in exhaustive.points:  # below LEAST_ROWS: without an index
        assert row.metrics == pytest.approx(local[row.point].metrics, abs=1e-9)
        assert row.settings == {}
    monkeypatch.setattr(indexes, "LEAST_ROWS", 1_000)
    monkeypatch.setattr(indexes, "EF_SEARCH", (10,))
    curve = evaluate(model, data, grid, engine=server.url)
    assert curve.dataset["engine"] == "pgvector"
    short = curve["16:float16@50>64:float16"]
    assert short.settings["index"] == "hnsw"
    assert short.cost.ram_bytes_per_vector > 0
    assert (
        curve["16:float16"].metrics["overlap@10"] < local["16:float16"].metrics["overlap@10"] + 1e-9
    )
    with psycopg.connect(server.url) as connection:
        found = connection.execute("SELECT count(*) FROM nestvec.indexes").fetchone()
        tables = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%scratch%'"
        ).fetchone()
    assert (found, tables) == ((0,), (0,))


def test_a_plan_of_the_curve_is_built(server, measured):
    data, model = measured
    curve = evaluate(model, data, Grid(dims=(64, 16), keeps=(50,)), engine=server.url)
    chosen = plan(curve, Budget(min_retention=0.9))
    index = build_index(model, data.corpus, chosen, f"{server.url}?table=planned")
    assert index.point == chosen.point
    assert len(index) == N
    index.close()


def with_filters(data):
    """Number the documents; the queries have no filter, or one that 10 % or 0.5 % match."""
    corpus = {
        id_: replace(document, metadata={"n": int(id_[1:])})
        for id_, document in data.corpus.items()
    }
    texts = ("", f"n < {N // 10}", f"n < {N // 200}")
    fields = {id_: {"where": texts[row % 3]} for row, id_ in enumerate(data.queries)}
    return replace(data, corpus=corpus, query_fields=fields)


def test_filtered_queries_are_ranked_by_the_index_with_their_filter(server, measured, monkeypatch):
    data, model = with_filters(measured[0]), measured[1]
    monkeypatch.setattr(indexes, "LEAST_ROWS", 1_000)
    grid = Grid(dims=(64, 16), keeps=(50,), filter_by="where")
    curve = evaluate(model, data, grid, engine=server.url)
    local = evaluate(
        model, data, replace(grid, precisions=("float32", "float16"), shortlisted=("float16",))
    )
    values = curve.scores.slices["filter"]
    assert [int((values == name).sum()) for name in ("none", "1 to 10 %", "below 1 %")] == [40] * 3
    most = {"none": N, "1 to 10 %": N // 10, "below 1 %": N // 200}
    for row in curve.points:
        assert {*row.filtered_p50_ms} == {"1 to 10 %", "below 1 %"}
        assert all(0 < ms < 10_000 for ms in row.filtered_p50_ms.values())
        for number, name in enumerate(values.tolist()):
            top = curve.scores.top[curve.row_number(row.point), number]
            assert (top >= 0).sum() == 10  # a filter does not shorten the results
            assert all(int(id_[1:]) < most[name] for id_ in curve.scores.doc_ids[top])
    assert curve["16:float16@50>64:float16"].settings["index"] == "hnsw"
    assert curve.counts["filtered_relevant"] == local.counts["filtered_relevant"] > 40
    for name in ("1 to 10 %", "below 1 %"):
        inside = values == name
        found = curve.per_query("overlap@10", "16:float16")[inside].mean()
        assert found == pytest.approx(
            local.per_query("overlap@10", "16:float16")[inside].mean(), abs=0.05
        )
