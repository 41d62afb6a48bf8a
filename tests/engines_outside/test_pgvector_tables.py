"""Tables that other programs wrote: read their vectors, and never overwrite them."""

import json
import subprocess
from urllib.parse import urlencode

import numpy as np
import psycopg
import pytest
from postgres import running_server

import nestvec as nv
from conftest import program
from fakes import retrieval_set
from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.sources import postgresql
from nestvec.sources.load import open_vectors
from nestvec.sources.postgresql_corpus import open_table_corpus
from nestvec.sources.save import convert_embeddings
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM = 500, 16
VECTORS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32) * 3
ODD = 'the "vector" column'
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
MANIFEST = Manifest(MODEL, "float32", OperatingPoint.parse("16:float32"))


@pytest.fixture(scope="module")
def server():
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE SCHEMA shop")
        create(connection, "docs", "id bigint PRIMARY KEY, embedding vector(16), body text")
        create(connection, "halves", "_id uuid PRIMARY KEY, vector halfvec")
        odd = '"the ""vector"" column"'
        create(connection, '"Odd table"', f'"the id" text, {odd} vector')
        create(connection, "shop.docs", "id text, vector vector(16)")
        rows = [(n, str(list(map(float, VECTORS[n])))) for n in reversed(range(N))]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO docs VALUES (%s, %s, 'text')", rows)
            cursor.executemany(
                "INSERT INTO halves VALUES (lpad(%s::text, 32, '0')::uuid, %s)", rows[-300:]
            )
            cursor.executemany("""INSERT INTO "Odd table" VALUES ('#' || %s, %s)""", rows[-9:])
            cursor.executemany("INSERT INTO shop.docs VALUES (%s, %s)", rows[-5:])
        yield server


def create(connection, name, columns):
    connection.execute(f"CREATE TABLE {name} ({columns})")


def url(server, **parameters):
    return f"{server.url}?{urlencode(parameters)}"


def changed(server, statement):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)


def test_ids_and_vectors_are_read_in_the_order_of_ids(server, monkeypatch):
    monkeypatch.setattr(postgresql, "block_rows", lambda _: 64)
    found = nv.load_embeddings(url(server, table="docs"))
    assert list(found.ids) == [str(n) for n in range(N)]
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, VECTORS)  # not normalized
    assert found.path == f"postgresql://127.0.0.1:{server.port}/postgres?table=docs"


def test_halves_and_ids_of_another_type(server):
    found = nv.load_embeddings(url(server, table="halves"))
    assert found.values.dtype == np.float16
    np.testing.assert_array_equal(found.values, VECTORS[:300].astype(np.float16))
    assert found.ids[7] == "00000000-0000-0000-0000-000000000007"


def test_names_with_quotes_and_spaces(server):
    found = nv.load_embeddings(url(server, table="Odd table", id="the id", vector=ODD))
    assert list(found.ids) == [f"#{n}" for n in range(9)]
    np.testing.assert_array_equal(found.values, VECTORS[:9])


def test_a_table_of_a_schema_and_row_numbers(server):
    place = url(server, table="shop.docs")
    assert len(nv.load_embeddings(place)) == 5
    assert list(nv.load_embeddings(place, number_rows=True).ids) == ["0", "1", "2", "3", "4"]


def test_a_table_larger_than_a_block_is_streamed(server, monkeypatch):
    """At most one block of rows is on its way to the client."""
    monkeypatch.setattr(postgresql, "block_rows", lambda _: 50)
    stream = open_vectors(url(server, table="docs"), columns=ANY_COLUMNS)
    sizes = [len(block.values) for block in stream.read()]
    assert sizes == [50] * 10


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"table": "absent"}, "contains no table absent"),
        ({"table": "docs", "vector": "body"}, "column body has the type text, not vector"),
        ({"table": "docs", "vector": "absent"}, r"has no column absent \(its columns: id, embed"),
        ({"table": "docs", "id": 'x"; DROP TABLE docs; --'}, "has no column x"),
    ],
)
def test_a_wrong_name_is_one_line(server, parameters, problem):
    with pytest.raises(DataError, match=problem) as caught:
        nv.load_embeddings(url(server, **parameters))
    assert "\n" not in str(caught.value)


