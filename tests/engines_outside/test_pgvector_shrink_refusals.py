"""``nestvec shrink`` refuses unsuitable tables in one line, before it changes anything."""

import threading

import pytest
from postgres import PostgresServer, running_server
from shrink_table import catalog, connect, create_table

from conftest import free_ports
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.operate.shrink.postgresql import checks, session
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.operate.shrink.table import finish_shrink, shrink, undo_shrink
from nestvec.types import OperatingPoint

POINT = "16:float16@100>64:float32"


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def database(server):
    with connect(server.url) as connection:
        create_table(connection, 200)
        yield connection


@pytest.fixture
def url(server, database):
    return f"{server.url}?table=docs"


def request(point=POINT, **options):
    return ShrinkRequest(OperatingPoint.parse(point), **options)


def refused(database, url, problem, kind=DataError, **options):
    """Check that a shrink is refused in one line, and that nothing has changed."""
    before = catalog(database)
    with pytest.raises(kind, match=problem) as caught:
        shrink(url, request(**options))
    assert "\n" not in str(caught.value)
    assert catalog(database) == before
    assert database.execute("SELECT to_regnamespace('nestvec')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("ALTER TABLE docs DROP CONSTRAINT docs_pkey", "has no primary key"),
        ("UPDATE docs SET embedding = NULL WHERE key < 7", "7 of 200 rows have no vector"),
        ("DELETE FROM docs", "docs has no vectors"),
        ("CREATE FUNCTION docs_search() RETURNS int LANGUAGE sql AS 'SELECT 1'", "--function"),
        ("CREATE TABLE docs_embedding_16_float16 (n int)", "did not create it"),
        (
            "DROP INDEX docs_embedding; ALTER TABLE docs ALTER COLUMN embedding TYPE vector",
            r"states no width, .*Run ALTER TABLE .* TYPE vector\(64\)",
        ),
        (
            "DROP INDEX docs_embedding; ALTER TABLE docs ALTER COLUMN embedding TYPE vector; "
            "UPDATE docs SET embedding = '[1,2,3]' WHERE key = 5",
            "its vectors have 3 to 64 dims",
        ),
        (
            "ALTER TABLE docs RENAME TO kept; CREATE VIEW docs AS SELECT * FROM kept",
            "is a view",
        ),
        (
            "CREATE INDEX docs_ip ON docs USING hnsw (embedding vector_ip_ops)",
            "indexes for cosine and ip. Choose one with --metric",
        ),
        (
            "DROP INDEX docs_embedding; "
            "CREATE INDEX docs_ip ON docs USING hnsw (embedding vector_ip_ops)",
            "100 of 100 sampled vectors do not have unit length",
        ),
        (
            "CREATE SCHEMA nestvec; CREATE TABLE nestvec.indexes (table_name text); "
            "INSERT INTO nestvec.indexes VALUES ('docs')",
            "is an index of nestvec",
        ),
    ],
)
def test_an_unsuitable_table(database, url, change, problem):
    for statement in change.split("; "):
        database.execute(statement)
    before = catalog(database)
    with pytest.raises((DataError, InvalidArgument), match=problem) as caught:
        shrink(url, request())
    assert "\n" not in str(caught.value)
    assert catalog(database) == before
    assert database.execute("SELECT to_regclass('nestvec.shrinks')").fetchone() == (None,)
    if "VIEW" in change:
        database.execute("DROP TABLE kept CASCADE")


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ("16:int8", "16:float16"),
        ("16:binary@100>64:int8", "16:sign@100>64:float32"),
        ("16:float16@100>32:float16", "16:float16@100>64:float32"),
        ("128:float16", "64:float16"),
        ("64:float32", "Choose fewer dims or fewer bits"),
    ],
)
def test_a_point_that_pgvector_lacks_names_the_nearest(database, url, point, nearest):
    refused(database, url, nearest, InvalidArgument, point=point)


def test_settings_that_do_not_fit(server, database, url):
    refused(database, url, "the plan is for vectors of 32 dims", InvalidArgument, full_dim=32)
    refused(database, url, "has a column body", column="body")
    refused(database, url, "the shrink needs about", free_disk=1_000)
    with pytest.raises(DataError, match=r"no column vektor, only key, body, embedding"):
        shrink(f"{url}&vector=vektor", request())
    with pytest.raises(DataError, match="has the type text"):
        shrink(f"{url}&vector=body", request())
    for ending in (finish_shrink, undo_shrink):
        with pytest.raises(InvalidArgument, match="was not shrunk"):
            ending(url)
    with pytest.raises(InvalidArgument, match="cannot be shrunk"):
        shrink("milvus://localhost/shop", request())


