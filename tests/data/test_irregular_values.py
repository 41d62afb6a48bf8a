"""Numeric ids, missing texts, grades such as 1.0 and repeated rows are accepted and counted."""

import json
import logging

import pytest

from nestvec.data.corpus import load_corpus, open_corpus
from nestvec.data.query_log import read_query_log
from nestvec.data.retrieval import load_dataset
from nestvec.errors import DataError
from nestvec.types import Document


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as format_

    format_.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_numeric_ids_match_text_ids_in_other_files(tmp_path, messages):
    parquet(tmp_path / "corpus.parquet", [{"_id": 7, "text": "a"}, {"_id": 8, "text": "b"}])
    jsonl(tmp_path / "queries.jsonl", [{"_id": 1, "text": "x"}, {"_id": 2.0, "text": "y"}])
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\t7\t1\n2\t8\t1\n")
    data = load_dataset(tmp_path, strict=True)
    assert data.qrels == {"1": {"7": 1}, "2": {"8": 1}}
    assert list(data.corpus) == ["7", "8"]
    assert [message.partition(": ")[2] for message in messages()] == [
        "ids that are numbers, read as text: 2, such as 7",
        "ids that are numbers, read as text: 2, such as 1",
    ]


def test_missing_texts_are_empty_texts(tmp_path, messages):
    rows = [
        {"_id": "a", "text": None, "title": None},
        {"_id": "b", "text": float("nan"), "title": float("nan")},
        {"_id": "c", "text": "x"},
    ]
    corpus = load_corpus(jsonl(tmp_path / "c.jsonl", rows))
    assert corpus == {"a": Document(""), "b": Document(""), "c": Document("x")}
    [message] = messages()
    assert "missing values of 'text', read as empty text: 2, such as None" in message


@pytest.mark.parametrize("grades", [(1.0, 2.0), ("1.0", "2.0"), ("1", "2"), (1, 2)])
def test_grades_that_are_whole_numbers_are_integers(tmp_path, messages, grades):
    jsonl(tmp_path / "corpus.jsonl", [{"_id": "a", "text": "x"}, {"_id": "b", "text": "y"}])
    jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "x"}])
    labels = [
        {"query-id": "q", "corpus-id": id_, "score": grade}
        for id_, grade in zip("ab", grades, strict=True)
    ]
    jsonl(tmp_path / "qrels" / "test.jsonl", labels)
    data = load_dataset(tmp_path)
    assert data.qrels == {"q": {"a": 1, "b": 2}}
    expected = "grades that are decimal numbers, read as integers: 2, such as " + repr(grades[0])
    irregular = str(grades[0]) == "1.0"
    assert [message.partition(": ")[2] for message in messages()] == [expected] * irregular


@pytest.mark.parametrize("score", [True, None, [1], 0.5, "1,0"])
def test_other_grades_are_an_error(tmp_path, score):
    jsonl(tmp_path / "corpus.jsonl", [{"_id": "a", "text": "x"}])
    jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "x"}])
    label = {"query-id": "q", "corpus-id": "a", "score": score}
    jsonl(tmp_path / "qrels" / "test.jsonl", [label])
    with pytest.raises(DataError, match=r"test\.jsonl:1: score .* is not an integer\. Grades are"):
        load_dataset(tmp_path)


def test_repeated_rows_are_skipped_and_counted(tmp_path, messages):
    documents = [{"_id": "a", "text": "x", "year": 1}, {"_id": "b", "text": "y"}]
    jsonl(tmp_path / "corpus.jsonl", [*documents, documents[0], documents[0]])
    jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "x"}] * 2)
    label = {"query-id": "q", "corpus-id": "a", "score": 1}
    jsonl(tmp_path / "qrels" / "test.jsonl", [label] * 4)
    data = load_dataset(tmp_path)
    assert (list(data.corpus), data.queries, data.qrels) == (
        ["a", "b"],
        {"q": "x"},
        {"q": {"a": 1}},
    )
    assert [message.partition(": ")[2] for message in messages()] == [
        "repeated documents, skipped: 2, such as 'a'",
        "repeated queries, skipped: 1, such as 'q'",
        "repeated labels, skipped: 3, such as \"query 'q' and document 'a'\"",
    ]


@pytest.mark.parametrize("change", [{"text": "z"}, {"title": "t"}, {"year": 2}])
def test_an_id_with_two_documents_is_an_error(tmp_path, change):
    rows = [{"_id": "a", "text": "x", "year": 1}]
    path = jsonl(tmp_path / "c.jsonl", [*rows, {**rows[0], **change}])
    for load in (load_corpus, open_corpus):
        with pytest.raises(DataError, match=r"c\.jsonl:2: id 'a' appears twice, with different"):
            load(path)


def test_a_query_log_accepts_the_same_ids(tmp_path, messages):
    rows = [
        {"_id": 7, "text": "one"},
        {"_id": None, "text": "two"},
        {"id": "x", "text": "three"},
        {"id": 9, "query": "four", "user": "u"},
        {"text": None},
    ]
    log = read_query_log(jsonl(tmp_path / "log.jsonl", rows))
    assert log.queries == {"7": "one", "line-2": "two", "x": "three", "9": "four"}
    assert log.fields["9"] == {"user": "u"}
    assert log.counts["empty_queries"] == 1
    [message] = messages()
    assert "ids that are numbers, read as text: 2, such as 7" in message


def test_queries_of_a_set_may_have_the_columns_id_and_query(tmp_path):
    jsonl(tmp_path / "corpus.jsonl", [{"id": "a", "text": "x"}])
    jsonl(tmp_path / "queries.jsonl", [{"id": "q", "query": " ", "lang": "en"}])
    label = {"query-id": "q", "corpus-id": "a", "score": 1}
    jsonl(tmp_path / "qrels" / "test.jsonl", [label])
    data = load_dataset(tmp_path)
    assert (data.queries, data.query_fields) == ({"q": " "}, {"q": {"lang": "en"}})
    assert data.counts["empty_queries"] == 1


def test_equal_texts_are_reported_when_a_corpus_is_opened_for_an_index(tmp_path, messages):
    rows = [{"_id": f"d{n}", "text": f"text {n % 3}", "title": "T"} for n in range(5)]
    rows += [{"_id": "empty", "text": ""}, {"_id": "blank", "text": " "}]
    corpus = open_corpus(jsonl(tmp_path / "c.jsonl", rows))
    assert len(dict(corpus)) == len(dict(corpus)) == 7  # nothing is dropped
    [message] = messages()  # once, although the corpus was read three times
    assert "documents with the same text as an earlier document: 2, such as 'd3'" in message


def test_labels_of_other_ids_name_an_example(tmp_path, messages):
    jsonl(tmp_path / "corpus.jsonl", [{"_id": "a", "text": "x"}])
    jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "x"}])
    (tmp_path / "qrels.txt").write_text("q 0 a.txt 1\n")
    with pytest.raises(DataError, match="no query has a relevant document"):
        load_dataset(tmp_path)
    assert "1 unknown document and 0 unknown queries, such as document 'a.txt'" in messages()[0]
