"""Vectors of ``nestvec embed`` in place of their model: equal curves, recorded facts, mix-ups."""

import shutil

import numpy as np
import pytest

import nestvec as nv
from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import DataError, ModelMismatch
from nestvec.measure.grid import Grid
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter, Head
from nestvec.models.load import load_model
from nestvec.types import Document

GRID = Grid(dims=(32, 8), precisions=("float32", "int8"), keeps=(20,), depth=10)


@pytest.fixture
def dataset(documents):
    rng = np.random.default_rng(2)
    some = [id_ for id_ in documents if documents[id_].text][:30]
    words = {id_: documents[id_].text.split() for id_ in some}
    queries = {f"q{id_}": " ".join(rng.choice(words[id_], 2)) for id_ in some}
    qrels = {f"q{id_}": {id_: 1} for id_ in some}
    return RetrievalSet("words", "test", documents, queries, qrels, {})


def store(model, dataset, folder, **options):
    nv.embed_corpus(model, dataset.corpus, folder, shard_rows=40, **options)
    queries = {id_: Document(text) for id_, text in dataset.queries.items()}
    nv.embed_corpus(model, queries, folder, kind="query", **options)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-9), ("float16", 0.01)])
def test_the_curve_of_stored_vectors_equals_that_of_the_model(
    word_model, dataset, tmp_path, precision, tolerance
):
    store(word_model, dataset, tmp_path, precision=precision)
    expected = nv.evaluate(word_model, dataset, GRID)
    found = nv.evaluate(tmp_path, dataset, GRID)
    assert [str(row.point) for row in found.points] == [str(row.point) for row in expected.points]
    scores = [[row.metrics["ndcg@10"] for row in curve.points] for curve in (found, expected)]
    np.testing.assert_allclose(*scores, atol=tolerance)
    assert len(set(scores[0])) > 1


def test_vectors_state_the_prompts_that_encoded_their_texts(word_model, dataset, tmp_path):
    model = load_model(word_model, prompts={"query": "w1 ", "document": "w2 "})
    store(model, dataset, tmp_path)
    info = load_model(tmp_path).info
    assert info.prompts == {"query": "w1 ", "document": "w2 "}
    assert info.prompts_source == "recorded in embeddings.json"
    shutil.rmtree(tmp_path / "queries")
    vectors = np.ones((1, 32), dtype=np.float32)
    nv.save_embeddings(["q"], vectors, tmp_path / "queries.npy")  # of an unknown prompt
    assert load_model(tmp_path).info.prompts == {"query": "", "document": "w2 "}


def test_queries_of_another_model_are_refused(word_model, bert_folder, dataset, tmp_path):
    other = load_model(bert_folder)
    dim = min(32, other.info.full_dim)
    store(word_model, dataset, tmp_path / "words", dim=dim)
    store(other, dataset, tmp_path / "bert", dim=dim)
    shutil.rmtree(tmp_path / "words" / "queries")
    shutil.copytree(tmp_path / "bert" / "queries", tmp_path / "words" / "queries")
    with pytest.raises(DataError, match=r"has documents of .*, but queries of .*with one model"):
        load_model(tmp_path / "words")


def test_each_kind_may_be_embedded_with_only_its_own_prompt(word_model, dataset, tmp_path):
    one = load_model(word_model, prompts={"document": "w2 "})
    two = load_model(word_model, prompts={"query": "w1 "})
    nv.embed_corpus(one, dataset.corpus, tmp_path)
    queries = {id_: Document(text) for id_, text in dataset.queries.items()}
    nv.embed_corpus(two, queries, tmp_path, kind="query")
    assert load_model(tmp_path).info.prompts == {"query": "w1 ", "document": "w2 "}


def test_missing_queries_and_narrow_documents_are_one_clear_error(word_model, dataset, tmp_path):
    nv.embed_corpus(word_model, dataset.corpus, tmp_path, dim=8, precision="int8")
    with pytest.raises(DataError, match=r"no vectors of queries\. Add .* --query-model MODEL\.$"):
        nv.evaluate(tmp_path, dataset, Grid(dims=(8,)))
    with pytest.raises(ModelMismatch, match=r"has 8 dims.*nestvec embed .* --kind query --dim 8"):
        load_model(tmp_path, query_model=word_model)


def test_a_query_model_is_refused_for_documents_with_an_adapter(word_model, dataset, tmp_path):
    head = Head(np.eye(32, dtype=np.float32))
    adapter = Adapter("linear", (16,), "", "", False, head, head, 0)
    nv.embed_corpus(AdaptedEncoder(load_model(word_model), adapter), dataset.corpus, tmp_path)
    with pytest.raises(ModelMismatch, match=r"with an adapter.*--kind query --adapter FILE\.$"):
        load_model(tmp_path, query_model=word_model, same_space=True)
