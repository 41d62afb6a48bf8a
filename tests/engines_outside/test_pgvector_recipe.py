"""The recipe for pgvector on a real server: its results are those of NumPy."""

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector, Vector
from postgres import PostgresServer

from conftest import free_ports
from nestvec.codec.prefix import prefix
from nestvec.export.recipes.writing import recipe
from nestvec.types import OperatingPoint

N, FULL_DIM, K = 300, 48, 10
RNG = np.random.default_rng(4)
VECTORS = prefix(RNG.standard_normal((N, FULL_DIM)).astype(np.float32), FULL_DIM)
QUERIES = prefix(RNG.standard_normal((5, FULL_DIM)).astype(np.float32), FULL_DIM)
POINTS = (
    "24:float16",
    "16:int8@60>48:float32",
    "8:binary@200>16:int8@80>48:float16",
    "48:float32",
    "48:sign@250>48:float32",
    "48:sign",
)


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture
def connection(server):
    """A connection whose queries have numbered parameters, as the recipe writes them."""
    with psycopg.connect(
        server.url, autocommit=True, cursor_factory=psycopg.RawCursor
    ) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        from pgvector.psycopg import register_vector

        register_vector(connection)
        yield connection
        connection.execute("DROP TABLE IF EXISTS articles")


def sql_of(written):
    return {part.title: part.text for part in written.parts}


def load(connection, written):
    """Create the table, add the vectors, and build the index as the recipe does."""
    sql = sql_of(written)
    connection.execute(sql["Schema"])
    half = "halfvec" in sql["Schema"]
    for n, vector in enumerate(VECTORS):
        value = HalfVector(vector) if half else Vector(vector)
        metadata = '{"category": "%s"}' % ("news" if n % 2 else "sports")
        connection.execute(
            "INSERT INTO articles (id, metadata, embedding) VALUES ($1, $2, $3)",
            [f"d{n:03}", metadata, value],
        )
    for title in ("Index, after the first load", "Settings of each connection"):
        connection.execute(sql[title])
    return sql["Query"]


def parameters(query, widths):
    return [Vector(prefix(query[None], width)[0]) for width in widths]


def expected(point, query, allowed):
    """Return the ids and scores of exhaustive stages; equal scores are sorted by descending id."""
    found = allowed
    for stage in point.stages:
        codes = prefix(VECTORS[found], stage.dim).astype(np.float64)
        wanted = prefix(query[None], stage.dim)[0]
        if stage.precision == "sign":
            codes, wanted = np.where(codes > 0, 1, -1), np.where(wanted > 0, 1, -1)
        scores = codes @ wanted
        best = np.lexsort((-found, -scores))[: stage.keep or K]
        found, scores = found[best], scores[best]
    return [f"d{n:03}" for n in found], scores


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("text", POINTS)
def test_the_query_finds_what_numpy_finds(connection, text, metric):
    point = OperatingPoint.parse(text)
    sql = load(connection, recipe(point, FULL_DIM, "pgvector", name="articles", metric=metric))
    widths = [stage.dim for stage in (point.stages[-1], *(point.stages[:-1] or point.stages))]
    for query in QUERIES:
        rows = connection.execute(sql, parameters(query, widths)).fetchall()
        ids, scores = expected(point, query, np.arange(N))
        assert len({*ids} & {id_ for id_, *_ in rows}) >= K - 1  # halfvec and the graph
        distance_of_cosine = metric == "cosine" and point.stages[-1].precision != "sign"
        distances = [1 - score if distance_of_cosine else -score for score in scores]
        np.testing.assert_allclose([row[1] for row in rows], distances, atol=0.02)
        assert rows[0][2] == (point.stages[0].keep or K)  # candidates


def test_the_filter_replaces_the_placeholder(connection):
    point = OperatingPoint.parse("16:float16@60>48:float32")
    sql = load(connection, recipe(point, FULL_DIM, "pgvector", name="articles"))
    begin, end = sql.index("true /*"), sql.index("*/") + 2
    sql = sql[:begin] + 'metadata @> \'{"category": "news"}\'' + sql[end:]
    rows = connection.execute(sql, parameters(QUERIES[0], (48, 16))).fetchall()
    ids, _ = expected(point, QUERIES[0], np.arange(1, N, 2))
    assert [id_ for id_, *_ in rows] == ids


def test_the_index_serves_the_query(connection):
    written = recipe("16:float16@60>48:float32", FULL_DIM, "pgvector", name="articles")
    sql = load(connection, written)
    connection.execute("SET enable_seqscan = off")  # 300 rows are scanned faster
    plan = connection.execute(f"EXPLAIN {sql}", parameters(QUERIES[0], (48, 16))).fetchall()
    assert any("Index Scan using articles_" in line for (line,) in plan)
