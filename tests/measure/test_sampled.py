"""Stored vectors are measured on a sample of their documents, and without a data set."""

from dataclasses import replace

import numpy as np
import pytest

import nestvec as nv
from fakes import NestedHashEncoder, made_set
from nestvec.curve.sample import DocumentSample, sample_of
from nestvec.data.corpus import without_texts
from nestvec.data.retrieval import load_log_of_ids
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.sampled import SAMPLED_QUERIES, measured
from nestvec.models.paired import PairedEncoder
from word_model import save_word_model

GRID = Grid(dims=(64, 16), precisions=("float32",), keeps=())


@pytest.fixture(scope="module")
def data():
    return made_set()


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Vectors of the documents of a data set."""
    place = tmp_path_factory.mktemp("vectors")
    texts = [document.content for document in data.corpus.values()]
    values = NestedHashEncoder().encode(texts, kind="document")
    nv.save_embeddings(list(data.corpus), values, place / "corpus.npy")
    return place


def test_documents_become_queries_that_are_not_searched(folder):
    model, data, sample = measured(nv.load_model(folder), None)
    assert sample is None
    assert (len(data.corpus), len(data.queries)) == (225, 75)  # a quarter of 300 documents
    assert not set(data.corpus) & set(data.queries)
    wanted = list(data.queries)
    np.testing.assert_array_equal(
        model.take(wanted, kind="query"), nv.load_model(folder).take(wanted, kind="document")
    )


def test_the_seed_chooses_the_queries(folder):
    first, again, other = (measured(nv.load_model(folder), None, seed=s).data for s in (0, 0, 1))
    assert first.queries == again.queries != other.queries


def test_agreement_equals_a_brute_force_search(folder):
    curve = evaluate(nv.load_model(folder), None, GRID)
    assert curve.evidence == "agreement"
    assert curve.dataset["split"] == "sampled documents"
    model, data, _ = measured(nv.load_model(folder), None)
    documents = model.take(list(data.corpus), kind="document").astype(np.float64)
    queries = model.take(list(data.queries), kind="query").astype(np.float64)

    def best(dim):
        units = (
            each[:, :dim] / np.linalg.norm(each[:, :dim], axis=1, keepdims=True)
            for each in (queries, documents)
        )
        return np.argsort(-np.matmul(next(units), next(units).T), axis=1)[:, :10]

    full, short = best(64), best(16)
    shared = [len({*one} & {*other}) / 10 for one, other in zip(full, short, strict=True)]
    assert curve["16:float32"].metrics["overlap@10"] == pytest.approx(np.mean(shared), abs=1e-3)


def test_a_curve_records_its_sample(folder, tmp_path):
    curve = evaluate(nv.load_model(folder, sample=120, seed=5), None, GRID)
    assert sample_of(curve.dataset) == DocumentSample(120, 300, 5)
    assert curve.dataset["sample"]["fraction"] == 0.4
    assert curve.dataset["n_documents"] == 90
    curve.save(tmp_path / "c.json")
    plan = nv.plan(nv.Curve.load(tmp_path / "c.json"), nv.Budget(min_overlap=0.5))
    reasons = " ".join(plan.reasons)
    assert "a sample of 120 of 300 documents (40 %)" in reasons
    assert "agreement can be lower than in the sample" in reasons
    assert "The 30 queries are sampled documents" in reasons


def test_labels_of_other_documents_are_left_out(folder, data):
    model = nv.load_model(folder, sample=100)
    sampled = set(model.ids("document"))
    pair = PairedEncoder(model, NestedHashEncoder())
    curve = evaluate(pair, data, GRID)
    left = [id_ for id_, labels in data.qrels.items() if sampled & labels.keys()]
    assert sample_of(curve.dataset) == DocumentSample(100, 300, 0)
    assert list(curve.scores.query_ids) == left
    assert curve.counts["queries_without_sampled_relevant"] == len(data.qrels) - len(left)
    part = replace(
        data,
        corpus={id_: each for id_, each in data.corpus.items() if id_ in sampled},
        queries={id_: data.queries[id_] for id_ in left},
        qrels={
            id_: {name: grade for name, grade in data.qrels[id_].items() if name in sampled}
            for id_ in left
        },
    )
    expected = evaluate(NestedHashEncoder(), part, GRID)
    assert curve["16:float32"].metrics == pytest.approx(expected["16:float32"].metrics)


def test_a_log_is_measured_over_ids(folder, data, tmp_path):
    (tmp_path / "log.txt").write_text("".join(f"{text}\n" for text in data.queries.values()))
    model = nv.load_model(folder, sample=100)
    log = load_log_of_ids("stored", model.ids("document"), tmp_path / "log.txt")
    curve = evaluate(PairedEncoder(model, NestedHashEncoder()), log, GRID)
    assert sample_of(curve.dataset) == DocumentSample(100, 300, 0)
    assert curve.dataset["n_queries"] == len(set(data.queries.values()))
    assert curve.counts["empty_documents"] == 0


def test_stored_queries_are_preferred(folder, data, tmp_path):
    for name in ("corpus.npy", "corpus.ids.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    values = NestedHashEncoder().encode(list(data.queries.values()), kind="query")
    nv.save_embeddings(list(data.queries), values, tmp_path / "queries.npy")
    found = measured(nv.load_model(tmp_path), None)
    assert list(found.data.queries) == list(data.queries)
    assert len(found.data.corpus) == 300
    assert found.data.split == "stored queries"


def test_a_model_needs_a_data_set_and_no_sample(tmp_path):
    with pytest.raises(InvalidArgument, match="cannot be measured without a data set"):
        evaluate(NestedHashEncoder(), None, GRID)
    with pytest.raises(InvalidArgument, match="is a model, so sample=5 has no effect"):
        nv.load_model(save_word_model(tmp_path / "words"), sample=5)


def test_too_few_documents_and_other_ids_are_refused(folder, data):
    with pytest.raises(DataError, match="contains 5 documents, too few"):
        measured(nv.load_model(folder, sample=5), None)
    other = replace(data, corpus=without_texts(["x"]), has_texts=True)
    with pytest.raises(DataError, match="has no document whose id is in the sample"):
        measured(nv.load_model(folder, sample=5), other)
    assert SAMPLED_QUERIES == 1_000
