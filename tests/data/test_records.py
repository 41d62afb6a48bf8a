"""Rows are read with line numbers; errors name the file and the line."""

import gzip
import json

import pytest

from nestvec.data.corpus import load_corpus
from nestvec.data.records import check_columns, filled_text_of, read_records, text_of
from nestvec.data.retrieval import load_dataset
from nestvec.data.similarity import load_similarity
from nestvec.errors import DataError, MissingExtra
from refusals import refusal

ROWS = [{"a": "one", "b": 'two, "quoted"'}, {"a": "drei\nvier", "b": "ü"}]


def write(path, text):
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def refused(path):
    return refusal(lambda: list(read_records(path)))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_three_text_kinds_give_the_same_rows(tmp_path, suffix):
    jsonl = write(tmp_path / f"x.jsonl{suffix}", "\n\n".join(map(json.dumps, ROWS)))
    csv = write(tmp_path / f"x.csv{suffix}", 'a,b\none,"two, ""quoted"""\n"drei\nvier",ü\n')
    tsv = write(tmp_path / f"x.tsv{suffix}", 'a\tb\none\t"two, ""quoted"""\n"drei\nvier"\tü\n')
    assert list(read_records(jsonl)) == [(1, ROWS[0]), (3, ROWS[1])]
    assert list(read_records(csv)) == [(2, ROWS[0]), (3, ROWS[1])]
    assert list(read_records(tsv)) == list(read_records(csv))


def test_parquet_rows_keep_their_types(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"_id": "a", "n": 1, "x": 0.5}, {"_id": "b", "n": 2, "x": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert list(read_records(tmp_path / "x.parquet")) == [(1, rows[0]), (2, rows[1])]
    assert "is damaged or not a Parquet file" in refused(write(tmp_path / "bad.parquet", "PAR1 no"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"nestvec\[parquet\]"):
        list(read_records(write(tmp_path / "x.parquet", "PAR1")))


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    path = write(tmp_path / "x.csv", b"\xef\xbb\xbfa,b\n1,2\n")
    assert next(read_records(path)) == (2, {"a": "1", "b": "2"})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.jsonl", "", "x.jsonl: contains no rows"),
        ("x.csv", "a,b\n", "x.csv: contains no rows"),
        ("x.txt", "a", "x.txt: has an unknown file type"),
        ("x.parquet.gz", "a", "unknown file type"),
        ("x.jsonl", '{"a": 1}\n{"a": \n', "x.jsonl:2: is not JSON"),
        ("x.jsonl", '{"a": 1}\n[1]\n', "x.jsonl:2: expected a JSON object in each line, not a li"),
        ("x.jsonl", b'{"a": 1}\n\n{"a": "\xff"}\n', "x.jsonl:3: is not UTF-8"),
        ("x.jsonl", '{"a": "\\ud800"}\n', "x.jsonl:1: contains a lone surrogate"),
        ("x.jsonl", "[" * 100_000, "x.jsonl:1: is not JSON"),
        ("x.csv", "a,b\n1,2\n1\n", "x.csv:3: has 1 field, but the header has 2"),
        ("x.csv", 'a,b\n1,2\n1,"2\n3,4\n', "x.csv:3: cannot be read"),
        ("x.csv", "a,a\n1,2\n", "x.csv:1: column 'a' appears twice"),
        ("x.csv", 'a,b\n"1\n1",2\n3\n', "x.csv:4: has 1 field"),
    ],
)
def test_bad_files_are_reported_with_file_and_line(tmp_path, name, content, expected):
    assert expected in refused(write(tmp_path / name, content))


def test_a_surrogate_pair_written_as_escapes_is_text(tmp_path):
    path = write(tmp_path / "x.jsonl", '{"a": "\\ud83d\\ude00"}')
    assert next(read_records(path))[1] == {"a": "😀"}


def test_missing_files_and_folders_raise(tmp_path):
    assert "does not exist" in refused(tmp_path / "x.jsonl")
    assert "is a folder" in refused(tmp_path)


def test_broken_gzip_raises(tmp_path):
    whole = gzip.compress(b'{"a": 1}\n' * 5000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "not.jsonl.gz").write_bytes(b'{"a": 1}\n')
    (tmp_path / "flipped.jsonl.gz").write_bytes(whole[:-8] + b"00000000")
    for name in ("cut", "not", "flipped"):
        assert "broken gzip" in refused(tmp_path / f"{name}.jsonl.gz")


def test_a_missing_column_is_reported_with_those_that_are_there(tmp_path):
    with pytest.raises(DataError, match=r"x:7: missing column 'positive' \(has: a, b\)"):
        check_columns("x", {"a": 1, "b": 2}, ["a", "positive"], line=7)


def test_texts_must_be_strings_and_filled_where_asked():
    assert text_of("x", {"a": ""}, "a", line=1) == ""
    with pytest.raises(DataError, match="x:3: 'a' must be a string, not null"):
        text_of("x", {"a": None}, "a", line=3)
    with pytest.raises(DataError, match="x:3: 'a' is empty"):
        filled_text_of("x", {"a": " \n"}, "a", line=3)


@pytest.mark.parametrize("load", [load_dataset, load_corpus, load_similarity])
@pytest.mark.parametrize("name", ["glove.hdf5", "glove"])
def test_vectors_of_ann_benchmarks_are_no_data_set(tmp_path, load, name):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / name, "w") as file:
        file["train"], file["neighbors"] = [[1.0]], [[0]]
    message = refusal(load, tmp_path / name)
    assert f"{name}: contains vectors (HDF5) and no data set. Pass the file in place of" in message
    assert "exact neighbors, not relevance labels" in message