def test_a_url_without_a_table_is_refused(server):
    with pytest.raises(InvalidArgument, match="names no table"):
        nv.load_embeddings(server.url)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("(7, NULL)", r"the vector of id '7' is missing \(NULL\)"),
        ("(7, '[1,2,3]')", r"the vector of id '7' has 3 numbers, but the first has 2"),
        ("(7, '[0,0]')", r"the vector of id '7' \(row 1\) is all zeros"),
        ("(NULL, '[1,2]')", "row 1 has no id"),
        ("(1, '[1,2]')", "id '1' appears twice"),
    ],
)
def test_a_bad_row_is_named(server, row, problem):
    changed(server, "CREATE TABLE bad (id int, vector vector)")
    try:
        changed(server, "INSERT INTO bad VALUES (1, '[1,2]')")
        changed(server, " ".join(["INSERT INTO bad VALUES", row]))
        with pytest.raises(DataError, match=problem):
            nv.load_embeddings(url(server, table="bad"))
    finally:
        changed(server, "DROP TABLE bad")


def test_a_table_is_converted_evaluated_and_adapted(server, tmp_path):
    place = url(server, table="docs")
    saved = convert_embeddings(place, tmp_path / "docs.npy")
    assert (saved.rows, saved.dim) == (N, DIM)
    np.testing.assert_array_equal(np.load(tmp_path / "docs.npy"), VECTORS)
    model = nv.load_model(place)
    assert model.info.name == f"postgresql://127.0.0.1:{server.port}/postgres?table=docs"
    np.testing.assert_array_equal(model.take(["3", "1"], kind="document"), VECTORS[[3, 1]])
    out = tmp_path / "adapter.safetensors"
    command = ["adapt", place, "--dims", "8", "--method", "svd", "--out", str(out)]
    done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
    assert done.returncode == 0 and out.exists(), done.stderr
    assert "tests@" not in done.stdout + done.stderr
    command = ["convert", place, str(tmp_path / "docs.parquet"), "--json"]
    done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
    assert json.loads(done.stdout)["rows"] == N, done.stderr


def test_a_table_is_evaluated_with_the_model_of_its_vectors(server, word_model, tmp_path):
    words, texts = nv.load_model(word_model), [f"w{n} w{n + 7} w{n + 9}" for n in range(60)]
    changed(server, "CREATE TABLE encoded (id text, embedding vector(32))")
    with psycopg.connect(server.url, autocommit=True) as connection, connection.cursor() as cursor:
        vectors = words.encode(texts, kind="document").tolist()
        rows = [(f"d{n}", str(vector)) for n, vector in enumerate(vectors)]
        cursor.executemany("INSERT INTO encoded VALUES (%s, %s)", rows)
    place = url(server, table="encoded")
    stored = nv.load_model(place, query_model=word_model, same_space=True)
    queries = {f"q{n}": f"w{n} w{n + 9}" for n in range(60)}
    data = retrieval_set(
        {f"d{n}": text for n, text in enumerate(texts)},
        queries,
        {f"q{n}": {f"d{n}": 1} for n in range(60)},
    )
    grid = Grid(dims=(32, 16), precisions=("float32",), keeps=())
    expected, found = (evaluate(model, data, grid) for model in (words, stored))
    assert found["16:float32"].metrics == pytest.approx(expected["16:float32"].metrics)
    command = ["apply", str(tmp_path / "absent"), place]
    done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
    assert done.returncode and "tests@" not in done.stderr


def test_a_table_without_a_manifest_is_not_an_index(server):
    for call in (nv.Index.open, PgvectorEngine.read_manifest):
        with pytest.raises(DataError, match="table docs is not an index of nestvec: it has no"):
            call(url(server, table="docs", vector="embedding"))
    with pytest.raises(DataError, match="contains no index"):
        nv.Index.open(url(server, table="absent"))
    assert not PgvectorEngine.exists(url(server, table="docs"))


