"""Convert between all formats: round trips, types, ids, errors, and memory."""

import tempfile
from itertools import permutations
from pathlib import Path

import faiss
import h5py
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import nestvec as nv
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources import stream
from nestvec.sources.save import TARGETS
from nestvec.sources.stream import Columns

FILES = ["v.npy", "v.npz", "v.parquet", "v.arrow", "v.jsonl", "v.jsonl.gz", "v.csv", "v.tsv.gz",
         "v.hdf5", "v.faiss", "v.fvecs", "v.fbin"]  # fmt: skip
HALF_FILES = ["v.npy", "v.npz", "v.parquet", "v.arrow", "v.hdf5"]
IDS = ["a", "7", "ünï", 'with "quotes", and commas']
VECTORS = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\x85"),
    min_size=1,
    max_size=8,
)


def same(loaded, ids=IDS, values=VECTORS):
    assert list(loaded.ids) == list(ids)
    assert loaded.values.dtype == values.dtype
    np.testing.assert_array_equal(loaded.values, values)


@st.composite
def vectors(draw):
    ids = draw(st.lists(TEXT, min_size=1, max_size=6, unique=True))
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    width = 16 if dtype == np.float16 else 32
    numbers = st.floats(width=width, allow_nan=False, allow_infinity=False)
    values = draw(arrays(dtype, (len(ids), draw(st.integers(1, 5))), elements=numbers))
    values[~values.any(axis=1)] = 1
    return ids, values


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(vectors(), st.sampled_from(FILES), st.sampled_from(FILES))
def test_a_round_trip_changes_nothing(given_vectors, first, second):
    ids, values = given_vectors
    with tempfile.TemporaryDirectory() as folder:
        one, two, three = (Path(folder) / str(number) for number in range(3))
        nv.save_embeddings(ids, values, one / first)
        nv.convert_embeddings(one / first, two / second)
        nv.convert_embeddings(two / second, three / first)
        for path in (one / first, two / second, three / first):
            loaded = nv.load_embeddings(path)
            assert list(loaded.ids) == ids
            np.testing.assert_array_equal(loaded.values.astype(np.float64), values)


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_written_in_blocks_and_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(stream, "MAX_BLOCK_ROWS", 3)
    nv.save_embeddings(IDS, VECTORS, tmp_path / name)
    same(nv.load_embeddings(tmp_path / name))


def test_what_is_written_is_what_other_libraries_read(tmp_path):
    for name in FILES:
        nv.save_embeddings(IDS, VECTORS, tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)
    with np.load(tmp_path / "v.npz") as archive:
        np.testing.assert_array_equal(archive["vectors"], VECTORS)
        assert archive["ids"].tolist() == IDS
    frame = pl.read_parquet(tmp_path / "v.parquet")
    assert frame.schema["vector"] == pl.Array(pl.Float32, 6)
    np.testing.assert_array_equal(frame["vector"].to_numpy(), VECTORS)
    assert pl.read_ipc(tmp_path / "v.arrow")["id"].to_list() == IDS
    with h5py.File(tmp_path / "v.hdf5") as file:
        np.testing.assert_array_equal(file["train"][:], VECTORS)
        assert file["train_ids"].asstr()[:].tolist() == IDS
        assert file.attrs["distance"] == "angular"
    index = faiss.read_index(str(tmp_path / "v.faiss"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 4), VECTORS)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT


def test_parquet_of_vectors_uses_byte_stream_split_and_no_dictionary(tmp_path):
    nv.save_embeddings(IDS, VECTORS, tmp_path / "v.parquet")
    group = pq.ParquetFile(tmp_path / "v.parquet").metadata.row_group(0)
    assert "BYTE_STREAM_SPLIT" in group.column(1).encodings
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & {
        encoding for number in (0, 1) for encoding in group.column(number).encodings
    }


@pytest.mark.parametrize(("first", "second"), list(permutations(HALF_FILES, 2)))
def test_float16_stays_float16(tmp_path, first, second):
    half = VECTORS.astype(np.float16)
    nv.save_embeddings(IDS, half, tmp_path / "a" / first)
    saved = nv.convert_embeddings(tmp_path / "a" / first, tmp_path / "b" / second)
    assert saved.dtype == "float16"
    same(nv.load_embeddings(tmp_path / "b" / second), values=half)


def test_the_type_can_be_chosen(tmp_path):
    nv.save_embeddings(IDS, VECTORS, tmp_path / "a.npy")
    saved = nv.convert_embeddings(tmp_path / "a.npy", tmp_path / "b.parquet", dtype="float16")
    assert (saved.rows, saved.dim, saved.dtype, saved.format) == (4, 6, "float16", "parquet")
    same(nv.load_embeddings(tmp_path / "b.parquet"), values=VECTORS.astype(np.float16))
    with pytest.raises(InvalidArgument, match="fvecs stores float32 only"):
        nv.convert_embeddings(tmp_path / "a.npy", tmp_path / "b.fvecs", dtype="float16")


@pytest.mark.parametrize(
    ("value", "message"),
    [(70_000, "'b' .row 1. has values above 65,504"), (1e-9, "'b' .row 1. has only values that")],
)
def test_numbers_that_float16_cannot_store_are_named(tmp_path, value, message):
    values = np.array([[1, 0], [value, 0]], dtype=np.float32)
    nv.save_embeddings(["a", "b"], values, tmp_path / "a.npy")
    with pytest.raises(DataError, match=message):
        nv.convert_embeddings(tmp_path / "a.npy", tmp_path / "b.npy", dtype="float16")
    assert not (tmp_path / "b.npy").exists()


