"""Vectors of collections of Milvus that other programs wrote: Milvus Lite and a server 2.3.5."""

import subprocess

import numpy as np
import pytest
from milvus_server import MilvusServer
from milvus_vectors import check_all_rows, create, fill, vectors_of
from pymilvus import DataType, MilvusClient

import nestvec as nv
from conftest import program
from nestvec.curve.sample import DocumentSample
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources import milvus_collections
from nestvec.sources.load import open_vectors
from nestvec.sources.save import convert_embeddings
from nestvec.sources.stream import ANY_COLUMNS
from nestvec.types import Document, ModelInfo, OperatingPoint

N = 17_000  # one query returns 16,384 rows at most
MODEL = ModelInfo("models/any", "e" * 64, 8, (8,), "config.json", True)
MANIFEST = Manifest(MODEL, "float32", OperatingPoint.parse("8:float32"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file of Milvus Lite with three collections."""
    path = tmp_path_factory.mktemp("milvus") / "docs.db"
    client = MilvusClient(str(path))
    create(client, "docs", kind=DataType.VARCHAR, vectors="embedding")
    fill(client, "docs", range(50), vectors="embedding", id_of=lambda n: f"ä{n:02}")
    create(client, "floats")
    fill(client, "floats", range(50))
    client.close()
    return path


def test_every_row_is_read_once_from_lite(tmp_path):
    path = tmp_path / "large.db"
    check_all_rows(str(path), f"milvus-lite://{path}", N, deleted=range(5, 9))


def test_texts_as_primary_keys_and_default_names(file):
    found = nv.load_embeddings(f"milvus-lite://{file}?collection=docs")
    assert list(found.ids) == [f"ä{n:02}" for n in range(50)]
    np.testing.assert_array_equal(found.values, vectors_of(50))
    assert found.path == f"milvus-lite://{file}?collection=docs"


def test_fields_are_named_in_the_url(file):
    place = f"milvus-lite://{file}?collection=floats"
    found = nv.load_embeddings(f"{place}&id=name&vector=floats")
    assert list(found.ids) == [f"name {n}" for n in range(50)]
    assert list(nv.load_embeddings(place, number_rows=True).ids)[-1] == "49"


def test_rows_are_streamed(file, monkeypatch):
    monkeypatch.setattr(milvus_collections, "_MOST_ROWS", 7)
    stream = open_vectors(f"milvus-lite://{file}?collection=docs", columns=ANY_COLUMNS)
    assert [len(block.values) for block in stream.read()] == [7] * 7 + [1]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", r"contains no collection documents \(its collections: docs, floats\)"),
        ("?collection=absent", "contains no collection absent"),
        ("?collection=docs&vector=name", "field name has the type VARCHAR, not FLOAT_VECTOR"),
        ("?collection=docs&vector=absent", "has no column absent .* Append &vector="),
        ("?collection=docs&id=absent", "has no column absent .* Append &id="),
    ],
)
def test_a_wrong_name_is_one_line(file, query, problem):
    with pytest.raises(DataError, match=problem) as caught:
        nv.load_embeddings(f"milvus-lite://{file}{query}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_not_created(tmp_path):
    with pytest.raises(DataError, match="names a file that does not exist"):
        nv.load_embeddings(f"milvus-lite://{tmp_path}/absent.db?collection=docs")
    assert not list(tmp_path.iterdir())


def test_an_unknown_parameter_is_not_repeated(file):
    with pytest.raises(InvalidArgument, match="unknown parameter") as caught:
        nv.load_embeddings(f"milvus-lite://{file}?token=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("change", ["repeated", "missing"])
def test_repeated_and_missing_rows_are_errors(file, monkeypatch, change):
    monkeypatch.setattr(milvus_collections, "_MOST_ROWS", 20)
    real = milvus_collections._rows

    def broken(connection, fields):
        for number, rows in enumerate(real(connection, fields)):
            if number == 1:
                rows = rows[1:] if change == "missing" else [*rows[:1], *rows]
            yield rows

    monkeypatch.setattr(milvus_collections, "_rows", broken)
    problem = {"repeated": "twice or in another order", "missing": "returned 49 of 50 rows"}
    with pytest.raises(DataError, match=problem[change]):
        nv.load_embeddings(f"milvus-lite://{file}?collection=docs")


def test_half_precision_is_read_from_bytes():
    """Neither Milvus Lite nor a server 2.3.5 has such vectors."""
    half = np.arange(8, dtype="<f2").reshape(2, 4)
    fields = milvus_collections._CollectionFields(
        "c", False, "id", "id", "v", np.dtype(np.float16), 4
    )
    rows = [half[0].tobytes(), [half[1].tobytes()]]
    found = milvus_collections._matrix(rows, ["a", "b"], fields, "x")
    np.testing.assert_array_equal(found, half)
    with pytest.raises(DataError, match=r"the vector of id 'b' is missing \(NULL\)"):
        milvus_collections._matrix([rows[0], None], ["a", "b"], fields, "x")


def test_the_vectors_of_an_index_are_read(tmp_path):
    place, ids = f"milvus-lite://{tmp_path}/i.db?collection=notes", ["a b", "c/d", "é", "plain"]
    engine = MilvusEngine.create(place, MANIFEST)
    engine.add({id_: Document("text") for id_ in ids}, vectors_of(4))
    engine.close()
    found = nv.load_embeddings(place)
    assert sorted(found.ids) == sorted(ids)
    expected = vectors_of(4) / np.linalg.norm(vectors_of(4), axis=1, keepdims=True)
    order = [ids.index(id_) for id_ in found.ids]
    np.testing.assert_allclose(found.values, expected[order], rtol=1e-6)


def test_a_collection_is_sampled_and_converted(file, tmp_path):
    place = f"milvus-lite://{file}?collection=docs"
    found = nv.load_embeddings(place, sample=10, seed=1)
    assert found.sample == DocumentSample(10, 50, 1)
    np.testing.assert_array_equal(found.values, vectors_of(50)[[int(id_[1:]) for id_ in found.ids]])
    assert convert_embeddings(place, tmp_path / "docs.npy").rows == 50
    np.testing.assert_array_equal(np.load(tmp_path / "docs.npy"), vectors_of(50))
    # Milvus Lite stays open in this process, so that no other process can open the file.
    command = [program("nestvec"), "convert", place, str(tmp_path / "again.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "probably because another process uses it" in done.stderr


def test_a_server_is_read_and_not_changed():
    server = MilvusServer()
    try:
        server.start()
        uri = f"http://127.0.0.1:{server.port}"
        check_all_rows(uri, server.url, N, deleted=range(5, 9))
        client = MilvusClient(uri)
        create(client, "released", load=False)
        with pytest.raises(DataError, match=r"released is not loaded, .* client\.load_coll"):
            nv.load_embeddings(f"{server.url}?collection=released")
        assert client.get_load_state("released")["state"].name == "NotLoad"
        client.close()
    finally:
        server.remove()
    with pytest.raises(DataError) as caught:
        nv.load_embeddings(f"milvus://user:hidden@127.0.0.1:{server.port}?collection=large")
    assert "\n" not in str(caught.value) and "hidden" not in str(caught.value)