def test_no_index_is_created_over_a_table(server):
    place = url(server, table="docs")
    with pytest.raises(DataError, match="table docs exists, and is not an index of nestvec"):
        PgvectorEngine.create(place, MANIFEST)
    begun = False
    with (
        pytest.raises(DataError, match="table docs exists, and is not an index of nestvec"),
        PgvectorEngine.building(place, MANIFEST, source={"any": "source"}),
    ):
        begun = True
    assert not begun, "a build is refused before anything is encoded"
    assert len(nv.load_embeddings(place)) == N


def test_an_index_has_its_own_columns(server):
    with pytest.raises(InvalidArgument, match="so vector cannot be chosen"):
        PgvectorEngine.create(url(server, table="own", vector="embedding"), MANIFEST)


def test_a_recorded_url_is_not_connected_to(server, tmp_path):
    documents = {str(n): Document(f"text {n}") for n in range(N)}
    model = nv.load_model(url(server, table="docs"))
    nv.build_index(model, documents, "16:float32", path=tmp_path / "index").close()
    with (
        nv.Index.open(tmp_path / "index") as index,
        pytest.raises(ModelError, match="records no model"),
    ):
        index.search("any text")


def test_texts_of_a_table_are_the_documents_of_an_index(server, tmp_path):
    changed(
        server,
        """CREATE TABLE texts (key int PRIMARY KEY, embedding vector(16), body text,
        "the title" varchar, fields jsonb)""",
    )
    changed(
        server,
        """INSERT INTO texts SELECT n, (SELECT embedding FROM docs WHERE id = n),
        'text ' || n, 'title ' || n, jsonb_build_object('n', n) FROM generate_series(1, 40) AS n""",
    )
    changed(server, "INSERT INTO texts SELECT 0, embedding, '', NULL, NULL FROM docs WHERE id = 0")
    names = {"table": "texts", "id": "key", "text": "body", "title": "the title"}
    place = url(server, **names, metadata="fields")
    corpus = open_table_corpus(place)
    documents = dict(corpus)
    assert list(documents) == [str(n) for n in range(41)] and corpus.length == 41
    assert documents["7"] == Document("text 7", "title 7", {"n": 7})
    assert documents["0"] == Document("", "", {})
    out = tmp_path / "index"
    command = ["index", "build", place, place, "--point", "16:float32", "--out", str(out)]
    done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tests@" not in done.stdout + done.stderr
    with nv.Index.open(out) as index:
        hits = index.search(VECTORS[[9]], 1)
        assert hits.ids == [["9"]] and index.get(["9"])["9"] == documents["9"]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"table": "docs"}, "names no column of texts"),
        ({"table": "docs", "text": "absent"}, r"has no column absent \(its columns: id, embedd"),
        ({"table": "docs", "text": "body", "metadata": "body"}, "has the type text, not jsonb"),
        ({"table": "docs", "text": "body", "id": "body"}, "id 'text' appears twice"),
        ({"table": "listed", "text": "id", "metadata": "fields"}, "are list, not an object"),
    ],
)
def test_a_table_without_usable_texts_is_one_line(server, parameters, problem):
    changed(server, "CREATE TABLE IF NOT EXISTS listed (id int, fields jsonb)")
    changed(server, "INSERT INTO listed VALUES (1, '[1]')")
    with pytest.raises((DataError, InvalidArgument), match=problem) as caught:
        open_table_corpus(url(server, **parameters))
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_one_line_without_the_password():
    place = "postgresql://me:secret@127.0.0.1:1/shop?table=docs"
    with pytest.raises(DataError, match="connection") as caught:
        nv.load_embeddings(place)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InvalidArgument, match="is not a connection URL") as caught:
        nv.load_embeddings("postgresql://me:secret@host/shop?table=docs&unknown=1")
    assert "secret" not in str(caught.value)