def test_formats_without_ids_get_a_file_of_ids(tmp_path):
    saved = nv.save_embeddings(IDS, VECTORS, tmp_path / "v.fvecs")
    assert saved.ids_file == tmp_path / "v.ids.txt"
    assert saved.ids_file.read_text("utf-8").splitlines() == IDS
    assert nv.save_embeddings(IDS, VECTORS, tmp_path / "v.npz").ids_file is None


def test_the_ids_of_another_file_are_not_replaced(tmp_path):
    """``v.npy`` and ``v.fvecs`` share ``v.ids.txt``: other ids would silently rename the rows."""
    nv.save_embeddings(IDS, VECTORS, tmp_path / "v.npy")
    nv.save_embeddings(IDS, VECTORS, tmp_path / "v.fvecs")
    other = [f"other {id_}" for id_ in IDS]
    message = "v.ids.txt: contains the ids of v.fvecs, .* Choose another name for v.npy."
    with pytest.raises(DataError, match=message):
        nv.save_embeddings(other, VECTORS, tmp_path / "v.npy")
    same(nv.load_embeddings(tmp_path / "v.npy"))
    (tmp_path / "v.fvecs").unlink()
    nv.save_embeddings(other, VECTORS, tmp_path / "v.npy")
    same(nv.load_embeddings(tmp_path / "v.npy"), other)


def test_queries_are_converted_when_named(tmp_path):
    nv.save_embeddings(IDS, VECTORS, tmp_path / "v" / "corpus.parquet")
    nv.save_embeddings(["q"], VECTORS[:1], tmp_path / "v" / "queries.jsonl")
    saved = nv.convert_embeddings(tmp_path / "v", tmp_path / "d.hdf5")
    assert (saved.rows, saved.other_kind) == (4, "query")
    saved = nv.convert_embeddings(tmp_path / "v", tmp_path / "q.hdf5", kind="query")
    assert (saved.rows, saved.other_kind) == (1, "document")
    same(nv.load_embeddings(tmp_path / "q.hdf5", kind="query"), ["q"], VECTORS[:1])
    saved = nv.convert_embeddings(tmp_path / "v/queries.jsonl", tmp_path / "q.npy", kind="query")
    assert saved.other_kind is None


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_half_written(tmp_path, name):
    rows = '{"id": "a", "embedding": [1, 2]}\n' * 2
    (tmp_path / "bad.jsonl").write_text(rows)
    (tmp_path / name).write_bytes(b"before")
    with pytest.raises(DataError, match="id 'a' appears twice"):
        nv.convert_embeddings(tmp_path / "bad.jsonl", tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"before"
    assert {file.name for file in tmp_path.iterdir()} == {"bad.jsonl", name}


@pytest.mark.parametrize("name", FILES)
def test_an_empty_source_is_not_written(tmp_path, name):
    pq.write_table(pq.read_table(saved_parquet(tmp_path)).slice(0, 0), tmp_path / "e.parquet")
    with pytest.raises(DataError, match="is empty"):
        nv.convert_embeddings(tmp_path / "e.parquet", tmp_path / "out" / name)
    assert not (tmp_path / "out" / name).exists()


def saved_parquet(folder):
    nv.save_embeddings(IDS, VECTORS, folder / "a.parquet")
    return folder / "a.parquet"


def test_arguments_that_cannot_be_used_are_refused(tmp_path):
    source = saved_parquet(tmp_path)
    with pytest.raises(InvalidArgument, match=f"Choose one of {', '.join(TARGETS)}, or .* --to"):
        nv.convert_embeddings(source, tmp_path / "v.bvecs")
    with pytest.raises(InvalidArgument, match="with the format 'bvecs'"):
        nv.convert_embeddings(source, tmp_path / "v.npy", to="bvecs")
    with pytest.raises(InvalidArgument, match="both source and target"):
        nv.convert_embeddings(source, source)
    with pytest.raises(InvalidArgument, match="id 'a' appears twice"):
        nv.save_embeddings(["a", "a"], VECTORS[:2], tmp_path / "v.npy")
    with pytest.raises(InvalidArgument, match="2 ids for embeddings of shape"):
        nv.save_embeddings(["a", "b"], VECTORS, tmp_path / "v.npy")
    for name in ("v.npz", "v.hdf5"):
        with pytest.raises(InvalidArgument, match="NUL"):
            nv.save_embeddings(["a\0"], VECTORS[:1], tmp_path / name)
    with pytest.raises(InvalidArgument, match="line break"):
        nv.save_embeddings(["a\nb"], VECTORS[:1], tmp_path / "v.npy")


def test_the_format_can_be_named(tmp_path):
    source = saved_parquet(tmp_path)
    nv.convert_embeddings(source, tmp_path / "vectors", to="jsonl")
    same(nv.load_embeddings(tmp_path / "vectors"))
    nv.convert_embeddings(source, tmp_path / "n.npy", columns=Columns(number_rows=True), to="npz")
    same(nv.load_embeddings(tmp_path / "n.npy"), ["0", "1", "2", "3"])
