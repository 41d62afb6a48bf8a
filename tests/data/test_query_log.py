"""A log of queries is read whatever its form, without repeats, and sampled fairly."""

import gzip
import json

import pytest

from nestvec.data.query_log import read_query_log
from nestvec.errors import DataError, InvalidArgument


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_plain_text_has_a_query_in_each_line(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes("how to sort?\r\n\r\n  Wörter\nhow to sort?\n".encode())
    log = read_query_log(path)
    assert log.queries == {"line-1": "how to sort?", "line-3": "Wörter"}
    assert log.counts == {"empty_queries": 1, "duplicate_queries": 1, "queries_not_sampled": 0}
    packed = tmp_path / "log.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_query_log(packed) == log


def test_rows_keep_their_id_and_other_columns(tmp_path):
    rows = [
        {"_id": "a", "query": "one", "language": "en", "hits": 3},
        {"query": None},
        {"text": "two"},
    ]
    log = read_query_log(write(tmp_path / "log.jsonl", rows))
    assert log.queries == {"a": "one", "line-3": "two"}
    assert log.fields == {"a": {"language": "en", "hits": 3}, "line-3": {}}
    assert log.counts["empty_queries"] == 1


def test_csv_is_read_like_json_lines(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("query,user\nhello,7\n")
    assert read_query_log(path).fields == {"line-2": {"user": "7"}}


def test_a_sample_is_seeded_and_stands_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"query {n % 500:03}\n" for n in range(1000)))
    log = read_query_log(path, limit=50, seed=1)
    texts = list(log.queries.values())
    assert len(texts) == 50
    assert texts == sorted(texts)
    assert log == read_query_log(path, limit=50, seed=1)
    assert texts != list(read_query_log(path, limit=50, seed=2).queries.values())
    assert log.counts == {"empty_queries": 0, "duplicate_queries": 500, "queries_not_sampled": 450}


def test_every_query_is_as_likely_to_be_sampled(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"query {n}\n" for n in range(20)))
    drawn = [
        text
        for seed in range(400)
        for text in read_query_log(path, limit=5, seed=seed).queries.values()
    ]
    counts = [drawn.count(f"query {n}") for n in range(20)]
    assert sum(counts) == 2000
    assert min(counts) > 60  # 100 expected, standard deviation 8.7
    assert max(counts) < 140


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"search": "x"}], "log.jsonl:1: has no column 'text' or 'query' (has: search)"),
        ([{"text": 5}], "log.jsonl:1: 'text' must be a string, not 5"),
        ([{"text": " "}], "log.jsonl: contains no query"),
        (
            [{"_id": "a", "text": "x"}, {"_id": "a", "text": "y"}],
            "log.jsonl:2: id 'a' appears twice",
        ),
        ([{"_id": 7.5, "text": "x"}], "log.jsonl:1: '_id' must be a string, not 7.5"),
    ],
)
def test_malformed_logs_are_reported_with_file_and_line(tmp_path, rows, expected):
    with pytest.raises(DataError) as caught:
        read_query_log(write(tmp_path / "log.jsonl", rows))
    assert expected in str(caught.value)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(DataError, match=r"log\.txt:2: is not UTF-8"):
        read_query_log(tmp_path / "log.txt")


def test_a_limit_below_one_raises(tmp_path):
    with pytest.raises(InvalidArgument, match="limit=0 is below 1"):
        read_query_log(tmp_path / "log.txt", limit=0)
