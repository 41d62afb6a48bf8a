import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.files import mapped as mapped_files
from nestvec.models.precomputed import PrecomputedVectors, has_vectors, save_vectors
from nestvec.sources import arrow_files, stream
from nestvec.types import Encoder
from peak_memory import peak_bytes

IDS = ["d1", "d2", "d3", "d4"]
VECTORS = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    save_vectors(IDS, VECTORS, tmp_path, kind="document")
    save_vectors(["q1"], VECTORS[:1], tmp_path, kind="query")
    return tmp_path


def write_parquet(path, ids, vectors, *, id_name="id", name="vector", kind=None):
    pq.write_table(pa.table({id_name: ids, name: pa.array(vectors, type=kind)}), path)


def fails(folder, message):
    with pytest.raises(DataError, match=message) as raised:
        PrecomputedVectors.load(folder)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_vectors_come_in_the_order_asked(folder):
    vectors = PrecomputedVectors.load(folder)
    assert isinstance(vectors, Encoder)
    assert vectors.ids("document") == IDS
    got = vectors.take(["d3", "d1", "d3"], kind="document")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, VECTORS[[2, 0, 2]])
    np.testing.assert_array_equal(vectors.take(["q1"], kind="query"), VECTORS[:1])
    assert vectors.take([], kind="document").shape == (0, 64)


def test_missing_ids_are_counted_and_the_first_is_named(folder):
    vectors = PrecomputedVectors.load(folder)
    with pytest.raises(DataError, match=r"2 of 3 ids have no vector, the first is 'x'"):
        vectors.take(["d1", "x", "y"], kind="document")


def test_a_kind_without_a_file_is_named(tmp_path):
    save_vectors(IDS, VECTORS, tmp_path, kind="document")
    vectors = PrecomputedVectors.load(tmp_path)
    assert vectors.ids("query") == []
    with pytest.raises(DataError, match=r"contains no vectors of queries\. Add"):
        vectors.take(["q1"], kind="query")


def test_there_is_no_model_to_encode_with(folder):
    with pytest.raises(ModelError, match="contains vectors and no model"):
        PrecomputedVectors.load(folder).encode(["a text"], kind="query")


@pytest.mark.parametrize("id_name", ["id", "_id"])
@pytest.mark.parametrize("name", ["vector", "embedding"])
@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 64), pa.large_list(pa.float64())]
)
def test_parquet_holds_the_same_vectors(folder, tmp_path_factory, id_name, name, kind):
    other = tmp_path_factory.mktemp("parquet")
    rows = VECTORS.tolist()
    write_parquet(other / "corpus.parquet", IDS, rows, id_name=id_name, name=name, kind=kind)
    expected, got = PrecomputedVectors.load(folder), PrecomputedVectors.load(other)
    np.testing.assert_array_equal(got.take(IDS, kind="document"), VECTORS)
    assert got.info.fingerprint == expected.info.fingerprint


def test_the_fingerprint_follows_the_corpus_and_its_ids(folder, tmp_path_factory):
    before = PrecomputedVectors.load(folder).info.fingerprint
    save_vectors(["q2"], VECTORS[1:2], folder, kind="query")
    assert PrecomputedVectors.load(folder).info.fingerprint == before
    save_vectors(IDS, VECTORS[::-1], folder, kind="document")
    assert PrecomputedVectors.load(folder).info.fingerprint != before
    save_vectors(IDS[::-1], VECTORS, folder, kind="document")
    assert PrecomputedVectors.load(folder).info.fingerprint != before


