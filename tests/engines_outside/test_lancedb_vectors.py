"""Vectors of Lance tables that other programs wrote, in a folder and on a real S3 server."""

import json
import subprocess

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from s3_server import KEY, SECRET, s3_server

import nestvec as nv
from conftest import program
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources import lance_tables
from nestvec.sources.load import open_vectors
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.types import Document, ModelInfo, OperatingPoint

N, DIM = 3_000, 16
VECTORS = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32) * 3
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
MANIFEST = Manifest(MODEL, "float32", OperatingPoint.parse("16:float32"))


def rows(numbers, column="vector", ids="id", kind=np.float32):
    flat = pa.array(VECTORS[numbers].astype(kind).ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, DIM)
    texts = pa.array([f"text {n}" for n in numbers])
    return pa.table({ids: pa.array(list(numbers)), column: lists, "text": texts})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with three tables; ``docs`` was written in two parts, and has deleted rows."""
    place = tmp_path_factory.mktemp("lance")
    fill(lancedb.connect(place))
    return place


def fill(database):
    docs = database.create_table("docs", rows(range(2_000)))
    docs.add(rows(range(2_000, N)))
    docs.delete("id >= 10 AND id < 20")
    database.create_table("odd-table", rows(range(9), "the floats", "_id", np.float16))
    two = rows(range(5), "one").append_column("two", rows(range(5))["vector"])
    database.create_table("two", two)


KEPT = [n for n in range(N) if not 10 <= n < 20]


def test_ids_and_vectors_are_read_in_the_stored_order(folder, monkeypatch):
    monkeypatch.setattr(lance_tables, "block_rows", lambda _: 64)
    found = nv.load_embeddings(f"lance://{folder}?table=docs")
    assert list(found.ids) == list(map(str, KEPT))
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, VECTORS[KEPT])  # not normalized
    assert found.path == f"lance://{folder}?table=docs"


def test_a_table_larger_than_a_block_is_streamed(folder, monkeypatch):
    monkeypatch.setattr(lance_tables, "block_rows", lambda _: 100)
    stream = open_vectors(f"lance://{folder}?table=docs", columns=ANY_COLUMNS)
    assert stream.rows == N - 10
    assert max(len(block.values) for block in stream.read()) == 100


def test_rows_that_are_added_later_are_not_read(tmp_path):
    table = lancedb.connect(tmp_path).create_table("docs", rows(range(7)))
    stream = open_vectors(f"lance://{tmp_path}?table=docs", columns=ANY_COLUMNS)
    table.add(rows(range(7, 9)))
    assert sum(len(block.values) for block in stream.read()) == 7


def test_the_only_column_of_vectors_and_halves(folder):
    found = nv.load_embeddings(f"lance://{folder}?table=odd-table")
    assert found.values.dtype == np.float16
    np.testing.assert_array_equal(found.values, VECTORS[:9].astype(np.float16))


def test_columns_are_named_in_the_url(folder):
    place = f"lance://{folder}?table=two"
    found = nv.load_embeddings(f"{place}&vector=two&id=text")
    assert list(found.ids) == [f"text {n}" for n in range(5)]
    assert list(nv.load_embeddings(place, vector_column="one", number_rows=True).ids)[-1] == "4"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", r"contains no table documents \(its tables: docs, odd-table, two\)"),
        ("?table=absent", "contains no table absent"),
        ("?table=two", r"no column vector or embedding .*: id, one, text, two\). Append &vector="),
        ("?table=docs&vector=text", "vectors of type string, not lists of float"),
        ("?table=docs&id=absent", r"has no column absent .* Append &id=COLUMN to the URL"),
    ],
)
def test_a_wrong_name_is_one_line(folder, query, problem):
    with pytest.raises(DataError, match=problem) as caught:
        nv.load_embeddings(f"lance://{folder}{query}")
    assert "\n" not in str(caught.value)


def test_a_wrong_url_is_one_line(folder):
    with pytest.raises(InvalidArgument, match="unknown parameter") as caught:
        nv.load_embeddings(f"lance://{folder}?table=docs&token=secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidArgument, match="names no folder"):
        nv.load_embeddings("lance://?table=docs")


def test_a_missing_folder_is_not_created(tmp_path):
    with pytest.raises(DataError, match="folder that does not exist"):
        nv.load_embeddings(f"lance://{tmp_path}/absent?table=docs")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        (None, r"the vector of id 'b' \(row 1\) is missing"),
        ([1.0], r"the vector of id 'b' \(row 1\) has 1 numbers, but the first has 2"),
        ([1.0, None], r"the vector of id 'b' \(row 1\) has a null"),
    ],
)
def test_a_bad_row_is_named(tmp_path, vector, problem):
    lists = pa.array([[1.0, 2.0], vector], pa.list_(pa.float32()))
    written = pa.table({"id": ["a", "b"], "floats": lists})  # LanceDB checks columns named vector
    lancedb.connect(tmp_path).create_table("docs", written)
    with pytest.raises(DataError, match=problem):
        nv.load_embeddings(f"lance://{tmp_path}?table=docs")


def test_the_vectors_of_an_index_are_read(tmp_path):
    place = f"lance://{tmp_path}?table=notes"
    engine = LanceEngine.create(place, MANIFEST)
    engine.add({f"d{n}": Document("text") for n in range(5)}, VECTORS[:5])
    found = nv.load_embeddings(place)
    engine.close()
    expected = VECTORS[:5] / np.linalg.norm(VECTORS[:5], axis=1, keepdims=True)
    assert list(found.ids) == [f"d{n}" for n in range(5)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)


def test_a_table_is_converted_and_adapted(folder, tmp_path):
    place = f"lance://{folder}?table=docs"
    command = ["convert", place, str(tmp_path / "docs.npy"), "--json"]
    done = subprocess.run([program("nestvec"), *command], capture_output=True, text=True)
    assert json.loads(done.stdout)["rows"] == N - 10, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "docs.npy"), VECTORS[KEPT])
    model = nv.load_model(place)
    np.testing.assert_array_equal(model.take(["3", "1"], kind="document"), VECTORS[[3, 1]])


def test_a_table_on_object_storage(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3"), "tables") as bucket:
        options = lance_tables.lance_options()
        fill(lancedb.connect(f"{bucket}/shop", storage_options=options))
        found = nv.load_embeddings(f"{bucket}/shop?table=docs")
        assert list(found.ids) == list(map(str, KEPT))
        np.testing.assert_array_equal(found.values, VECTORS[KEPT])
        with pytest.raises(DataError, match="contains no table absent"):
            nv.load_embeddings(f"{bucket}/shop?table=absent")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
            with pytest.raises(DataError, match="Check the URL, credentials and region") as caught:
                nv.load_embeddings(f"{bucket}/shop?table=docs")
        assert not [each for each in ("\n", KEY, SECRET, "wrong") if each in str(caught.value)]
        with pytest.raises(InvalidArgument, match="contains credentials"):
            nv.load_embeddings(f"s3://key:{SECRET}@tables/shop?table=docs")