def test_rows_without_a_vector_are_accepted_if_requested(database, url):
    database.execute("UPDATE docs SET embedding = NULL WHERE key < 7")
    shrink(url, request("16:float16", skip_nulls=True, column="small"))
    query = "SELECT count(*) FROM docs WHERE small IS NULL"
    assert database.execute(query).fetchone() == (7,)
    found = database.execute("SELECT count(*) FROM docs_search((SELECT embedding FROM docs "
                             "WHERE key = 9), 500)").fetchone()  # fmt: skip
    assert found == (193,)
    undo_shrink(url)


@pytest.mark.parametrize(
    ("grant", "problem"),
    [
        ("GRANT ALL ON docs TO other", "does not own table public.docs"),
        ("ALTER TABLE docs OWNER TO other", "may not create objects in schema public"),
        (
            "ALTER TABLE docs OWNER TO other; GRANT CREATE ON SCHEMA public TO other",
            "may not create schema nestvec",
        ),
    ],
)
def test_a_user_without_permission(server, database, url, grant, problem):
    database.execute("CREATE ROLE other LOGIN")
    try:
        for statement in grant.split("; "):
            database.execute(statement)
        refused(database, url.replace("tests@", "other@"), problem)
    finally:
        database.execute("DROP TABLE docs; REVOKE ALL ON SCHEMA public FROM other; DROP ROLE other")


def test_an_owner_without_special_rights_shrinks(server, database, url):
    database.execute("CREATE ROLE owner LOGIN; ALTER TABLE docs OWNER TO owner")
    database.execute("GRANT CREATE ON SCHEMA public TO owner")
    database.execute("GRANT CREATE ON DATABASE postgres TO owner")
    own = url.replace("tests@", "owner@")
    try:
        outcome = shrink(own, request())
        assert any("free disk space of the server is unknown" in each for each in outcome.notes)
        finish_shrink(own)
        undo_shrink(own, drop_function=True)
    finally:
        database.execute("DROP TABLE docs; DROP SCHEMA nestvec CASCADE; DROP OWNED BY owner")
        database.execute("DROP ROLE owner")


def test_another_shrink_waits_and_is_refused(server, database, url, monkeypatch):
    monkeypatch.setattr(session, "LOCK_WAIT_S", 0.5)
    with connect(server.url) as other:
        name = "nestvec shrink public.docs"
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        refused(database, url, "another process shrinks table public.docs", IndexLocked)


def test_a_second_point_needs_an_undo(database, url):
    shrink(url, request())
    with pytest.raises(InvalidArgument, match=r"with point .* exists\. Run .* --undo"):
        shrink(url, request("32:float16"))
    undo_shrink(url)
    assert shrink(url, request("32:float16")).state == "switched"


def test_a_long_transaction_ends_a_change_in_bounded_time(server, database, url, monkeypatch):
    monkeypatch.setattr(session, "CHANGE_LOCK", "200ms")
    monkeypatch.setattr(session, "ATTEMPTS", 2)
    with connect(server.url) as other, other.transaction():
        other.execute("SELECT count(*) FROM docs")
        with pytest.raises(DataError, match="has locked the table for more than 200ms"):
            shrink(url, request("16:float16", column="small"))
        blocked = threading.Thread(target=lambda: database.execute("DELETE FROM docs WHERE key=1"))
        blocked.start()
        blocked.join(5)
        assert not blocked.is_alive()
    assert shrink(url, request("16:float16", column="small")).state == "switched"


def test_a_replica_is_refused(server, database, url):
    (port,) = free_ports(1)
    replica = PostgresServer(port, primary=server)
    try:
        replica.start()
        with pytest.raises(DataError, match="the server is a replica"):
            shrink(f"{replica.url}?table=docs", request())
    finally:
        replica.remove()


def test_a_database_without_pgvector_or_with_an_old_one(server, database, url, monkeypatch):
    monkeypatch.setattr(checks, "LEAST_EXTENSION", (99, 0))
    refused(database, url, r"is older than 99\.0\. Run ALTER EXTENSION vector UPDATE")
    monkeypatch.undo()
    database.execute("DROP DATABASE IF EXISTS bare")
    database.execute("CREATE DATABASE bare")
    with pytest.raises(DataError, match="has no extension vector"):
        shrink(url.replace("/postgres", "/bare"), request())
