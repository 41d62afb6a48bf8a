"""Stored vectors of documents are measured and adapted without a corpus file."""

import json
import shutil

import numpy as np
import pytest

import nestvec as nv
from nestvec.errors import InvalidArgument

ONE = ("--precisions", "float32,int8", "--keeps", "10")


@pytest.fixture
def stored(nestvec, place):
    """A folder of the vectors of documents, with queries and labels, but without a corpus file."""
    ended = nestvec("embed", "model", "data", "--out", "stored", "--precision", "float32")
    assert ended.code == 0, ended.err
    shutil.copy(place / "data/queries.jsonl", place / "stored")
    shutil.copytree(place / "data/qrels", place / "stored/qrels")
    return place / "stored"


def metrics(path):
    points = json.loads(path.read_text())["points"]
    return {each["point"]: each["metrics"] for each in points}


@pytest.mark.parametrize("place_of_vectors", ["folder of shards", "file"])
def test_scores_equal_those_with_texts(nestvec, place, stored, place_of_vectors):
    if place_of_vectors == "file":
        vectors = nv.load_embeddings(stored)
        shutil.rmtree(stored / "corpus")
        nv.save_embeddings(vectors.ids, vectors.values, stored / "corpus.parquet")
    with_texts = nestvec("evaluate", "model", "data", "--out", "texts.json", *ONE)
    assert with_texts.code == 0, with_texts.err
    arguments = ("stored", "stored", "--query-model", "model", "--out", "ids.json", *ONE)
    ended = nestvec("evaluate", *arguments)
    assert ended.code == 0, ended.err
    assert "not read" not in ended.err
    assert metrics(place / "ids.json") == metrics(place / "texts.json")


def test_stored_queries_are_used_and_bm25_is_left_out(nestvec, place, stored):
    ended = nestvec("embed", "model", "data", "--out", "stored", "--kind", "query")
    assert ended.code == 0, ended.err
    arguments = ("--out", "ids.json", "--baselines", "bm25,svd", *ONE)
    ended = nestvec("evaluate", "stored", "stored", *arguments)
    assert ended.code == 0, ended.err
    assert "bm25 is not measured: stored has no texts of documents" in ended.err
    assert list(json.loads((place / "ids.json").read_text())["baselines"]) == ["svd"]


def test_a_model_that_needs_the_texts_is_refused(nestvec, stored):
    ended = nestvec("evaluate", "model", "stored", *ONE)
    assert ended.code == 2
    assert "stored: has no corpus.jsonl" in ended.err
    assert "pass stored vectors in place of the model" in ended.err
    assert ended.err.count("\n") == 1
    ids = nv.load_embeddings(stored).ids
    data = nv.load_dataset(stored, document_ids=ids)
    assert (list(data.corpus), data.has_texts) == (list(ids), False)
    with pytest.raises(InvalidArgument, match=r"None of 60 documents has a text, so .* cannot"):
        nv.evaluate(stored.parent / "model", data)
    with pytest.raises(InvalidArgument, match="None of 60 documents has a text"):
        nv.fit_adapter(stored.parent / "model", data)


def test_an_adapter_is_fitted_on_labels_without_texts(nestvec, place, stored):
    vectors, rng = nv.load_embeddings(stored), np.random.default_rng(0)
    shutil.rmtree(stored / "corpus")
    others = rng.standard_normal((80, vectors.dim))
    ids = [*vectors.ids, *(f"other-{number}" for number in range(80))]
    nv.save_embeddings(ids, np.concatenate([vectors.values, others]), stored / "corpus.parquet")
    steps = ("--dims", "8", "--method", "svd", "--out", "fitted.safetensors")
    arguments = ("stored", "--qrels", "stored", "--split", "train", "--query-model", "model")
    ended = nestvec("adapt", *arguments, *steps)
    assert ended.code == 0, ended.err
    assert (place / "fitted.safetensors").is_file()
