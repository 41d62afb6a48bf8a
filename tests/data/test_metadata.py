"""Metadata: one stored form for each value, and a warning for each kind that is left out."""

import json
import logging
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from nestvec.data.corpus import Corpus, load_corpus, open_corpus
from nestvec.data.metadata import MetadataReader, iso_text, stored_value
from nestvec.data.query_log import read_query_log
from nestvec.data.retrieval import load_dataset, save_dataset
from nestvec.errors import InvalidArgument
from nestvec.types import Document

BERLIN = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("text", "text"),
        (True, True),
        (np.bool_(False), False),
        (7, 7),
        (2**70, 2**70),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (Decimal("19.99"), 19.99),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, 9, 30), "2026-03-01T09:30:00"),
        (datetime(2026, 3, 1, 9, 30, 0, 5), "2026-03-01T09:30:00.000005"),
        (datetime(2026, 3, 1, 9, 30, tzinfo=BERLIN), "2026-03-01T07:30:00+00:00"),
        (datetime(1, 1, 1, tzinfo=BERLIN), "0001-01-01T00:00:00+02:00"),  # before Python's range
        (time(9, 30), "09:30:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (["a", True, 2, 0.5], ["a", True, 2, 0.5]),
        (("a", date(2026, 3, 1)), ["a", "2026-03-01"]),
        ({"b", "a"}, ["a", "b"]),
        (np.array([1, 2]), [1, 2]),
        ([], []),
        ([0.5] * 31, [0.5] * 31),
        ([7] * 500, [7] * 500),
        (None, None),
        (np.datetime64("NaT"), None),
    ],
)
def test_each_value_has_one_stored_form(value, stored):
    found, problem = stored_value(value)
    assert problem is None
    assert json.dumps(found) == json.dumps(stored)


@pytest.mark.parametrize(
    ("value", "problem", "stored"),
    [
        ({"a": 1}, "object", None),
        ([{"a": 1}], "object", None),
        ([["a"]], "object", None),
        (np.ones((2, 2)), "object", None),
        (b"x", "object", None),
        (timedelta(1), "object", None),
        (math.nan, "not finite", None),
        (-math.inf, "not finite", None),
        (np.float32("nan"), "not finite", None),
        (Decimal("NaN"), "not finite", None),
        ([0.5] * 32, "vector", None),
        (np.ones(768, np.float32), "vector", None),
        (["a", None], "item", ["a"]),
        ([1.5, math.nan], "item", [1.5]),
    ],
)
def test_a_value_that_cannot_be_stored_has_a_problem(value, problem, stored):
    assert stored_value(value) == (stored, problem)


def test_pandas_values_are_stored_like_those_of_python():
    pandas = pytest.importorskip("pandas")
    assert stored_value(pandas.Timestamp("2026-03-01 09:30", tz="Europe/Berlin")) == (
        "2026-03-01T08:30:00+00:00",
        None,
    )
    assert stored_value(pandas.Timestamp("2026-03-01 09:30:00.000000007"))[0] == (
        "2026-03-01T09:30:00.000000007"
    )
    assert stored_value(pandas.NaT) == stored_value(pandas.NA) == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03", "2026-03-01"),
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T09", "2026-03-01T09:00:00"),
        ("2026-03-01T09:30:00", "2026-03-01T09:30:00"),
        ("2026-03-01T09:30:00.000", "2026-03-01T09:30:00"),
        ("2026-03-01T09:30:00.500", "2026-03-01T09:30:00.500000"),
        ("2026-03-01T09:30:00.000000000", "2026-03-01T09:30:00"),
        ("2026-03-01T09:30:00.000000100", "2026-03-01T09:30:00.000000100"),
        ("9999-12-31T00:00:00", "9999-12-31T00:00:00"),  # beyond the range of nanoseconds
    ],
)
def test_numpy_times_have_the_form_of_python(text, expected):
    assert iso_text(np.datetime64(text)) == expected


def test_the_order_of_dates_as_strings_is_that_of_time():
    start = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    steps = [0, 1, 999_999, 1_000_000, 1_500_000, 60_000_000, 86_400_000_000]
    moments = [start + timedelta(microseconds=step) for step in steps]
    texts = [stored_value(moment.astimezone(BERLIN))[0] for moment in moments]
    assert texts == sorted(texts)
    assert stored_value(date(2026, 3, 1))[0] <= stored_value(datetime(2026, 3, 1))[0]


def test_each_kind_is_reported_once_with_a_count_and_an_example(caplog):
    reader = MetadataReader()
    for number in range(3):
        read = reader.read(f"d{number}", {"a": {"b": 1}, "x": math.nan, "n": number, "none": None})
        assert read == {"n": number}
    reader.read("d9", {"v": [0.5] * 64})
    with caplog.at_level(logging.WARNING):
        reader.warn("x.jsonl")
    assert caplog.messages == [
        "x.jsonl: left out 3 metadata values of other types, such as 'a' (dict) of 'd0'. Use "
        "strings, numbers, booleans, dates, or lists of these.",
        "x.jsonl: treated 3 metadata values as missing (NaN or infinite), such as 'x' (float) of "
        "'d0'",
        "x.jsonl: left out 1 metadata value (a list of 32 or more floats is a vector), such as 'v' "
        "(list) of 'd9'",
    ]


