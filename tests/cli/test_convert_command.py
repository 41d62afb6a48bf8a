"""``nestvec convert``, and the commands that read a single file of vectors."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nestvec as nv
from ended_commands import refused, well

DIM, N = 16, 300
IDS = [f"d{row}" for row in range(N)]


@pytest.fixture
def values(place):
    """Vectors in a Parquet file, and a data set of the same ids."""
    rng = np.random.default_rng(0)
    documents = (rng.standard_normal((N, DIM)) * 0.7 ** np.arange(DIM)).astype(np.float32)
    nv.save_embeddings(IDS, documents, place / "v.parquet")
    for name, n, letter in (("corpus", N, "d"), ("queries", 40, "q")):
        rows = (json.dumps({"_id": f"{letter}{row}", "text": f"t{row}"}) for row in range(n))
        (place / "set").mkdir(exist_ok=True)
        (place / "set" / f"{name}.jsonl").write_text("".join(row + "\n" for row in rows))
    (place / "set/qrels").mkdir()
    lines = "".join(f"q{row}\td{row}\t1\n" for row in range(40))
    (place / "set/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return documents


def test_vectors_are_converted_and_what_was_written_is_printed(nestvec, place, values):
    said = well(nestvec("convert", "v.parquet", "v.npy", "--dtype", "float16"))
    assert "300 vectors of 16 dims written to v.npy as npy, float16" in said
    assert "npy stores no ids: written to v.ids.txt" in said
    loaded = nv.load_embeddings(place / "v.npy")
    assert list(loaded.ids) == IDS
    np.testing.assert_array_equal(loaded.values, values.astype(np.float16))
    printed = json.loads(nestvec("convert", "v.npy", "w.jsonl", "--json").out)
    assert printed["path"].endswith("w.jsonl")
    expected = {"rows": N, "dim": DIM, "dtype": "float16", "format": "jsonl", "ids_file": None}
    assert printed.items() >= expected.items()


def test_columns_are_named_and_rows_numbered(nestvec, place, values):
    pq.write_table(pa.table({"doc": IDS, "emb": values.tolist()}), place / "c.parquet")
    refused(nestvec("convert", "c.parquet", "c.npy"), "--vector-column NAME")
    refused(nestvec("convert", "c.parquet", "c.npy", "--vector-column", "emb"), "--number-rows")
    well(nestvec("convert", "c.parquet", "c.npz", "--vector-column", "emb", "--id-column", "doc"))
    assert list(nv.load_embeddings(place / "c.npz").ids) == IDS
    ended = nestvec("convert", "c.parquet", "n.npz", "--vector-column", "emb", "--number-rows")
    assert ended.code == 0
    assert "the ids are row numbers, 0 to 299" in ended.err
    assert nv.load_embeddings(place / "n.npz").ids[7] == "7"


def test_other_vectors_of_the_source_are_named(nestvec, place, values):
    nv.save_embeddings(["q"], values[:1], place / "both/queries.npy")
    nv.save_embeddings(IDS, values, place / "both/corpus.npz")
    said = well(nestvec("convert", "both", "d.arrow"))
    assert "vectors of queries not converted: use --kind query" in said
    said = well(nestvec("convert", "both", "q.arrow", "--kind", "query"))
    assert "1 vector of 16 dims written to q.arrow" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy", "v.npy"], "none.npy: does not exist"),
        (["v.parquet", "v.bvecs"], "Choose one of npy, npz"),
        (["v.parquet", "v.npy", "--dtype", "int8"], "Choose float16 or float32"),
        (["v.parquet", "v.npy", "--kind", "corpus"], "Choose document or query"),
        (["v.parquet", "v.parquet"], "is both source and target"),
        (["set", "v.npy"], "contains no vectors of documents"),
    ],
)
def test_what_cannot_be_converted_is_one_line(nestvec, place, values, arguments, message):
    refused(nestvec("convert", *arguments), message)
    assert not (place / "v.npy").exists()


@pytest.mark.parametrize("name", ["v.parquet", "v.npy", "v.jsonl", "v.faiss", "v.arrow"])
def test_a_file_of_vectors_is_adapted_applied_and_indexed(nestvec, place, values, name):
    if name != "v.parquet":
        well(nestvec("convert", "v.parquet", name))
    ended = nestvec("adapt", name, "--dims", "8", "--method", "svd", "--out", "a.st")
    assert ended.code == 0
    assert f"nestvec apply a.st {name} --out adapted" in ended.out
    well(nestvec("apply", "a.st", name, "--out", "adapted"))
    adapted = nv.load_embeddings(place / "adapted")
    assert (list(adapted.ids), adapted.dim) == (IDS, DIM)
    well(nestvec("index", "build", name, "set", "--point", "8:int8", "--out", "index"))
    with nv.Index.open(place / "index") as index:
        assert index.search(values[[5]], k=1).ids == [["d5"]]


def test_a_file_with_documents_and_queries_is_evaluated(nestvec, place, values):
    with h5py.File(place / "v.hdf5", "w") as file:
        file["train"], file["test"] = values, values[:40] + 0.01
        file["train_ids"], file["test_ids"] = IDS, [f"q{row}" for row in range(40)]
    said = well(nestvec("evaluate", "v.hdf5", "set", "--dims", "16,8", "--out", "c.json"))
    assert "operating points, written to c.json" in said
    assert nv.Curve.load(place / "c.json").full.metrics["ndcg@10"] == 1.0


def test_a_file_without_queries_cannot_be_evaluated(nestvec, values):
    ended = nestvec("evaluate", "v.parquet", "set", "--out", "c.json")
    assert ended.code == 2
    assert "v.parquet: contains no vectors of queries" in ended.err
