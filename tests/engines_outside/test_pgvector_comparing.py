"""Compare tables of PostgreSQL, their settings and statements, and an index, on a real server."""

import json
import subprocess

import numpy as np
import psycopg
import pytest
from postgres import running_server

from conftest import program
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.manifest import Manifest
from nestvec.operate.compared_sides import SearchedPlace
from nestvec.operate.comparing import CompareOptions, compare_searches
from nestvec.operate.live.postgresql import TableSearch
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM, QUERIES = 2_000, 16, 40
RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((N, DIM)).astype(np.float32)
ASKED = RNG.standard_normal((QUERIES, DIM)).astype(np.float32)
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
POINT = OperatingPoint.parse("16:float32")


@pytest.fixture(scope="module")
def server():
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        rows = [(f"d{n}", str(VECTORS[n].tolist())) for n in range(N)]
        connection.execute("CREATE TABLE docs (id text PRIMARY KEY, embedding vector(16))")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO docs VALUES (%s, %s)", rows)
        connection.execute("CREATE TABLE graph AS SELECT * FROM docs")
        connection.execute("ALTER TABLE graph ADD PRIMARY KEY (id)")
        connection.execute(
            "CREATE TABLE fewer AS SELECT * FROM docs WHERE substr(id, 2)::int < 1800"
        )
        connection.execute(
            "CREATE INDEX graph_hnsw ON graph USING hnsw (embedding vector_cosine_ops) "
            "WITH (m = 2, ef_construction = 8)"
        )
        connection.execute("ANALYZE")
        yield server


def table(server, name, **search):
    return SearchedPlace(f"{server.url}?table={name}", TableSearch(**search))


def log():
    ids, empty = [f"q{n}" for n in range(QUERIES)], [""] * QUERIES
    return LoggedQueries("log", ids, empty, ASKED, empty)


def best(vectors, query, k=10):
    scores = vectors @ query / np.linalg.norm(vectors, axis=1)
    return [f"d{n}" for n in np.argsort(-scores)[:k]]


def test_a_table_with_fewer_rows_loses_documents_and_not_its_ranking(server):
    report = compare_searches(table(server, "docs"), table(server, "fewer"), log())
    missing = [sum(int(id_[1:]) >= 1_800 for id_ in best(VECTORS, query)) for query in ASKED]
    assert (report.old.documents, report.new.documents) == (N, 1_800)
    assert report.only_old.documents == 200
    assert [row.only_old for row in report.queries] == missing
    assert sum(missing) == report.only_old.results > 0
    assert report.overlap.mean == 1
    assert report.old.unknown_bytes == "the place is not an index of nestvec"


def test_two_settings_of_one_table(server):
    options = CompareOptions(k=10)
    narrow, wide = (
        table(server, "graph", settings={"hnsw.ef_search": width}) for width in ("10", "200")
    )
    report = compare_searches(narrow, wide, log(), options)
    assert report.overlap.mean < 1
    assert report.old.search == "graph_hnsw (hnsw), hnsw.ef_search = 10"
    assert report.new.search == "graph_hnsw (hnsw), hnsw.ef_search = 200"
    exact = compare_searches(table(server, "docs"), wide, log(), options)
    assert (
        exact.overlap.mean
        > compare_searches(table(server, "docs"), narrow, log(), options).overlap.mean
    )


def test_a_statement_is_compared_with_the_plain_search(server):
    prefix = (
        "SELECT id FROM docs ORDER BY subvector(embedding, 1, 8)::vector(8) "
        "<=> subvector($1, 1, 8)::vector(8) LIMIT $2"
    )
    report = compare_searches(table(server, "docs"), table(server, "docs", statement=prefix), log())
    expected = [
        len({*best(VECTORS, query)} & {*best(VECTORS[:, :8], query[:8])}) / 10 for query in ASKED
    ]
    assert [row.overlap for row in report.queries] == pytest.approx(expected)


def test_a_table_is_compared_with_an_index_of_its_vectors(server, tmp_path):
    place = tmp_path / "index"
    create_folder(place, Manifest(MODEL, "float32", POINT))
    engine = EmbeddedEngine(place)
    engine.add({f"d{n}": Document(f"text {n}") for n in range(N)}, VECTORS)
    engine.close()
    report = compare_searches(table(server, "docs"), SearchedPlace(place), log())
    assert report.overlap.mean == 1
    assert report.only_old.documents == report.only_new.documents == 0
    assert report.new.ram_bytes == 64
    sampled = compare_searches(
        table(server, "docs"), SearchedPlace(place), None, CompareOptions(sampled=20)
    )
    assert (len(sampled.queries), sampled.overlap.mean) == (20, 1)


def test_the_command_hides_the_password(server):
    address = server.url.replace("tests@", "tests:secret@")
    done = subprocess.run(
        [program("python"), "-m", "nestvec.cli.main", "compare",
         f"{address}?table=docs", f"{address}?table=fewer", "--sample", "20", "--json"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["overlap"]["mean"] == 1
    assert "secret" not in done.stdout + done.stderr
