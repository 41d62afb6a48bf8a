"""Measure a retrieval set by PostgreSQL's own searches, choose a point, and deploy it."""

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
            dims=(64, 16), precisions=("float32", "float16"), shortlisted=("float16",), keeps=(50,)
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