def test_a_known_model_gives_its_widths_and_layer_norm(tmp_path):
    wide = np.ones((1, 768), dtype=np.float32)
    save_vectors(["d"], wide, tmp_path, kind="document")
    assert not PrecomputedVectors.load(tmp_path).info.dims_trained
    info = PrecomputedVectors.load(tmp_path, model="nomic-embed-text-v1.5").info
    assert info.dims == (768, 512, 256, 128, 64)
    assert info.layer_norm
    named = tmp_path / "nomic-embed-text-v1.5"
    save_vectors(["d"], wide, named, kind="document")
    assert PrecomputedVectors.load(named).info.layer_norm


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_read_as_float32(tmp_path, dtype):
    save_vectors(IDS, VECTORS, tmp_path, kind="document")
    np.save(tmp_path / "corpus.npy", VECTORS.astype(dtype))
    got = PrecomputedVectors.load(tmp_path).take(IDS, kind="document")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, VECTORS.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0, "all zeros")],
)
def test_a_row_without_a_direction_is_named(tmp_path, monkeypatch, value, message):
    monkeypatch.setattr(stream, "MAX_BLOCK_ROWS", 2)  # the bad row lies in the second chunk
    damaged = VECTORS.copy()
    damaged[2] = value
    with pytest.raises(DataError, match=message):
        save_vectors(IDS, damaged, tmp_path, kind="document")
    np.save(tmp_path / "corpus.npy", damaged)
    (tmp_path / "corpus.ids.txt").write_text("".join(f"{name}\n" for name in IDS))
    assert "id 'd3' (row 2)" in fails(tmp_path, message)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 64), dtype=np.int8), r"contains int8 \[4, 64\]"),
        (np.ones(4, dtype=np.float32), r"contains float32 \[4\]"),
        (np.array([["a"]], dtype=object), "damaged or not a .npy file"),
        (np.ones((3, 64), dtype=np.float32), "has 3 rows, but there are 4 ids"),
    ],
)
def test_an_array_of_another_shape_or_type_raises(folder, array, message):
    np.save(folder / "corpus.npy", array)
    assert "corpus.npy" in fails(folder, message)


def test_a_pickle_is_never_loaded(folder):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('ran')",)

    np.save(folder / "corpus.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    fails(folder, "damaged or not a .npy file")


@pytest.mark.parametrize("length", [5, 100, 500])
def test_a_truncated_file_is_one_line(folder, length):
    file = folder / "corpus.npy"
    file.write_bytes(file.read_bytes()[:length])
    fails(folder, "damaged or not a .npy file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("d1\nd2\nd1\nd4\n", "id 'd1' appears twice"),
        ("d1\nd2\n\nd4\n", r"corpus\.ids\.txt:3: has an empty line"),
        ("d1\nd2\nd3\n", "has 4 rows, but there are 3 ids"),
    ],
)
def test_ids_that_do_not_match_the_rows_raise(folder, text, message):
    (folder / "corpus.ids.txt").write_text(text)
    fails(folder, message)


def test_ids_in_no_known_encoding_raise(folder):
    (folder / "corpus.ids.txt").write_bytes(b"\xff\xfe\n")
    fails(folder, "cannot be read as UTF-8")


def test_a_file_without_ids_has_row_numbers_as_ids_and_this_is_reported(folder, caplog):
    (folder / "corpus.ids.txt").unlink()
    assert PrecomputedVectors.load(folder).ids("document") == ["0", "1", "2", "3"]
    (message,) = caplog.messages
    expected = "corpus.npy: no ids are read; the ids are row numbers, 0 to 3"
    assert message.endswith(expected)


def test_different_dims_of_corpus_and_queries_raise(folder):
    save_vectors(["q1"], VECTORS[:1, :32], folder, kind="query")
    fails(folder, r"corpus 64, queries 32")


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], [[1.0, 2.0], [1.0]], r"id 'b' \(row 1\) has 1 numbers, but the first has 2"),
        (["a", "b"], [[1.0], None], r"the vector of id 'b' \(row 1\) is missing"),
        (["a", None], [[1.0], [1.0]], "row 1 has no id"),
        (["a", "b"], [[1.0], [None]], r"id 'b' \(row 1\) has a null instead of a number"),
        (["a", "b"], [[], [1.0]], r"id 'b' \(row 1\) has 1 numbers, but the first has 0"),
        (["a", "b"], [[1], [2]], "not lists of float"),
        (["a", "b"], ["x", "y"], "not lists of float"),
        (["a", "a"], [[1.0], [2.0]], "id 'a' appears twice"),
    ],
)
@pytest.mark.parametrize("batch", [1, 4_096])
def test_bad_parquet_rows_are_named(tmp_path, monkeypatch, ids, vectors, message, batch):
    monkeypatch.setattr(arrow_files, "BATCH", batch)  # the bad row is in the second batch
    write_parquet(tmp_path / "corpus.parquet", ids, vectors)
    fails(tmp_path, message)


