"""Check searches of tables that other programs wrote, against NumPy and against pgvector itself."""

import json
import os
import subprocess
import sys
from urllib.parse import urlencode

import numpy as np
import psycopg
import pytest
from pgvector.psycopg import register_vector
from postgres import running_server
from queried_vectors import QUERIES, cosines, log, vectors

from nestvec.engines.filters.where import Where
from nestvec.errors import DataError, InvalidArgument
from nestvec.operate.check import CheckOptions, check_search
from nestvec.operate.exact import LiveQueries
from nestvec.operate.live import copied_rows
from nestvec.operate.live.database import TableSearch
from nestvec.operate.live.postgresql import open_table
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import OperatingPoint

N = 3_000
VECTORS = vectors(N)
TWO_STAGES = """
SELECT id FROM (
    SELECT id, embedding FROM docs
    ORDER BY binary_quantize(embedding)::bit(32) <~> binary_quantize($1) LIMIT 60
) AS shortlist ORDER BY embedding <=> $1 LIMIT $2;
"""


@pytest.fixture(scope="module")
def server():
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        register_vector(connection)
        columns = "id bigint PRIMARY KEY, lang text, n integer, embedding vector(32)"
        connection.execute(f"CREATE TABLE docs ({columns})")
        rows = [(i, "de" if i % 10 == 0 else "en", i % 7, VECTORS[i]) for i in range(N)]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO docs VALUES (%s, %s, %s, %s)", rows)
        connection.execute("INSERT INTO docs VALUES (-1, 'de', 0, NULL)")
        connection.execute(
            "INSERT INTO docs VALUES (-2, 'de', 0, array_fill(0, ARRAY[32])::vector)"
        )
        connection.execute(
            "CREATE INDEX docs_hnsw ON docs USING hnsw (embedding vector_cosine_ops)"
        )
        yield server


def url(server, **parameters):
    return f"{server.url}?{urlencode({'table': 'docs', **parameters})}"


def execute(server, *statements):
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_the_exact_answers_are_those_of_numpy(server, monkeypatch):
    """Also under two filters, in blocks that do not divide the table."""
    monkeypatch.setattr(copied_rows, "_BLOCK_BYTES", 10_000)
    conditions = [Where.parse("lang = 'de' and n >= 3"), Where.parse("not n in (1, 2)")]
    groups = np.arange(len(QUERIES)) % 3 - 1
    with open_table(url(server), TableSearch(), None) as table:
        found = table.exact(LiveQueries(QUERIES, conditions, groups), 10)
    rows = np.arange(N)
    german = (rows % 10 == 0) & (rows % 7 >= 3)
    masks = [np.ones(N, dtype=bool), german, ~np.isin(rows % 7, (1, 2))]
    for query, scores in enumerate(cosines(VECTORS)):
        scores[~masks[groups[query] + 1]] = -np.inf
        assert found.ids[query] == [str(row) for row in np.argsort(-scores)[:10]]
    assert found.matching == [mask.sum() for mask in masks[1:]]
    assert (found.total, found.zeros) == (N, 1)


def test_the_loss_is_that_of_the_index(server):
    """With a narrow search, the graph loses; PostgreSQL's own exact search agrees on how much."""
    search = TableSearch(settings={"hnsw.ef_search": "10"})
    report = check_search(url(server), log(), CheckOptions(search=search))
    expected = []
    with psycopg.connect(server.url) as connection:
        register_vector(connection)
        statement = "SELECT id FROM docs WHERE id >= 0 ORDER BY embedding <=> %s LIMIT 10"
        for query in QUERIES:
            answers = []
            for scan in ("on", "off"):
                connection.execute(f"SET LOCAL enable_indexscan = {scan}")
                connection.execute("SET LOCAL hnsw.ef_search = 10")
                text = statement if scan == "off" else statement.replace("WHERE id >= 0 ", "")
                answers.append({row[0] for row in connection.execute(text, [query])})
            expected.append(len(answers[0] & answers[1]) / 10)
    assert report.overlap == pytest.approx(np.mean(expected), abs=1e-9)
    assert 0.3 < report.overlap < 0.95
    assert report.index == "docs_hnsw (hnsw)"
    assert report.losses.index == 1 - report.overlap
    better = report.remedies[-1]
    assert better.setting.startswith("hnsw.ef_search = ")
    assert better.overlap > report.overlap


