"""Failures of the server and of other transactions: bounded time, and one line each."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest
from postgres import running_server

from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector import connection
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document, ModelInfo, OperatingPoint

DIM = 16
VECTORS = np.random.default_rng(0).standard_normal((2_000, DIM)).astype(np.float32)
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
MANIFEST = Manifest(MODEL, "float16", OperatingPoint.parse("16:float16"))


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def engine(server):
    engine = PgvectorEngine.create(f"{server.url}?table=docs", MANIFEST)
    engine.add({f"d{n}": Document("") for n in range(100)}, VECTORS[:100])
    yield engine
    engine.drop()


@contextmanager
def one_line(problem, kind=DataError):
    with pytest.raises(kind, match=problem) as caught:
        yield
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_searches_continue_when_the_server_is_back(engine, server):
    found, errors, done = [], [], threading.Event()

    def search():
        while not done.is_set():
            try:
                found.append(engine.search(VECTORS[[3]], 1).ids)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        server.stop()
        time.sleep(2)
        server.start()
        back = time.monotonic()
        before = len(found)
        while len(found) < before + 20:
            assert time.monotonic() < back + 15, "no search ended after the server is back"
            time.sleep(0.05)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert found == [[["d3"]]] * len(found)


def test_a_server_that_stays_down_is_one_line(engine, server, monkeypatch):
    monkeypatch.setattr(connection, "RETRY_S", 1.0)
    server.stop()
    try:
        start = time.monotonic()
        with one_line("the server cannot be reached for 1 s"):
            engine.search(VECTORS[[3]], 1)
        assert time.monotonic() - start < 5
        with one_line("connection"):
            PgvectorEngine.open(f"{server.url}?table=docs")
    finally:
        server.start()
    monkeypatch.undo()
    assert engine.search(VECTORS[[3]], 1).ids == [["d3"]]


def test_a_locked_table_ends_a_search_after_a_time(engine, server, monkeypatch):
    assert connection.SESSION["lock_timeout"] == "30s"  # as documented
    monkeypatch.setitem(connection.SESSION, "lock_timeout", "300ms")
    other = PgvectorEngine.open(f"{server.url}?table=docs")
    with psycopg.connect(server.url) as holder:
        holder.execute("LOCK TABLE docs IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        with one_line("another transaction has locked the table for more than 300ms"):
            other.search(VECTORS[[3]], 1)
        with one_line("another transaction has locked the table"):
            other.add({"new": Document("")}, VECTORS[:1])
        assert time.monotonic() - start < 5
    assert other.search(VECTORS[[3]], 1).ids == [["d3"]]
    other.close()


def test_a_limit_of_the_user_is_not_repeated(engine, server):
    limited = f"{server.url}?table=docs&options=-c%20statement_timeout%3D200"
    other = PgvectorEngine.open(limited)
    with psycopg.connect(server.url) as holder:
        holder.execute("LOCK TABLE docs IN ACCESS EXCLUSIVE MODE")
        start = time.monotonic()
        with one_line("statement timeout. Raise the limit"):
            other.search(VECTORS[[3]], 1)
        assert time.monotonic() - start < 5
    other.close()


def test_an_index_is_built_while_another_transaction_is_long(engine, server, monkeypatch):
    """Building an index waits for all older transactions, for longer than a search waits."""
    monkeypatch.setitem(connection.SESSION, "lock_timeout", "300ms")
    monkeypatch.setattr("nestvec.engines.pgvector.indexes.LEAST_ROWS", 10)
    other = PgvectorEngine.open(f"{server.url}?table=docs")
    with psycopg.connect(server.url) as holder:
        holder.execute("DELETE FROM docs WHERE id = 'absent'")
        thread = threading.Thread(target=other.build_codes)
        thread.start()
        time.sleep(1.0)
        assert thread.is_alive()
        holder.rollback()
        thread.join(30)
    assert other.stats().settings["index"] == "hnsw"
    other.close()


def test_a_wrong_password_and_a_wrong_database_are_one_line(server):
    rule = "host all locked 127.0.0.1/32 scram-sha-256\n"
    rules = server.data / "pg_hba.conf"
    rules.write_text(rule + rules.read_text())
    with psycopg.connect(server.url, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        administrator.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)
    address = f"127.0.0.1:{server.port}"
    with one_line("password authentication failed"):
        PgvectorEngine.open(f"postgresql://locked:secret@{address}/postgres?table=docs")
    with one_line('database "absent" does not exist'):
        PgvectorEngine.open(f"postgresql://tests:secret@{address}/absent?table=docs")


def test_a_missing_extension_is_one_line(server):
    with psycopg.connect(server.url, autocommit=True) as administrator:
        administrator.execute("CREATE ROLE plain LOGIN")
        administrator.execute("CREATE DATABASE without TEMPLATE template0")
    place = f"postgresql://plain@127.0.0.1:{server.port}/without?table=docs"
    with one_line("the database has no extension vector.*run CREATE EXTENSION vector"):
        PgvectorEngine.open(place)


def test_of_two_writers_of_the_same_ids_one_fails(engine, server):
    """Both see that the ids are new; the second to commit finds those of the first."""
    ids = [f"n{n}" for n in range(1_000)]
    outcomes, barrier = [], threading.Barrier(2)

    def write(number):
        other = PgvectorEngine.open(f"{server.url}?table=docs")
        documents = {id_: Document(f"writer {number}") for id_ in ids}
        barrier.wait()
        try:
            other.add(documents, VECTORS[: len(ids)])
            outcomes.append("added")
        except Exception as error:
            outcomes.append(error)
        other.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = [each for each in outcomes if each != "added"]
    assert isinstance(error, InvalidArgument) and "already in the index" in str(error)
    texts = {document.text for document in engine.get(ids).values()}
    assert len(texts) == 1 and len(engine) == 1_100


def test_a_writer_waits_for_an_uncommitted_row_of_the_same_id(engine, server):
    row = (
        "INSERT INTO docs SELECT 'x', title, text, metadata, original, embedding FROM docs LIMIT 1"
    )
    with psycopg.connect(server.url) as other:
        other.execute(row)
        timer = threading.Timer(0.5, other.commit)
        timer.start()
        with one_line("already in the index", InvalidArgument):
            engine.add({"y": Document(""), "x": Document("")}, VECTORS[:2])
        timer.join()
        other.execute("DELETE FROM docs WHERE id = 'x'")
        other.commit()
        other.execute(row)
        timer = threading.Timer(0.5, other.commit)
        timer.start()
        engine.add({"y": Document(""), "x": Document("mine")}, VECTORS[:2], replace=True)
        timer.join()
    assert engine.get(["x"])["x"].text == "mine" and len(engine) == 102


def test_an_id_that_a_crashed_server_forgot_is_not_committed(server):
    """The server assigns the id again, and pg_xact_status refuses ids of the future."""
    connections = connection.Connections(server.url, server.url)
    try:
        now = connections.run(
            lambda each: each.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        )
        found = [
            connections.run(lambda each, xid=xid: connections._is_committed(each, xid))
            for xid in (now, str(10**12))
        ]
        assert found == [True, False]
    finally:
        connections.close()
