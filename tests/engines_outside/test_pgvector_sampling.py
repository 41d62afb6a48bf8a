"""The server draws samples of a table, which are measured without a data set."""

import json
import subprocess
from urllib.parse import urlencode

import numpy as np
import psycopg
import pytest
from postgres import running_server

import nestvec as nv
from conftest import program
from nestvec.curve.sample import DocumentSample
from nestvec.errors import DataError
from nestvec.sources import postgresql

N, DIM = 2_000, 16
VECTORS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
VECTORS *= (1 + np.arange(DIM, dtype=np.float32)) ** -0.5


@pytest.fixture(scope="module")
def server():
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        rows = [(f"d{n}", str(list(map(float, VECTORS[n])))) for n in range(N)]
        for name, ordered in (("docs", rows), ("turned", rows[::-1])):
            connection.execute(f'CREATE TABLE {name} ("the id" text, embedding vector(16))')
            with connection.cursor() as cursor:
                cursor.executemany(" ".join(["INSERT INTO", name, "VALUES (%s, %s)"]), ordered)
        connection.execute(
            "CREATE VIEW numbers AS SELECT row_number() OVER () AS id, embedding FROM docs"
        )
        connection.execute("CREATE TABLE gaps (id int, vector vector(2))")
        connection.execute("INSERT INTO gaps VALUES (1, '[1,2]'), (NULL, '[1,2]')")
        yield server


def url(server, table, **columns):
    return f"{server.url}?{urlencode({'table': table, **columns})}"


def docs(server, table="docs"):
    return url(server, table, id="the id")


def test_a_sample_does_not_depend_on_the_order_of_rows(server):
    one, other = (
        nv.load_embeddings(docs(server, each), sample=50, seed=3) for each in ("docs", "turned")
    )
    assert one.ids == other.ids == sorted(one.ids)
    assert one.sample == DocumentSample(50, N, 3)
    np.testing.assert_array_equal(one.values, VECTORS[[int(id_[1:]) for id_ in one.ids]])
    assert nv.load_embeddings(docs(server), sample=50, seed=4).ids != one.ids


def test_the_server_draws_the_smallest_hashes(server):
    with psycopg.connect(server.url) as connection:
        rows = connection.execute(
            'SELECT "the id" FROM docs ORDER BY hashtextextended("the id", 3) LIMIT 50'
        ).fetchall()
    assert nv.load_embeddings(docs(server), sample=50, seed=3).ids == sorted(id_ for (id_,) in rows)


def test_only_the_sample_is_sent(server, monkeypatch):
    received = []
    real = postgresql._matrix

    def recorded(vectors, *others):
        received.extend(vectors)
        return real(vectors, *others)

    monkeypatch.setattr(postgresql, "_matrix", recorded)
    nv.load_embeddings(docs(server), sample=50)
    assert len(received) == 50


def test_every_row_is_equally_likely(server):
    """200 samples of 500 of 2,000 rows: each row is in 50 of them, with a deviation of 6.1."""
    drawn = [
        id_
        for seed in range(200)
        for id_ in nv.load_embeddings(docs(server), sample=500, seed=seed).ids
    ]
    counts = np.bincount([int(id_[1:]) for id_ in drawn], minlength=N)
    assert np.abs(counts - 50).max() < 5 * 6.2
    assert np.var(counts) == pytest.approx(200 * 0.25 * 0.75, rel=0.15)


def test_numbers_views_and_larger_samples(server):
    found = nv.load_embeddings(url(server, "numbers"), sample=N + 9)
    assert found.sample == DocumentSample(N, N, 0)
    assert sorted(map(int, found.ids)) == list(range(1, N + 1))
    numbered = nv.load_embeddings(url(server, "docs"), number_rows=True, sample=9)
    np.testing.assert_array_equal(numbered.values, VECTORS[list(map(int, numbered.ids))])


def test_rows_without_ids_are_an_error(server):
    with pytest.raises(DataError, match=r"1 of 2 rows have no id \(NULL\)"):
        nv.load_embeddings(url(server, "gaps"), sample=2)


def test_a_user_without_permission_is_told_so(server):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'hidden'")
    place = docs(server).replace("postgresql://", "").rpartition("@")[2]
    with pytest.raises(DataError, match="permission denied for table docs") as caught:
        nv.load_embeddings(f"postgresql://reader:hidden@{place}", sample=5)
    assert "\n" not in str(caught.value) and "hidden" not in str(caught.value)


def test_a_table_is_measured_without_a_data_set_and_adapted(server, tmp_path):
    out, place = tmp_path / "c.json", docs(server)
    command = ["evaluate", place, "--sample", "1000", "--dims", "8", "--precisions", "float32,int8"]
    done = subprocess.run(
        [program("nestvec"), *command, "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "a sample of 1,000 of 2,000 documents (50 %)" in done.stdout
    dataset = json.loads(out.read_text())["dataset"]
    assert dataset["name"] == f"postgresql://127.0.0.1:{server.port}/postgres?table=docs&id=the+id"
    assert (dataset["n_documents"], dataset["n_queries"]) == (750, 250)
    assert "tests@" not in out.read_text() + done.stdout + done.stderr
    adapter, adapted = tmp_path / "a.safetensors", tmp_path / "adapted"
    for command in (
        ["adapt", place, "--dims", "8", "--method", "svd", "--out", str(adapter)],
        ["apply", str(adapter), place, "--out", str(adapted)],
    ):
        done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert list(nv.load_embeddings(adapted).ids) == sorted(f"d{n}" for n in range(N))
    written = b"".join(file.read_bytes() for file in adapted.iterdir() if file.suffix == ".json")
    assert b"tests@" not in written
