"""Duplicate and empty documents are counted, because they affect the meaning of the scores."""

from dataclasses import replace

from fakes import NestedHashEncoder, made_set
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate

GRID = Grid(dims=(64,), precisions=("float32",), shortlisted=(), metrics=("ndcg@10",))


def test_documents_with_an_equal_text_are_counted():
    data = made_set()
    copies = {f"{id_}-copy": document for id_, document in data.corpus.items()}
    once = evaluate(NestedHashEncoder(), data, GRID)
    twice = evaluate(NestedHashEncoder(), replace(data, corpus={**data.corpus, **copies}), GRID)
    assert (once.counts["duplicate_documents"], twice.counts["duplicate_documents"]) == (0, 300)
    # The reason for the count: labels name only one of the two equal documents.
    assert twice.full.metrics["ndcg@10"] < 0.9 * once.full.metrics["ndcg@10"]


def test_a_title_makes_a_document_different_and_empty_documents_are_no_duplicates():
    data = made_set(50, 10)
    first, second, third, *_ = data.corpus
    corpus = dict(data.corpus)
    corpus[second] = replace(corpus[first], title="Another")
    corpus["empty"] = replace(corpus[third], text=" \n")
    corpus["blank"] = replace(corpus[third], text="")
    counts = evaluate(NestedHashEncoder(), replace(data, corpus=corpus), GRID).counts
    assert (counts["duplicate_documents"], counts["empty_documents"]) == (0, 2)
