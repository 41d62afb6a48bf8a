"""Made queries are held out of the document that they ask for, and only it answers them."""

import os
from pathlib import Path

import pytest

from nestvec.data.corpus import load_corpus
from nestvec.data.made_queries import make_queries
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document

REAL = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[3] / "shared" / "data"))
REST = "This goes on for long enough that something is left to be found."

CORPUS = {
    "plain": Document(REST, "Sorting lists", {"page": 3}),
    "repeated": Document(f"sorting sets\n{REST}", "Sorting Sets"),
    "untitled": Document(f"Trees are balanced by rotation. {REST}"),
    "short": Document("Too short.", "Only a title"),
    "twin": Document(REST, "Shared  title"),
    "other twin": Document("Too short.", "shared title"),
}


def test_a_title_is_held_out_of_what_is_encoded():
    data = make_queries(CORPUS, source="title", name="mine")
    assert (data.name, data.split, data.evidence) == ("mine", "title", "made queries")
    assert data.queries == {"title:plain": "Sorting lists", "title:repeated": "Sorting Sets"}
    assert data.qrels == {"title:plain": {"plain": 1}, "title:repeated": {"repeated": 1}}
    assert data.corpus["plain"] == Document(REST, "", {"page": 3})
    assert data.corpus["repeated"].content == REST  # the text began with the title


def test_documents_that_give_no_query_stay_as_they_are_and_are_counted():
    data = make_queries(CORPUS)
    assert list(data.corpus) == list(CORPUS)
    for document_id in ("untitled", "short", "twin", "other twin"):
        assert data.corpus[document_id] == CORPUS[document_id]
    assert data.counts == {
        "documents_without_query": 1,
        "documents_too_short": 2,
        "ambiguous_queries": 1,  # even though its twin is too short to be asked for
        "queries_not_sampled": 0,
    }
    assert make_queries(CORPUS, n=1).counts["queries_not_sampled"] == 1


def test_a_first_sentence_is_held_out_and_the_title_stays():
    corpus = {
        "latin": Document(f"Trees rotate. {REST}", "Trees"),
        "chinese": Document("树通过旋转保持平衡。" + "剩下的文本足够长。" * 5),
        "paragraph": Document(f"Trees rotate\n\n{REST}"),
        "one": Document(REST),
    }
    data = make_queries(corpus, source="first-sentence")
    assert data.queries == {
        "first-sentence:latin": "Trees rotate.",
        "first-sentence:chinese": "树通过旋转保持平衡。",
        "first-sentence:paragraph": "Trees rotate",
    }
    assert data.corpus["latin"] == Document(REST, "Trees")
    assert data.corpus["one"] == corpus["one"]


def test_only_documents_that_are_asked_for_lose_their_title():
    corpus = {f"d{n}": Document(REST, f"Title {n}") for n in range(50)}
    data = make_queries(corpus, n=10, seed=3)
    assert len(data.queries) == 10
    asked = {document_id for judged in data.qrels.values() for document_id in judged}
    for document_id, document in data.corpus.items():
        assert (document.title == "") == (document_id in asked)
    assert data == make_queries(corpus, n=10, seed=3)
    assert data.queries != make_queries(corpus, n=10, seed=4).queries


def test_a_corpus_without_titles_raises_with_counts():
    corpus = {"a": Document(REST), "b": Document("x", "A title")}
    with pytest.raises(DataError, match=r"usable as a query \(1 document without query; 1"):
        make_queries(corpus)


def test_an_unknown_source_and_a_number_below_one_raise():
    with pytest.raises(InvalidArgument, match=r"source 'abstract'\. Choose one of title, first"):
        make_queries(CORPUS, source="abstract")
    with pytest.raises(InvalidArgument, match="n=0 is below 1"):
        make_queries(CORPUS, n=0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not on this machine")
@pytest.mark.parametrize("source", ["title", "first-sentence"])
def test_most_documents_of_scifact_give_a_query(source):
    corpus = load_corpus(REAL / "retrieval" / "scifact")
    data = make_queries(corpus, source=source, n=len(corpus))
    assert len(data.queries) > 0.85 * len(corpus)
    for query_id, text in data.queries.items():
        (document_id,) = data.qrels[query_id]
        assert text not in data.corpus[document_id].text[: len(text)]
