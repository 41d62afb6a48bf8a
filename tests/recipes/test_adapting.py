"""Fit an adapter on vectors, a corpus, pairs or labels."""

import sys

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info, retrieval_set
from nestvec.adapt.fitting import AdaptConfig
from nestvec.data.training import TrainingPairs
from nestvec.errors import DataError, InvalidArgument, MissingExtra, ModelMismatch
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.recipes.adapting import fit_adapter
from nestvec.types import Document

WORDS = 300
TEXTS = {f"d{i}": f"w{i} w{(7 * i) % 41} w{(3 * i) % 17}" for i in range(WORDS)}
QUERIES = {f"q{i}": f"w{i} w{(7 * i) % 41}" for i in range(120)}
QRELS = {f"q{i}": {f"d{i}": 1} for i in range(120)}
CORPUS = {id_: Document(text) for id_, text in TEXTS.items()}
SVD = {"dims": (16,), "method": "svd"}


@pytest.fixture
def model():
    return NestedHashEncoder()


@pytest.fixture
def folder(tmp_path, model):
    path = tmp_path / "vectors"
    path.mkdir()
    for kind, texts in (("document", TEXTS), ("query", QUERIES)):
        save_vectors(list(texts), model.encode(list(texts.values()), kind=kind), path, kind=kind)
    return path


def test_a_model_encodes_the_corpus_and_the_adapter_is_for_it(model):
    adapter = fit_adapter(model, CORPUS, **SVD)
    assert (adapter.base, adapter.base_name, adapter.dims) == ("f" * 64, "fake/nested", (64, 16))
    assert model.times_encoded("document").total() == WORDS
    assert adapter.fitted["documents"] + adapter.fitted["held_out_documents"] == WORDS


def test_a_matryoshka_model_is_not_adapted_without_labels(model, caplog):
    assert fit_adapter(model, CORPUS, dims=(16,)).method == "none"
    assert "only relevance labels can show" in caplog.text


def test_labels_of_a_data_set_are_used_to_measure(model):
    data = retrieval_set(TEXTS, QUERIES, QRELS)
    adapter = fit_adapter(model, data, **SVD)
    assert adapter.fitted["metric"] == "ndcg@10"
    assert adapter.fitted["queries"] + adapter.fitted["held_out_queries"] == 120


def test_pairs_are_used_as_queries_and_relevant_documents(model):
    texts = list(TEXTS.values())
    pairs = TrainingPairs([text.split()[0] for text in texts], texts, [[] for _ in texts])
    adapter = fit_adapter(model, pairs, **SVD)
    assert (adapter.fitted["metric"], adapter.fitted["labeled"]) == ("ndcg@10", True)


def test_negatives_of_pairs_are_counted(model, caplog):
    texts = list(TEXTS.values())
    pairs = TrainingPairs([text.split()[0] for text in texts], texts, [["no"] for _ in texts])
    fit_adapter(model, pairs, **SVD)
    assert f"not used: {len(texts)} negatives, because an adapter" in caplog.text


def test_a_folder_of_vectors_needs_no_texts_and_its_queries_are_used(folder):
    adapter = fit_adapter(load_model(folder), **SVD)
    assert adapter.base == ""
    assert adapter.fitted["metric"] == "nearest@10"
    assert adapter.fitted["held_out_queries"] == 60


def test_qrels_refer_to_the_vectors_of_a_folder(folder):
    data = retrieval_set(TEXTS, QUERIES, QRELS)
    assert fit_adapter(load_model(folder), data, **SVD).fitted["metric"] == "ndcg@10"


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        ({"q999": "w1"}, {"q999": {"d1": 1}}, "1 of 1 ids have no vector, the first is 'q999'"),
        ({"q1": "w1"}, {"q1": {"d999": 1}}, "1 of 1 ids have no vector, the first is 'd999'"),
    ],
)
def test_labels_with_unknown_ids_are_rejected(folder, queries, qrels, message):
    data = retrieval_set(TEXTS | {"d999": "x"}, queries, qrels)
    with pytest.raises(DataError, match=message):
        fit_adapter(load_model(folder), data, **SVD)


def test_an_array_has_no_known_model(model):
    vectors = model.encode(list(TEXTS.values()), kind="document")
    adapter = fit_adapter(vectors, **SVD)
    assert (adapter.base, adapter.base_name) == ("", "an array of vectors")
    with pytest.raises(InvalidArgument, match="no ids"):
        fit_adapter(vectors, CORPUS, **SVD)


def test_a_list_of_vectors_is_converted(model):
    vectors = model.encode(list(TEXTS.values()), kind="document")
    assert fit_adapter(vectors.tolist(), **SVD).digest() == fit_adapter(vectors, **SVD).digest()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1.0], [1.0, 2.0]], r"embeddings cannot be read as vectors \(list: .*\). Pass an array"),
        (7.0, r"embeddings cannot be read as vectors \(float\)"),
        (np.float32(7), r"embeddings cannot be read as vectors \(float32\)"),
    ],
)
def test_other_values_than_arrays_of_vectors_are_rejected(given, message):
    with pytest.raises(InvalidArgument, match=message):
        fit_adapter(given, **SVD)


@pytest.mark.parametrize("method", [None, "linear"])
def test_a_missing_torch_is_reported_before_encoding(model, monkeypatch, method):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"nestvec\[train\]"):
        fit_adapter(model, CORPUS, dims=(16,), method=method)
    assert not model.times_encoded("document")
    fit_adapter(model, CORPUS, **SVD)


@pytest.mark.parametrize("data", [CORPUS, retrieval_set(TEXTS, QUERIES, QRELS)])
def test_texts_for_a_folder_of_queries_only_are_rejected(folder, data):
    for file in folder.glob("corpus.*"):
        file.unlink()
    with pytest.raises(InvalidArgument, match=r"no document vectors\. Add corpus vectors"):
        fit_adapter(load_model(folder), data, **SVD)


def test_a_sample_includes_the_relevant_documents(model):
    data = retrieval_set(TEXTS, QUERIES, QRELS)
    config = AdaptConfig(sample=270)
    adapter = fit_adapter(model, data, config=config, **SVD)
    assert adapter.fitted["documents"] + adapter.fitted["held_out_documents"] == 270
    assert {TEXTS[f"d{i}"] for i in range(120)} <= set(model.times_encoded("document"))


def test_invalid_arguments_are_reported_before_encoding(model, folder):
    with pytest.raises(InvalidArgument, match="needs texts to encode"):
        fit_adapter(model)
    with pytest.raises(InvalidArgument, match="dim 65"):
        fit_adapter(model, CORPUS, dims=(65,))
    with pytest.raises(ModelMismatch, match="is adapted already"):
        fit_adapter(NestedHashEncoder(fake_info(adapter="a")), CORPUS)
    with pytest.raises(InvalidArgument, match="pairs are texts"):
        fit_adapter(load_model(folder), TrainingPairs(["a", "b"], ["c", "d"], [[], []]))
    assert model.times_encoded("document").total() == WORDS  # for the folder


def test_too_few_vectors_for_their_width_are_rejected(model):
    few = {id_: CORPUS[id_] for id_ in list(CORPUS)[:255]}
    with pytest.raises(InvalidArgument, match="255 nonzero vectors"):
        fit_adapter(model, few, **SVD)


def test_layer_normalization_is_recorded_in_the_adapter():
    model = NestedHashEncoder(fake_info(layer_norm=True))
    assert fit_adapter(model, CORPUS, **SVD).layer_norm
