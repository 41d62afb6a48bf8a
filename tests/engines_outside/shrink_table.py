"""A table of a user for the tests of ``nestvec shrink``: rows, a writer, and what must hold."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector

DIM = 64
CODE = {
    "16:float16": "l2_normalize(subvector(embedding, 1, 16))::halfvec(16)",
    "32:sign": "binary_quantize(subvector(embedding, 1, 32))::bit(32)",
}
CATALOG = """
SELECT 'column', attname::text, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid::text
FROM pg_index WHERE indrelid = 'docs'::regclass
UNION ALL SELECT 'trigger', tgname::text, pg_get_triggerdef(oid), tgenabled::text
FROM pg_trigger WHERE tgrelid = 'docs'::regclass
UNION ALL SELECT 'function', proname::text, md5(pg_get_functiondef(oid)), ''
FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND NOT EXISTS (
    SELECT FROM pg_depend AS d WHERE d.objid = pg_proc.oid AND d.deptype = 'e')
UNION ALL SELECT 'relation', relname::text, relkind::text, '' FROM pg_class
WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""
"""What a shrink may change in a database: no oids, no sizes."""


def vectors(n, seed=0):
    """Random vectors [n, DIM] whose first dims have most of the length, not normalized."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 0.02, DIM) ** 2
    return (rng.standard_normal((n, DIM)) * scale * rng.uniform(1, 9, (n, 1))).astype(np.float32)


def connect(url):
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    register_vector(connection)
    return connection


def create_table(connection, n=3_000, *, kind="vector", metric="cosine", index=True):
    """Create the table ``docs`` (key, body, embedding) with an HNSW index."""
    connection.execute("DROP TABLE IF EXISTS docs CASCADE")
    connection.execute("DROP TABLE IF EXISTS docs_embedding_16_float16")
    connection.execute("DROP FUNCTION IF EXISTS docs_search, docs_small_nestvec, docs_small_adapt")
    connection.execute("DROP SCHEMA IF EXISTS nestvec CASCADE")
    connection.execute(
        f"CREATE TABLE docs (key bigint PRIMARY KEY, body text, embedding {kind}({DIM}))"
    )
    insert(connection, range(n))
    if index:
        connection.execute(
            f"CREATE INDEX docs_embedding ON docs USING hnsw (embedding {kind}_{metric}_ops)"
        )


def insert(connection, keys, seed=0):
    rows = zip(keys, vectors(len(keys), seed), strict=True)
    with connection.cursor() as cursor, cursor.copy("COPY docs FROM STDIN") as copy:
        for key, vector in rows:
            copy.write_row((key, f"text {key}", Vector(vector)))


def catalog(connection):
    return connection.execute(CATALOG).fetchall()


def search(connection, query, k=10, name="docs_search"):
    """Return the ids and distances of the search function."""
    rows = connection.execute(f"SELECT * FROM {name}(%s, %s)", [Vector(query), k]).fetchall()
    return [id_ for id_, _ in rows], [distance for _, distance in rows]


def exact(connection, query, k=10):
    """Return the ids of the nearest rows by NumPy, from cosine distances."""
    rows = connection.execute("SELECT key, embedding FROM docs WHERE embedding IS NOT NULL")
    keys, found = zip(*rows.fetchall(), strict=True)
    matrix = np.asarray([each.to_numpy() for each in found], dtype=np.float64)
    similar = matrix @ query / np.linalg.norm(matrix, axis=1)
    return [keys[row] for row in np.argsort(-similar, kind="stable")[:k]]


class Writer:
    """A thread that inserts, updates and deletes rows, and knows what the table must contain."""

    def __init__(self, url):
        self._url, self._stop = url, threading.Event()
        self.contents, self.errors, self.searches, self.changes = {}, [], 0, 0
        self.slowest_s = 0.0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        rng = np.random.default_rng(1)
        try:
            with connect(self._url) as connection:
                rows = connection.execute("SELECT key, body FROM docs").fetchall()
                self.contents = dict(rows)
                while not self._stop.is_set():
                    start = time.perf_counter()
                    self._change(connection, rng)
                    self.slowest_s = max(self.slowest_s, time.perf_counter() - start)
                    self.changes += 1
                    self._search(connection, rng)
                    time.sleep(0.001)
        except Exception as error:
            self.errors.append(error)

    def _change(self, connection, rng):
        keys = list(self.contents)
        key = keys[int(rng.integers(len(keys)))]
        new, body = int(rng.integers(10**6, 10**9)), f"text {rng.random()}"
        vector = Vector(rng.standard_normal(DIM).astype(np.float32))
        match int(rng.integers(5)):
            case 0:
                connection.execute("INSERT INTO docs VALUES (%s, %s, %s)", [new, body, vector])
                self.contents[new] = body
            case 1:
                connection.execute("DELETE FROM docs WHERE key = %s", [key])
                del self.contents[key]
            case 2:
                connection.execute("UPDATE docs SET body = %s WHERE key = %s", [body, key])
                self.contents[key] = body
            case 3:
                values = [body, vector, key]
                connection.execute(
                    "UPDATE docs SET body = %s, embedding = %s WHERE key = %s", values
                )
                self.contents[key] = body
            case 4:  # a row that moves to another place of the key's order
                connection.execute("UPDATE docs SET key = %s WHERE key = %s", [-new, key])
                self.contents[-new] = self.contents.pop(key)

    def _search(self, connection, rng):
        found = connection.execute("SELECT to_regproc('docs_search') IS NOT NULL").fetchone()
        if found[0]:
            query = Vector(rng.standard_normal(DIM).astype(np.float32))
            rows = connection.execute("SELECT * FROM docs_search(%s, 10)", [query]).fetchall()
            assert len(rows) == 10
            self.searches += 1


@contextmanager
def writing(url):
    """Write and search in another thread, without an error, and check that no row is lost."""
    writer = Writer(url)
    with writer:
        yield writer
    assert writer.errors == []
    assert writer.changes > 10
    with connect(url) as connection:
        assert dict(connection.execute("SELECT key, body FROM docs")) == writer.contents


def check_column(connection, point):
    """Check that the column ``small`` equals its expression in every row."""
    query = f"SELECT count(*) FROM docs WHERE small IS DISTINCT FROM {CODE[point]}"
    assert connection.execute(query).fetchone() == (0,)