def test_in_a_strict_reader_a_value_of_another_type_is_an_error(caplog):
    reader = MetadataReader(strict=True)
    with pytest.raises(InvalidArgument, match=r"of 'a': the value of 'loc' has type dict\. Use"):
        reader.read("a", {"loc": {}})
    with pytest.raises(InvalidArgument, match="has type list with items of other types"):
        reader.read("a", {"loc": [{}]})
    with pytest.raises(InvalidArgument, match="field name 1 is not a string"):
        reader.read("a", {1: "x"})
    assert reader.read("a", {"x": math.nan}) == {}
    reader.warn("metadata")
    assert len(caplog.messages) == 1


FIELDS = {"flag": True, "n": 3, "x": 1.5, "tags": ["a", "b"], "day": "2026-03-01"}
FILES = {
    "jsonl": json.dumps({"_id": "a", "text": "t", **FIELDS}),
    "csv": "_id,text,flag,n,x,day\na,t,true,3,1.5,2026-03-01\n",
    "tsv": "_id\ttext\tflag\tn\tx\tday\na\tt\tTrue\t3\t1.5\t2026-03-01\n",
}


@pytest.mark.parametrize("kind", [*FILES, "parquet", "python"])
def test_booleans_lists_and_dates_of_a_corpus_are_stored(tmp_path, kind, caplog):
    path = tmp_path / f"x.{kind}"
    typed = {**FIELDS, "day": date(2026, 3, 1)}
    if kind == "python":
        (document,) = dict(Corpus.of({"a": Document("t", metadata=typed)})).values()
    else:
        if kind == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            row = {"_id": "a", "text": "t", **typed}
            parquet.write_table(pyarrow.Table.from_pylist([row]), path)
        else:
            path.write_text(FILES[kind], encoding="utf-8")
        (document,) = load_corpus(path).values()
    expected = {key: FIELDS[key] for key in FIELDS if key != "tags" or kind not in ("csv", "tsv")}
    assert document == Document("t", metadata=expected)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["true", "FALSE", "True"], [True, False, True]),
        (["true", "", "false"], [True, None, False]),
        (["true", "yes"], ["true", "yes"]),
        (["true", "1"], ["true", "1"]),
        (["0", "1"], [0, 1]),
        ([" true"], [" true"]),
    ],
)
def test_a_column_becomes_booleans_only_if_all_its_values_are_booleans(tmp_path, cells, expected):
    rows = "".join(f"d{number},t,{cell}\n" for number, cell in enumerate(cells))
    (tmp_path / "x.csv").write_text(f"id,text,flag\n{rows}")
    found = [each.metadata.get("flag") for each in load_corpus(tmp_path / "x.csv").values()]
    assert json.dumps(found) == json.dumps(expected)


@pytest.mark.parametrize("read", [load_corpus, lambda path: dict(open_corpus(path))])
def test_values_of_a_corpus_file_that_no_index_stores_are_named_once(tmp_path, caplog, read):
    rows = [{"_id": f"d{n}", "text": f"t{n}", "loc": {"page": n}, "no": None} for n in range(5)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(text + '{"_id": "e", "text": "t", "x": NaN}\n')
    corpus = read(tmp_path / "x.jsonl")
    assert [document.metadata for document in corpus.values()] == [{}] * 6
    left_out, missing = caplog.messages
    assert "x.jsonl: left out 5 metadata values" in left_out
    assert "'loc' (dict) of 'd0'" in left_out
    assert "x.jsonl: treated 1 metadata value as missing" in missing


def test_fields_of_queries_are_read_like_metadata(tmp_path, caplog):
    rows = [{"_id": "q1", "text": "t", "open": True, "tags": ["a"], "loc": {"a": 1}}]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_query_log(path).fields == {"q1": {"open": True, "tags": ["a"]}}
    assert len(caplog.messages) == 1
    save_dataset({"d": Document("t")}, {"q1": "t"}, {"test": {"q1": {"d": 1}}}, tmp_path / "beir")
    (tmp_path / "beir" / "queries.jsonl").write_bytes(path.read_bytes())
    data = load_dataset(tmp_path / "beir")
    assert data.query_fields == {"q1": {"open": True, "tags": ["a"]}}
    assert len(caplog.messages) == 2


def test_a_saved_data_set_has_the_dates_of_its_documents(tmp_path):
    corpus = {"d": Document("t", metadata={"day": date(2026, 3, 1), "flag": True, "tags": ("a",)})}
    save_dataset(corpus, {"q": "t"}, {"test": {"q": {"d": 1}}}, tmp_path / "x")
    found = load_corpus(tmp_path / "x")["d"]
    assert found.metadata == {"day": "2026-03-01", "flag": True, "tags": ["a"]}


def test_in_documents_true_differs_from_1():
    for true, one in [(True, 1), ([True], [1]), ([0, "a"], [False, "a"])]:
        assert Document("t", metadata={"x": true}) != Document("t", metadata={"x": one})
        assert Document("t", metadata={"x": true}) == Document("t", metadata={"x": true})
    assert Document("t", metadata={"x": 1}) == Document("t", metadata={"x": 1.0})
    assert Document("t", metadata={"a": 1, "b": 2}) == Document("t", metadata={"b": 2, "a": 1})
    assert Document("t") != Document("u")
    assert Document("t") != "t"
