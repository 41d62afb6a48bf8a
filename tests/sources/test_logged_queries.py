"""Query logs of texts or vectors, with filters."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from nestvec.errors import DataError, InvalidArgument
from nestvec.sources.logged_queries import read_logged_queries


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_with_filters_are_distinct_by_both(tmp_path):
    rows = [
        {"query": "red shoes", "filter": "lang = 'de'"},
        {"query": "red shoes", "filter": "lang = 'en'"},
        {"query": "red shoes", "filter": "lang = 'de'"},
        {"query": " ", "filter": None},
        {"query": "blue", "filter": None},
    ]
    log = read_logged_queries(written(tmp_path / "log.jsonl", rows))
    assert log.texts == ["red shoes", "red shoes", "blue"]
    assert log.filters == ["lang = 'de'", "lang = 'en'", ""]
    assert log.ids == ["line-1", "line-2", "line-5"]
    assert log.vectors is None
    found = {name: count for name, count in log.counts.items() if count}
    assert found == {"empty_queries": 1, "duplicate_queries": 1}


def test_vectors_with_and_without_texts(tmp_path):
    rows = [{"id": 7, "text": "a", "vector": [1, 0.5]}, {"id": "b", "text": "", "vector": [0, 2]}]
    log = read_logged_queries(written(tmp_path / "log.jsonl", rows))
    assert (log.ids, log.texts) == (["7", "b"], ["a", ""])
    assert log.vectors.tolist() == [[1, 0.5], [0, 2]]


def test_csv_and_text_files(tmp_path):
    (tmp_path / "log.csv").write_text('query,vector,filter\na,"[0.5, 1]",\nb,"[1, 2]",n > 3\n')
    log = read_logged_queries(tmp_path / "log.csv")
    assert log.vectors.tolist() == [[0.5, 1], [1, 2]]
    assert log.filters == ["", "n > 3"]
    (tmp_path / "log.txt").write_text("one query\n\nanother\n")
    assert read_logged_queries(tmp_path / "log.txt").texts == ["one query", "another"]


def test_parquet_with_a_column_of_vectors(tmp_path, caplog):
    vectors = np.random.default_rng(0).standard_normal((3, 384)).astype(np.float32)
    columns = {"id": ["x", "y", "z"], "filter": [None, "n = 1", None]}
    columns["embedding"] = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    log = read_logged_queries(tmp_path / "log.parquet")
    assert (log.ids, log.filters) == (["x", "y", "z"], ["", "n = 1", ""])
    np.testing.assert_array_equal(log.vectors, vectors)
    assert not caplog.messages


def test_a_file_of_vectors(tmp_path):
    np.save(tmp_path / "queries.npy", np.eye(5, 3, dtype=np.float32) + 1)
    log = read_logged_queries(tmp_path / "queries.npy", limit=2)
    assert log.vectors.shape == (2, 3)
    assert log.counts["queries_not_sampled"] == 3


def test_only_queries_with_labels(tmp_path):
    rows = [{"id": f"q{n}", "text": f"query {n}"} for n in range(50)]
    labeled = {"q3": {}, "q7": {}, "other": {}}
    log = read_logged_queries(written(tmp_path / "log.jsonl", rows), ids=labeled)
    assert log.ids == ["q3", "q7"]
    assert log.counts["queries_without_labels"] == 48
    with pytest.raises(DataError, match="contains no query with relevance labels"):
        read_logged_queries(tmp_path / "log.jsonl", ids={"other": {}})


def test_a_sample_does_not_depend_on_the_order(tmp_path):
    rows = [{"text": f"query {n}"} for n in range(300)]
    one = read_logged_queries(written(tmp_path / "a.jsonl", rows), limit=20, seed=1)
    two = read_logged_queries(written(tmp_path / "b.jsonl", rows[::-1]), limit=20, seed=1)
    other = read_logged_queries(tmp_path / "a.jsonl", limit=20, seed=2)
    assert {*one.texts} == {*two.texts} != {*other.texts}
    assert one.counts["queries_not_sampled"] == 280


def test_columns_that_are_not_used_are_named(tmp_path, caplog):
    read_logged_queries(written(tmp_path / "log.jsonl", [{"text": "a", "user": "u1"}]))
    assert "values of column 'user', not used" in caplog.text


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            [{"vector": [1, 2]}, {"vector": [1, 2, 3]}],
            r":2: the vector has 3 numbers, but",
        ),
        ([{"vector": [1, 2]}, {"text": "a", "vector": None}], r"line 1 has a vector, but line 2"),
        (
            [{"text": "a"}, {"text": "b", "vector": [1]}],
            r"line 2 has a vector, but line 1",
        ),
        ([{"vector": ["a"]}], r":1: the vector is not a list of numbers"),
        ([{"vector": [float("nan")]}], r":1: the vector has NaN or infinite numbers"),
        ([{"text": "a", "filter": 3}], r":1: 'filter' must be a string"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], r"id 'a' appears twice"),
        ([{"text": ""}], r"contains no query"),
        ([{"body": "x"}], r":1: has no column 'text' or 'query'"),
    ],
)
def test_a_wrong_log_is_one_line(tmp_path, rows, problem):
    with pytest.raises(DataError, match=problem) as caught:
        read_logged_queries(written(tmp_path / "log.jsonl", rows))
    assert "\n" not in str(caught.value)


def test_a_limit_below_1_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="limit=0 is below 1"):
        read_logged_queries(tmp_path / "log.jsonl", limit=0)
