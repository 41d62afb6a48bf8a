"""Formats are recognized by content; what cannot be read is refused in one line."""

import logging
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nestvec as nv
from nestvec.errors import InvalidArgument
from nestvec.sources import text_rows
from nestvec.sources.formats import detect_format, is_vectors_file
from vector_files import IDS, ROWS, VECTORS, fails, numbered, same, write_lines


def test_content_decides_and_a_wrong_suffix_is_named(tmp_path, caplog):
    path = tmp_path / "v.parquet"
    with path.open("wb") as file:
        np.save(file, VECTORS)
    numbered(nv.load_embeddings(path), caplog)
    assert f"{path}: the content is npy, but the suffix states parquet; the content is used" in (
        caplog.messages
    )


def test_records_without_a_suffix_are_ambiguous(tmp_path):
    nv.save_embeddings(IDS, VECTORS, tmp_path / "v.fvecs")
    plain = (tmp_path / "v.fvecs").rename(tmp_path / "vectors")
    fails(plain, r"can be \.fvecs or .*\.ivecs.*Add the suffix")


def test_a_dim_of_128_or_640_is_no_pickle(tmp_path, caplog):
    for dim in (128, 640):
        wide = np.ones((3, dim), dtype=np.float32)
        nv.save_embeddings(["a", "b", "c"], wide, tmp_path / "v.fvecs")
        same(nv.load_embeddings(tmp_path / "v.fvecs"), wide, ["a", "b", "c"])


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_are_refused(tmp_path, protocol):
    path = tmp_path / "v.pkl"
    path.write_bytes(pickle.dumps(VECTORS, protocol=protocol))
    fails(path, "is a pickle")
    assert not is_vectors_file(path)


def test_files_of_pytorch_are_refused(tmp_path):
    import torch

    torch.save(torch.from_numpy(VECTORS), tmp_path / "v.pt")
    fails(tmp_path / "v.pt", "is a PyTorch file")


def test_unknown_and_empty_files_are_refused(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(bytes(range(100, 200)) * 9)
    fails(path, "is not a known file of vectors")
    path.write_bytes(b"")
    fails(path, "is empty")
    fails(tmp_path / "none.npy", "does not exist")
    path.write_text("[[1, 2]]")
    fails(path, "expected a JSON object in each line, not a list")


DAMAGED = [
    (["a", "b", "c"], [[1, 2], [1, 2, 3], [1, 2]], r":2: .*'b' has 3 numbers, but the first has 2"),
    (["a", "b", "c"], [[1, 2], None, [1, 2]], r":2: the vector of id 'b' is missing"),
    (["a", "b", "c"], [[1, 2], [1, None], [1, 2]], r":2: .*'b' is not a list of numbers"),
    (["a", "b", "c"], [[1, 2], ["x", 1], [1, 2]], r":2: .*'b' is not a list of numbers"),
    (["a", None, "c"], [[1, 2]] * 3, r":2: has no id"),
    (["a", "b", "a"], [[1, 2]] * 3, r"id 'a' appears twice \(rows 0 and 2\)"),
    (["a", 1.5, "c"], [[1, 2]] * 3, r"row 1 has the id 1.5"),
    (["a", "b", "c"], [[1, 2], [0, 0], [1, 2]], r"id 'b' \(row 1\) is all zeros"),
    (["a", "b", "c"], [[1, 2], [float("nan"), 0], [1, 2]], r"id 'b' \(row 1\) has NaN or infinite"),
    (["a", "b", "c"], [[1, 2], [1e300, 0], [1, 2]], r"id 'b' \(row 1\) has NaN or infinite"),
]


@pytest.mark.parametrize(("ids", "rows", "message"), DAMAGED)
@pytest.mark.parametrize("batch", [1, 256])
def test_bad_json_lines_are_named(tmp_path, monkeypatch, ids, rows, message, batch):
    monkeypatch.setattr(text_rows, "BATCH", batch)
    write_lines(tmp_path / "v.jsonl", ids, rows)
    fails(tmp_path / "v.jsonl", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "embedding": [1]}\n{"id": "b", "emb', ":2: is not JSON"),
        ('{"name": "a", "embedding": [1]}\n', "has no column id or _id .*--id-column"),
        ('{"id": "a", "emb": [1]}\n', "has no column vector or embedding .*--vector-column NAME"),
        ('{"id": "\\ud800", "embedding": [1]}\n', "contains a lone surrogate"),
        ("\n\n", "is not a known file|is empty"),
    ],
)
def test_damaged_json_lines_are_one_line(tmp_path, text, message):
    (tmp_path / "v.jsonl").write_text(text)
    fails(tmp_path / "v.jsonl", message)


def test_columns_can_be_named_and_rows_numbered(tmp_path, caplog):
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"doc": IDS, "emb": ROWS}), path)
    same(nv.load_embeddings(path, id_column="doc", vector_column="emb"))
    fails(path, r"has no column nothing \(its columns: doc, emb\)", vector_column="nothing")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        numbered(nv.load_embeddings(path, vector_column="emb", number_rows=True), caplog)
    with pytest.raises(InvalidArgument, match="exclude each other"):
        nv.load_embeddings(path, id_column="doc", number_rows=True)


def test_a_small_vector_is_no_zero_and_a_large_one_not_infinite(tmp_path):
    values = np.array([[1e-30, 0], [3e38, 3e38]], dtype=np.float32)
    np.save(tmp_path / "v.npy", values)
    np.testing.assert_array_equal(nv.load_embeddings(tmp_path / "v.npy").values, values)


@pytest.mark.parametrize("half", [0.3, 0.7, 0.99])
def test_half_a_file_is_one_line(tmp_path, half):
    for suffix in ("npz", "parquet", "arrow", "hdf5", "fvecs", "fbin", "faiss", "jsonl.gz"):
        path = tmp_path / f"v.{suffix}"
        nv.save_embeddings(IDS, VECTORS, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * half)])
        assert str(path) in fails(path, "damaged|broken|bytes|no data set|40 ids")


def test_formats_are_recognized_without_a_suffix(tmp_path):
    for suffix in ("npy", "npz", "parquet", "arrow", "hdf5", "faiss", "jsonl", "csv"):
        nv.save_embeddings(IDS, VECTORS, tmp_path / f"v.{suffix}")
        (tmp_path / f"v.{suffix}").rename(tmp_path / "plain")
        assert detect_format(tmp_path / "plain") == suffix
