"""A corpus that is read as it is needed: the same documents, checked once, never all in memory."""

from __future__ import annotations

import json

import pytest

from fakes import NestedHashEncoder
from nestvec.data.corpus import Corpus, load_corpus, open_corpus
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.building import build_index
from nestvec.models import encoding
from nestvec.types import Document

ROWS = [
    {"_id": "a", "title": "A", "text": "one", "year": "2020"},
    {"_id": "b", "title": "", "text": "two", "year": ""},
    {"_id": "c", "title": "C", "text": "three", "year": "2021.5"},
]


@pytest.fixture
def jsonl(tmp_path):
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture
def csv(tmp_path):
    file = tmp_path / "corpus.csv"
    lines = [",".join(ROWS[0]), *(",".join(row.values()) for row in ROWS)]
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_documents_are_those_of_the_whole_corpus_each_time(kind, request):
    file = request.getfixturevalue(kind)
    corpus, whole = open_corpus(file), load_corpus(file)
    assert dict(corpus) == dict(corpus) == whole
    assert corpus.length == 3
    assert corpus.digest == Corpus.of(whole).digest
    assert whole["c"].metadata == {"year": 2021.5 if kind == "csv" else "2021.5"}


def test_another_text_order_or_field_is_another_digest():
    one, two = Document("one", "t", {"n": 1}), Document("two")
    digests = {
        Corpus.of(corpus).digest
        for corpus in (
            {"a": one, "b": two},
            {"b": two, "a": one},
            {"a": one},
            {"a": Document("one", "t", {"n": 2}), "b": two},
            {"a": Document("one", "", {"n": 1}), "b": two},
        )
    }
    assert len(digests) == 5


def test_errors_are_raised_when_the_corpus_is_opened(jsonl):
    with jsonl.open("a") as file:
        file.write(json.dumps({**ROWS[0], "text": "other"}) + "\n")
    with pytest.raises(DataError, match=r"corpus\.jsonl:4: id 'a' appears twice"):
        open_corpus(jsonl)
    with pytest.raises(InvalidArgument, match=r"corpus is a list\. Pass a dict of Documents"):
        Corpus.of([Document("one")])


def test_an_index_is_built_while_the_corpus_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "_BATCH", 10)
    model, read, ahead = NestedHashEncoder(), [], []

    def documents():
        for number in range(95):
            read.append(number)
            ahead.append(len(read) - sum(model.times_encoded("document").values()))
            yield f"d{number:02}", Document(f"text {number}")

    corpus = Corpus(documents, known_digest="of this test")  # its length is not known
    seen = []
    with build_index(
        model, corpus, "16:int8", tmp_path / "i", on_progress=lambda *each: seen.append(each)
    ) as index:
        assert len(index) == 95
    assert len(read) == 95  # once
    assert max(ahead) <= 10
    assert seen[-1] == (95, 95)


def test_an_empty_stream_begins_an_empty_index_with_a_warning(tmp_path, caplog):
    empty = Corpus(lambda: iter(()), known_digest="of this test")
    with build_index(NestedHashEncoder(), empty, "16:int8", tmp_path / "i") as index:
        assert len(index) == 0
        assert index.search("anything").ids == [[]]
    assert caplog.messages == ["the corpus is empty, so the index begins without documents"]