def test_a_filter_over_a_graph_is_short_and_an_iterative_scan_mends_it(server):
    filters = ["lang = 'de'"] * len(QUERIES)
    search = TableSearch(settings={"enable_seqscan": "off"})  # as PostgreSQL plans a larger table
    report = check_search(url(server), log(filters), CheckOptions(search=search))
    (row,) = report.filters
    assert row.matching == N // 10
    assert row.short > 0.8 * len(QUERIES)
    assert row.overlap < 0.7
    mended = report.remedies[0]
    assert mended.setting == "hnsw.iterative_scan = relaxed_order"
    assert mended.overlap > 0.9


def test_the_statement_of_a_user(server):
    search = TableSearch(TWO_STAGES, OperatingPoint.parse("32:sign@60>32:float32"))
    report = check_search(url(server), log(), CheckOptions(search=search))
    signs = np.where(VECTORS > 0, 1, -1)
    shares = []
    for query, exact in zip(QUERIES, cosines(VECTORS), strict=True):
        hamming = signs @ np.where(query > 0, 1, -1)
        shortlist = np.argsort(-hamming, kind="stable")[:60]
        ranked = shortlist[np.argsort(-exact[shortlist])][:10]
        shares.append(len({*ranked} & {*np.argsort(-exact)[:10]}) / 10)
    assert report.overlap == pytest.approx(np.mean(shares), abs=0.05)  # ties of 32 bits
    assert report.losses.bits == pytest.approx(1 - report.overlap, abs=0.1)
    assert abs(report.losses.index) < 0.05  # no index serves the statement


def test_a_statement_cannot_write(server):
    search = TableSearch("DELETE FROM docs WHERE embedding <=> $1 < 2 RETURNING id")
    with pytest.raises(DataError, match="cannot execute DELETE in a read-only transaction"):
        check_search(url(server), log(), CheckOptions(search=search))
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT count(*) FROM docs").fetchone() == (N + 2,)


def test_a_table_that_changes_meanwhile(server, monkeypatch):
    """All searches and the exact pass see the state at the start of the check."""
    before = check_search(url(server), log())
    original = copied_rows.copy_rows

    def change_first(*arguments, **named):
        execute(
            server,
            "UPDATE docs SET lang = lang WHERE id < 1000",
            "DELETE FROM docs WHERE id >= 2900",
        )
        yield from original(*arguments, **named)

    monkeypatch.setattr("nestvec.operate.live.postgresql.copy_rows", change_first)
    during = check_search(url(server), log())
    assert (during.documents, during.overlap) == (before.documents, before.overlap)
    rows = [(i, "de" if i % 10 == 0 else "en", i % 7, VECTORS[i]) for i in range(2900, N)]
    with psycopg.connect(server.url) as connection:
        register_vector(connection)
        connection.cursor().executemany("INSERT INTO docs VALUES (%s, %s, %s, %s)", rows)