KINDS = [
    pa.list_(pa.float16()),
    pa.list_(pa.float32()),
    pa.list_(pa.float64(), 64),
    pa.large_list(pa.float32()),
    pa.list_(pa.float16(), 64),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("mapped", [False, True])
def test_vectors_of_many_row_groups_are_read_in_batches(tmp_path, monkeypatch, kind, mapped):
    monkeypatch.setattr(arrow_files, "BATCH", 64)
    if mapped:
        monkeypatch.setattr(mapped_files, "IN_MEMORY_BYTES", 1)
    rows = np.random.default_rng(2).standard_normal((1_000, 64)).astype(np.float16)
    ids = [f"d{number}" for number in range(len(rows))]
    vectors = pa.array([row.astype(kind.value_type.to_pandas_dtype()) for row in rows], type=kind)
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"id": ids, "vector": vectors}), path, row_group_size=90)
    loaded = PrecomputedVectors.load(tmp_path)
    assert loaded.ids("document") == ids
    np.testing.assert_array_equal(loaded.take(ids, kind="document"), rows.astype(np.float32))


@pytest.mark.parametrize("row_group_size", [5_000, 200_000])
def test_parquet_vectors_are_in_memory_once(tmp_path, row_group_size):
    """Arrow had all vectors in memory twice, as one array with offsets of 32 bits."""
    n, dim = 200_000, 256
    numbers = np.ones(n * dim, dtype=np.float32)
    offsets = pa.array(np.arange(0, (n + 1) * dim, dim, dtype=np.int32))
    vectors = pa.ListArray.from_arrays(offsets, pa.array(numbers))
    table = pa.table({"id": [f"d{row}" for row in range(n)], "vector": vectors})
    table = table.append_column("text", pa.array(["a long text " * 50] * n))
    write = {"row_group_size": row_group_size, "use_dictionary": False, "compression": "none"}
    pq.write_table(table, tmp_path / "corpus.parquet", **write)
    setup = (
        "import pyarrow.parquet; from pathlib import Path\n"
        "from nestvec.sources.load import load_embeddings as read"
    )
    read = f"values = read(Path({str(tmp_path / 'corpus.parquet')!r})).values"
    peak = peak_bytes(f"{read}; assert values.shape == ({n}, {dim})", setup=setup)
    assert peak < 2.5 * numbers.nbytes  # the array, 200,000 ids, and a few batches


def test_columns_of_a_vector_file_that_are_not_used_are_named_once(tmp_path, caplog):
    table = pa.table({"id": ["a"], "vector": [[1.0]], "text": ["t"], "year": [1]})
    pq.write_table(table, tmp_path / "corpus.parquet")
    PrecomputedVectors.load(tmp_path)
    (message,) = caplog.messages
    assert message.endswith(
        "corpus.parquet: columns 'text', 'year' are not read (not ids or vectors)"
    )


def test_a_file_of_parquet_with_two_columns_of_one_name_is_refused(tmp_path):
    columns = [pa.array(["a"]), pa.array([[1.0]]), pa.array(["b"])]
    table = pa.Table.from_arrays(columns, names=["id", "vector", "id"])
    pq.write_table(table, tmp_path / "corpus.parquet")
    fails(tmp_path, "column 'id' appears twice")


def test_bad_parquet_files_are_one_line(tmp_path):
    write_parquet(tmp_path / "corpus.parquet", ["a"], [[1.0]], name="values")
    fails(tmp_path, r"no column vector or embedding \(its columns: id, values\)")
    (tmp_path / "corpus.parquet").write_bytes(b"PAR1 and nothing more")
    fails(tmp_path, "damaged or not a Parquet file")
    write_parquet(tmp_path / "corpus.parquet", [], [], kind=pa.list_(pa.float32()))
    fails(tmp_path, "is empty")


def test_two_files_for_one_kind_are_ambiguous(folder):
    write_parquet(folder / "corpus.parquet", IDS, VECTORS.tolist())
    fails(folder, r"both corpus\.npy and corpus\.parquet")


def test_a_folder_without_vectors_is_recognized(folder, tmp_path_factory):
    assert has_vectors(folder)
    empty = tmp_path_factory.mktemp("empty")
    assert not has_vectors(empty)
    fails(empty, r"contains no vectors")


@pytest.mark.parametrize("ids", [["a"], ["a", "a"], ["a", ""], ["a", "b\nc"]])
def test_ids_that_could_not_be_read_back_are_not_written(tmp_path, ids):
    with pytest.raises(InvalidArgument):
        save_vectors(ids, VECTORS[:2], tmp_path / "out", kind="document")
    assert not (tmp_path / "out").exists()
