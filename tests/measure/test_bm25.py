"""BM25: a ranking computed by hand, unknown words, and bm25s's retrieval."""

import bm25s
import numpy as np
import pytest

from nestvec.data.retrieval import load_dataset
from nestvec.measure import baselines as bm25
from nestvec.measure.baselines import rank_bm25

# Of equal length, so that only how often and how rare words are decides.
DOCUMENTS = [
    "apple banana cherry fig",
    "apple apple banana kiwi",
    "apple apple apple lemon",
    "mango olive papaya quince",
    "apple banana cherry fig",
]


def test_the_ranking_equals_one_computed_by_hand():
    # apple: more is better, 2 > 1 > {0, 4}, which tie and stand in order.
    # banana olive: olive stands in one document and so weighs more than banana in three.
    ranked = rank_bm25(["apple", "banana olive"], DOCUMENTS, depth=5)
    assert ranked.tolist() == [[2, 1, 0, 4, -1], [3, 0, 1, 4, -1]]


def test_the_score_grows_with_each_repetition_of_a_word_in_the_query():
    once, twice = rank_bm25(["olive apple", "olive apple apple apple apple"], DOCUMENTS, depth=1)
    assert (once[0], twice[0]) == (3, 2)


@pytest.mark.parametrize("query", ["zebra", "the of and", "", "zebra the"])
def test_a_query_without_shared_words_finds_no_documents(query):
    nothing, something = rank_bm25([query, "zebra quince"], DOCUMENTS, depth=2)
    assert nothing.tolist() == [-1, -1]
    assert something.tolist() == [3, -1]


@pytest.mark.parametrize("documents", [["", ""], ["the", "of and"]])
def test_documents_without_a_word_are_never_found(documents):
    assert rank_bm25(["apple"], documents, depth=10).tolist() == [[-1, -1]]
    assert rank_bm25(["apple"], [*documents, "apple"], depth=2).tolist() == [[2, -1]]


def test_the_depth_is_limited_to_the_corpus():
    assert rank_bm25(["apple"], DOCUMENTS[:1], depth=100).tolist() == [[0]]


def test_the_block_size_has_no_effect(monkeypatch):
    queries = [word for text in DOCUMENTS for word in text.split()]
    whole = rank_bm25(queries, DOCUMENTS, depth=4)
    monkeypatch.setattr(bm25, "_BLOCK", 3)
    np.testing.assert_array_equal(rank_bm25(queries, DOCUMENTS, depth=4), whole)


def test_real_texts_are_ranked_as_by_bm25s(data_folder):
    data = load_dataset(data_folder / "retrieval" / "cosqa")
    documents = [document.content for document in data.corpus.values()]
    queries = list(data.queries.values())[:300]

    def tokenize(texts):
        return bm25s.tokenize(texts, stopwords="en", show_progress=False)

    retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    retriever.index(tokenize(documents), show_progress=False)
    words = tokenize(queries)
    _, expected = retriever.retrieve(words, k=20, show_progress=False)
    by_query = bm25s.tokenize(queries, stopwords="en", return_ids=False, show_progress=False)
    ranked = rank_bm25(queries, documents, depth=20)
    for line, best, tokens in zip(ranked, expected, by_query, strict=True):
        scores = retriever.get_scores(tokens)
        np.testing.assert_allclose(np.where(line >= 0, scores[line], 0), best, rtol=1e-5)