def test_partitions_halves_and_ids_of_another_type(server):
    execute(
        server,
        "CREATE TABLE parts (key uuid, n integer, vec halfvec(32), PRIMARY KEY (key, n)) "
        "PARTITION BY LIST (n)",
        "CREATE TABLE parts_even PARTITION OF parts FOR VALUES IN (0)",
        "CREATE TABLE parts_odd PARTITION OF parts FOR VALUES IN (1)",
        "INSERT INTO parts SELECT lpad(id::text, 32, '0')::uuid, id % 2, embedding::halfvec "
        "FROM docs WHERE id >= 0",
        "CREATE INDEX ON parts USING hnsw (vec halfvec_l2_ops)",
    )
    place = url(server, table="parts", id="key", vector="vec")
    with open_table(place, TableSearch(), None) as table:
        assert table.metric == "l2"
        found = table.exact(LiveQueries(QUERIES, [], np.full(len(QUERIES), -1)), 10)
    halves = VECTORS.astype(np.float16).astype(np.float32)
    for query, ids in zip(QUERIES, found.ids, strict=True):
        distances = np.linalg.norm(halves - query, axis=1)
        assert [int(id_[-12:]) for id_ in ids] == np.argsort(distances)[:10].tolist()
    report = check_search(place, log())
    assert report.point == "32:float16"
    assert report.overlap > 0.9


def test_sampled_documents_are_the_same_every_time(server):
    one, two = (check_search(url(server), None, CheckOptions(sampled=50)) for _ in range(2))
    assert one.source == "sampled documents"
    assert one.overlap == two.overlap
    other = check_search(url(server), None, CheckOptions(sampled=50, seed=1))
    assert other.queries == 50


@pytest.mark.parametrize(
    ("statements", "parameters", "problem"),
    [
        (["CREATE VIEW seen AS SELECT * FROM docs"], {"table": "seen"}, "is a view"),
        (
            ["CREATE TABLE mixed (id int, embedding vector)",
             "INSERT INTO mixed VALUES (1, '[1,2]'), (2, '[1,2,3]')"],
            {"table": "mixed"},
            "has vectors of 2 and of 3 dims",
        ),
        (["CREATE TABLE none (id int, embedding vector)"], {"table": "none"}, "has no vectors"),
        (["CREATE TABLE void (id int, embedding vector(3))"], {"table": "void"}, "no documents"),
        ([], {"table": "docs", "vector": "lang"}, "column lang has the type text, not vector"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_checked(server, statements, parameters, problem):
    execute(server, *statements)
    with pytest.raises(DataError, match=problem) as caught:
        check_search(url(server, **parameters))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("logged", "search", "problem"),
    [
        (log(["absent = 1"] * 40), TableSearch(), "has no column absent"),
        (log(["lang = 'de'"] * 40), TableSearch(TWO_STAGES), "no place for a filter"),
        (log(), TableSearch("SELECT id FROM docs LIMIT 10"), r"has the parameters none"),
        (log(), TableSearch("SELECT $1, $2, $3"), r"has the parameters \$1, \$2, \$3"),
        (
            LoggedQueries("log", ["a"], ["text"], None, [""]),
            TableSearch(),
            "the log has texts, and .* records no model",
        ),
        (
            LoggedQueries("log", ["a"], [""], QUERIES[:1, :8], [""]),
            TableSearch(),
            "have 8 dims, and those of .* have 32",
        ),
    ],
)
def test_queries_that_do_not_fit(server, logged, search, problem):
    with pytest.raises(InvalidArgument, match=problem):
        check_search(url(server), logged, CheckOptions(search=search))


def test_an_index_of_nestvec_is_checked_as_such(server, word_model, corpus_file):
    import nestvec as nv

    place = f"{server.url}?table=words"
    with nv.build_index(str(word_model), nv.open_corpus(corpus_file), "16:float16@40>32:float32",
                        place):  # fmt: skip
        pass
    log_file = corpus_file.with_name("log.jsonl")
    log_file.write_text("".join(json.dumps({"text": f"w{n} w{n + 1}"}) + "\n" for n in range(9)))
    command = [sys.executable, "-m", "nestvec.cli.main", "check", place, "--queries", log_file]
    done = subprocess.run(
        [*command, "--json", "--min-overlap", ".5"],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["point"] == "16:float16@40>32:float32"
    assert report["losses"]["queries"] == 9
    assert report["overlaps"][0]["mean"] > 0.5
