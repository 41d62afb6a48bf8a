"""Ranked chunks are converted to ranked documents."""

from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set, retrieval_set
from nestvec.engines.flat.representations import Representations
from nestvec.errors import InvalidArgument
from nestvec.measure import documents
from nestvec.measure.documents import DocumentRows, collapse, rank_documents, rows_needed
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.texts import Texts, slices_of
from nestvec.metrics.ranking import Ranked
from nestvec.types import Document, OperatingPoint


def test_each_document_has_the_rank_of_its_best_row():
    rows = np.array([[3, 2, 0, 4, 1], [1, 0, 4, -1, -1]])
    scores = np.array([[5, 4, 3, 2, 1], [9, 8, 7, 0, 0]], dtype=np.float32)
    of_row = DocumentRows(np.array([7, 7, 8, 8, 9]), np.array([-1, -1]))
    found = collapse(Ranked(scores, rows), of_row, depth=3)
    assert found.rows.tolist() == [[8, 7, 9], [7, 9, -1]]
    assert found.scores.tolist() == [[5, 3, 2], [9, 7, -np.inf]]
    assert collapse(Ranked(scores, rows), of_row, depth=1).rows.tolist() == [
        [8],
        [7],
    ]


def test_rows_needed_are_those_of_the_largest_documents_plus_one():
    doc_of_row = np.array([0, 0, 0, 1, 1, 2, 3])
    assert [rows_needed(doc_of_row, depth) for depth in (1, 2, 3, 9)] == [1, 4, 6, 7]
    assert rows_needed(np.arange(50), 10) == 10


def test_ranking_by_blocks_of_queries_is_the_best_of_each_documents_rows(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 16)).astype(np.float32)
    queries = rng.standard_normal((30, 16)).astype(np.float32)
    doc_of_row = rng.integers(0, 25, 200)
    monkeypatch.setattr(documents, "LIST_BYTES", 20 * 200 * 7)  # a few queries at a time
    point = OperatingPoint.single(16, "float32")
    found = rank_documents(
        [point],
        queries,
        Representations(vectors, layer_norm=False),
        DocumentRows(doc_of_row, np.full(30, -1)),
        depth=12,
    )[point]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = queries @ unit.T / np.linalg.norm(queries, axis=1, keepdims=True)
    of_docs = np.stack([cosines[:, doc_of_row == doc].max(axis=1) for doc in range(25)], axis=1)
    np.testing.assert_array_equal(found.rows, np.argsort(-of_docs, axis=1)[:, :12])
    np.testing.assert_allclose(found.scores, -np.sort(-of_docs, axis=1)[:, :12], atol=1e-6)


def chunked(data, chunks=3):
    """Split each document into chunks of its words, with the document as parent."""
    corpus = {}
    for id_, document in data.corpus.items():
        words = document.text.split()
        for n in range(chunks):
            text = " ".join(words[n::chunks])
            corpus[f"{id_}-{n}"] = Document(text, f"title {id_}", metadata={"parent": id_})
    return replace(data, corpus=corpus)


GRID = Grid(precisions=("float32", "binary"), shortlisted=("int8",), keeps=(30,), group_by="parent")


@pytest.mark.parametrize("named", ["parents", "chunks"])
def test_labels_may_refer_to_a_chunk_or_to_its_document(named):
    data = made_set(120, 30)
    qrels = data.qrels
    if named == "chunks":  # of two chunks of a document, the higher grade counts
        qrels = {
            id_: {f"{doc}-{n}": g for doc, grade in grades.items() for n, g in ((0, 1), (2, grade))}
            for id_, grades in data.qrels.items()
        }
    by_parent = evaluate(NestedHashEncoder(), chunked(data), GRID)
    named_so = evaluate(NestedHashEncoder(), replace(chunked(data), qrels=qrels), GRID)
    assert by_parent.full.metrics["ndcg@10"] > 0.3
    for row, other in zip(by_parent.points, named_so.points, strict=True):
        assert row.metrics == other.metrics
    assert set(by_parent.scores.doc_ids) <= set(data.corpus)  # what is found is whole
    assert set(by_parent.scores.doc_titles) <= {f"title {id_}" for id_ in data.corpus}
    top = by_parent.scores.top
    assert all(len(set(line)) == 10 for line in top[0].tolist())
    assert by_parent.dataset["group_by"] == "parent"


def test_a_document_without_the_field_is_its_own_group():
    chunks = chunked(made_set(120, 30))
    data = replace(chunks, corpus={**chunks.corpus, "lone": Document("alone")})
    texts = Texts.of(data, group_by="parent")
    assert len(texts.doc_ids) == 121
    assert "lone" in texts.doc_ids
    assert texts.doc_ids == sorted(texts.doc_ids, reverse=True)
    grid = Grid(dims=(64,), precisions=("float32",), shortlisted=(), group_by="parent")
    assert evaluate(NestedHashEncoder(), data, grid).counts["documents_without_group"] == 1


def test_an_unknown_field_is_rejected_with_the_known_fields():
    with pytest.raises(InvalidArgument, match=r"No document has the field 'page'. Fields: parent"):
        Texts.of(chunked(made_set(10, 2)), group_by="page")
    with pytest.raises(InvalidArgument, match="There are no fields"):
        Texts.of(retrieval_set({"d": "a"}, {"q": "a"}, {"q": {"d": 1}}), group_by="page")


def test_a_field_of_lists_neither_groups_documents_nor_slices_queries():
    data = retrieval_set({"d": "a", "e": "b"}, {"q": "a"}, {"q": {"d": 1}})
    corpus = {
        id_: replace(document, metadata={"tags": ["x"]}) for id_, document in data.corpus.items()
    }
    data = replace(data, corpus=corpus, query_fields={"q": {"tags": ["x"]}})
    with pytest.raises(InvalidArgument, match=r"field 'tags' of a document contains a list"):
        Texts.of(data, group_by="tags")
    with pytest.raises(InvalidArgument, match=r"field 'tags' of a query contains a list"):
        slices_of(data, ["tags"])
