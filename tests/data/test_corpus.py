"""A corpus is loaded from whatever holds one; columns of a table keep or get the right types."""

import json

import pytest

from nestvec.data.corpus import Corpus, load_corpus
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document


def metadata(path, *columns_and_rows):
    """Write a table of one column each, and return what the documents' metadata become."""
    rows = "".join(f"d{number},text,{row}\n" for number, row in enumerate(columns_and_rows[1:]))
    path.write_text(f"id,text,{columns_and_rows[0]}\n{rows}", encoding="utf-8")
    return [dict(document.metadata) for document in load_corpus(path).values()]


def test_a_corpus_loads_from_a_beir_folder_or_from_one_file(tmp_path):
    row = {"_id": "a", "title": "T", "text": "hello", "metadata": {"page": 7}}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(row))
    (tmp_path / "c.csv").write_text("id,title,text,page\na,T,hello,7\n")
    expected = {"a": Document("hello", "T", {"page": 7})}
    assert load_corpus(tmp_path) == load_corpus(tmp_path / "corpus.jsonl") == expected
    assert load_corpus(tmp_path / "c.csv") == expected


def test_a_corpus_loads_from_parquet_with_null_titles(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"id": "a", "title": None, "text": "x", "page": 7}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    assert load_corpus(tmp_path / "c.parquet") == {"a": Document("x", "", {"page": 7})}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1999", "0", "-3"], [1999, 0, -3]),
        (["1.5", "2", "-0.25"], [1.5, 2, -0.25]),
        (["7", "", "8"], [7, None, 8]),  # an empty cell: nothing is known
        (["7", "seven"], ["7", "seven"]),
        (["01234", "5"], ["01234", "5"]),  # codes
        (["+41", "5"], ["+41", "5"]),
        (["1e5"], ["1e5"]),
        ([" 7"], [" 7"]),
        (["1."], ["1."]),
        ([".5"], [".5"]),
        (["\u0663"], ["\u0663"]),  # a digit of another script
        (["9" * 15, "1"], [10**15 - 1, 1]),
        (["9" * 16, "1"], ["9" * 16, "1"]),  # more than a float holds
        (["", ""], ["", ""]),
    ],
)
def test_a_column_of_a_table_becomes_numbers_whole_or_not_at_all(tmp_path, values, expected):
    found = metadata(tmp_path / "x.csv", "n", *values)
    assert [row.get("n") for row in found] == expected
    assert [type(row.get("n")) for row in found] == [type(value) for value in expected]


def test_each_column_has_a_type_of_its_own_and_ids_and_texts_stay_text(tmp_path):
    (tmp_path / "x.tsv").write_text("_id\ttext\ttitle\tyear\tname\n1\t2\t3\t4\t5a\n")
    assert load_corpus(tmp_path / "x.tsv") == {"1": Document("2", "3", {"year": 4, "name": "5a"})}


def test_numbers_of_jsonl_stay_as_they_are_written(tmp_path):
    rows = [{"_id": "a", "text": "x", "n": "7"}, {"_id": "b", "text": "x", "n": 7}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [each.metadata["n"] for each in load_corpus(tmp_path / "x.jsonl").values()] == ["7", 7]


def test_a_malformed_table_raises_with_the_line(tmp_path):
    (tmp_path / "x.csv").write_text("id,text,n\na,x,1\na,x,2\n")
    with pytest.raises(DataError, match=r"x\.csv:3: id 'a' appears twice"):
        load_corpus(tmp_path / "x.csv")


def test_texts_instead_of_documents_are_an_error_that_names_the_id():
    with pytest.raises(InvalidArgument, match=r"document 'a' has type str\. Pass a Document"):
        list(Corpus.of({"a": "a text"}))
