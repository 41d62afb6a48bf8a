"""Each reader reads a file that the library which people use for the format wrote."""

import csv
import gzip
import json

import datasets
import faiss
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nestvec as nv
from nestvec.sources import arrow_files, text_rows
from vector_files import DIM, HALF, IDS, ROWS, VECTORS, N, fails, numbered, same, write_lines


def test_numpy(tmp_path, caplog):
    path = tmp_path / "v.npy"
    np.save(path, VECTORS)
    loaded = nv.load_embeddings(path)
    numbered(loaded, caplog)
    assert not loaded.values.flags.owndata  # mapped
    (tmp_path / "v.ids.txt").write_text("".join(f"{name}\n" for name in IDS))
    same(nv.load_embeddings(path))
    np.save(path, HALF)
    assert nv.load_embeddings(path).values.dtype == np.float16
    for other in (VECTORS.astype(">f4"), np.asfortranarray(VECTORS), VECTORS.astype(float)):
        np.save(path, other)
        loaded = nv.load_embeddings(path)
        same(loaded)
        assert loaded.values.dtype == np.float32


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_archives(tmp_path, save, caplog):
    path = tmp_path / "v.npz"
    save(path, vectors=VECTORS, ids=np.array(IDS), years=np.arange(N))
    same(nv.load_embeddings(path))
    assert caplog.messages == [f"{path}: arrays 'years' are not read (not ids or vectors)"]
    save(path, emb=HALF, id=np.arange(100, 100 + N))
    loaded = nv.load_embeddings(path)
    same(loaded, HALF, [str(row + 100) for row in range(N)])
    assert loaded.values.dtype == np.float16
    save(path, np.asfortranarray(VECTORS))
    caplog.clear()
    numbered(nv.load_embeddings(path), caplog)
    save(path, a=VECTORS, b=VECTORS, names=np.array(IDS))
    fails(path, r"no array vector or .* \(its arrays: a float32\[40, 8\], b float32\[40, 8\]")
    same(nv.load_embeddings(path, vector_column="b", id_column="names"))


def test_an_archive_of_objects_is_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('ran')",)

    path = tmp_path / "v.npz"
    np.savez(path, vectors=VECTORS, ids=np.array([Bomb()] * N, dtype=object), allow_pickle=True)
    fails(path, "'ids' contains object")


def test_pandas_parquet(tmp_path):
    path = tmp_path / "v.parquet"
    pd.DataFrame({"id": range(N), "embedding": list(VECTORS)}).to_parquet(path)
    same(nv.load_embeddings(path), ids=[str(row) for row in range(N)])
    pd.DataFrame({"embedding": list(HALF)}, index=pd.Index(IDS, name="id")).to_parquet(path)
    loaded = nv.load_embeddings(path)
    same(loaded, HALF)
    assert loaded.values.dtype == np.float16


@pytest.mark.parametrize(
    "kind", [pl.Array(pl.Float32, DIM), pl.List(pl.Float64), pl.List(pl.Float32)]
)
@pytest.mark.parametrize("write", ["write_parquet", "write_ipc", "write_ipc_stream"])
def test_polars(tmp_path, kind, write):
    frame = pl.DataFrame({"id": IDS, "vector": ROWS}, schema={"id": pl.String, "vector": kind})
    path = tmp_path / ("v.parquet" if write == "write_parquet" else "v.arrow")
    getattr(frame, write)(path)
    same(nv.load_embeddings(path))


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_of_pandas(tmp_path, compression, monkeypatch):
    monkeypatch.setattr(arrow_files, "BATCH", 7)
    path = tmp_path / "v.feather"
    frame = pd.DataFrame({"_id": IDS, "vector": list(VECTORS)})
    frame.to_feather(path, compression=compression)
    same(nv.load_embeddings(path))


def test_arrow_streams_of_several_batches(tmp_path):
    table = pa.table({"id": IDS, "vector": pa.array(ROWS, pa.large_list(pa.float32()))})
    path = tmp_path / "v.arrows"
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=11)
    same(nv.load_embeddings(path))
    path.write_bytes(path.read_bytes()[:1_000])
    fails(path, "is damaged or not an Arrow file")


class _RayTensor(pa.ExtensionType):
    """The type of Ray's tensor columns, with its name, storage and metadata (Ray 2.60)."""

    def __init__(self, shape=(DIM,)):
        self.dims = shape
        super().__init__(pa.large_list(pa.float32()), "ray.data.arrow_tensor_v2")

    def __arrow_ext_serialize__(self):
        return json.dumps(self.dims).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls(tuple(json.loads(serialized)))


@pytest.mark.parametrize("registered", [False, True])
def test_tensor_columns_of_ray(tmp_path, registered):
    storage = pa.array(ROWS, pa.large_list(pa.float32()))
    vectors = pa.ExtensionArray.from_storage(_RayTensor(), storage)
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"id": IDS, "vector": vectors}), path)
    if registered:
        pa.register_extension_type(_RayTensor())
    try:
        same(nv.load_embeddings(path))
    finally:
        if registered:
            pa.unregister_extension_type("ray.data.arrow_tensor_v2")


def test_arrows_own_tensor_columns(tmp_path):
    path = tmp_path / "v.parquet"
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS)
    pq.write_table(pa.table({"id": IDS, "vector": tensors}), path)
    same(nv.load_embeddings(path))
    squares = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS.reshape(N, 2, DIM // 2))
    pq.write_table(pa.table({"id": IDS, "vector": squares}), path)
    fails(path, r"tensors of shape \[2, 4\]")


@pytest.mark.parametrize("name", ["v.jsonl", "v.jsonl.gz", "v.ndjson", "v"])
@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("orjson", [True, False])
def test_json_lines(tmp_path, monkeypatch, name, batch, orjson):
    monkeypatch.setattr(text_rows, "BATCH", batch)
    if not orjson:
        monkeypatch.setattr(text_rows, "_parser", lambda: json.loads)
    path = tmp_path / name
    if name.endswith(".gz"):
        with gzip.open(path, "wt") as file:
            file.writelines(
                json.dumps({"_id": name, "vector": row}) + "\n"
                for name, row in zip(IDS, ROWS, strict=True)
            )
    else:
        write_lines(path)
    same(nv.load_embeddings(path))


def test_json_lines_of_pandas(tmp_path, caplog):
    path = tmp_path / "v.jsonl"
    frame = pd.DataFrame({"id": range(N), "embedding": list(VECTORS), "text": "t"})
    frame.to_json(path, orient="records", lines=True, double_precision=15)
    same(nv.load_embeddings(path), ids=[str(row) for row in range(N)])
    assert caplog.messages == [f"{path}: column 'text' is not read (not ids or vectors)"]


@pytest.mark.parametrize("name", ["v.csv", "v.tsv", "v.csv.gz"])
def test_csv_of_pandas(tmp_path, name):
    path = tmp_path / name
    frame = pd.DataFrame({"id": IDS, "embedding": ROWS})
    frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    same(nv.load_embeddings(path))


def test_csv_of_long_vectors_and_of_the_module_csv(tmp_path):
    wide = np.random.default_rng(0).standard_normal((3, 9_000)).astype(np.float32)
    path = tmp_path / "v.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "vector"])
        writer.writerows([name, str(row)] for name, row in zip("abc", wide.tolist(), strict=True))
    limit = csv.field_size_limit()
    same(nv.load_embeddings(path), wide, ["a", "b", "c"])
    assert csv.field_size_limit() == limit


def test_csv_with_shortened_vectors_is_refused(tmp_path):
    path = tmp_path / "v.csv"
    pd.DataFrame({"id": ["a"], "embedding": [str(np.ones(2_000))]}).to_csv(path, index=False)
    assert "v.csv:2: the vector of id 'a' is not a list of numbers" in fails(path, "shortened")


def write_hdf5(path, **sets):
    with h5py.File(path, "w") as file:
        for name, values in sets.items():
            file[name] = values
        file.attrs["distance"] = "euclidean"


def test_hdf5_of_ann_benchmarks(tmp_path, caplog):
    path = tmp_path / "glove.hdf5"
    neighbors = np.zeros((5, 10), dtype=np.int32)
    write_hdf5(path, train=VECTORS, test=VECTORS[:5], neighbors=neighbors, distances=neighbors)
    numbered(nv.load_embeddings(path), caplog)
    unread = f"{path}: data sets 'distances', 'neighbors' are not read (not ids or vectors; "
    assert f"{unread}neighbors are exact nearest neighbors, not relevance labels)" in (
        caplog.messages
    )
    assert any("distance 'euclidean' is not used" in text for text in caplog.messages)
    caplog.clear()
    numbered(nv.load_embeddings(path, kind="query"), caplog, VECTORS[:5])
    model = nv.load_model(path)
    assert (len(model.ids("document")), len(model.ids("query"))) == (N, 5)


def test_hdf5_with_ids(tmp_path):
    path = tmp_path / "v.h5"
    write_hdf5(path, embeddings=HALF, ids=IDS)
    loaded = nv.load_embeddings(path)
    same(loaded, HALF)
    assert loaded.values.dtype == np.float16
    write_hdf5(path, a=VECTORS, b=VECTORS, names=IDS)
    fails(path, r"no data set train or .* \(its data sets: a float32\[40, 8\], b")
    same(nv.load_embeddings(path, vector_column="b", id_column="names"))


def test_hdf5_values_in_other_files_are_not_read(tmp_path):
    write_hdf5(tmp_path / "other.h5", train=VECTORS)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["train"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "train")
    fails(tmp_path / "v.h5", "has no data set train")


@pytest.mark.parametrize(("suffix", "dtype"), [("fvecs", "<f4"), ("bvecs", "u1"), ("ivecs", "<i4")])
def test_records_as_faiss_reads_them(tmp_path, suffix, dtype, caplog):
    values = np.abs(VECTORS * 40).astype(dtype) + np.ones(1, dtype)
    path = tmp_path / f"v.{suffix}"
    with path.open("wb") as file:
        for row in values:
            file.write(np.int32(DIM).tobytes() + row.tobytes())
    loaded = nv.load_embeddings(path)
    numbered(loaded, caplog, values.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-5])
    fails(path, "no multiple of a record of 8 dims")


def test_fvecs_read_as_faiss_contrib_reads_them(tmp_path):
    from faiss.contrib.vecs_io import fvecs_read

    nv.save_embeddings(IDS, VECTORS, tmp_path / "v.fvecs")
    np.testing.assert_array_equal(fvecs_read(str(tmp_path / "v.fvecs")), VECTORS)


@pytest.mark.parametrize(
    ("suffix", "dtype"), [("fbin", "<f4"), ("u8bin", "u1"), ("i8bin", "i1"), ("f16bin", "<f2")]
)
def test_matrices_of_big_ann_benchmarks(tmp_path, suffix, dtype, caplog):
    values = np.clip(VECTORS * 20, 1, 99).astype(dtype)
    path = tmp_path / f"v.{suffix}"
    path.write_bytes(np.array([N, DIM], dtype="<u4").tobytes() + values.tobytes())
    numbered(nv.load_embeddings(path), caplog, values.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-1])
    fails(path, "40 vectors of 8 dims have")


@pytest.mark.parametrize("metric", [faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2, faiss.METRIC_L1])
def test_flat_indexes_of_faiss(tmp_path, metric, caplog):
    path = tmp_path / "v.faiss"
    index = faiss.IndexFlat(DIM, metric)
    index.add(VECTORS)
    faiss.write_index(index, str(path))
    numbered(nv.load_embeddings(path), caplog)
    named = any("metric" in text for text in caplog.messages)
    assert named == (metric != faiss.METRIC_INNER_PRODUCT)


@pytest.mark.parametrize("wrapper", [faiss.IndexIDMap, faiss.IndexIDMap2])
def test_faiss_indexes_with_ids(tmp_path, wrapper):
    path = tmp_path / "v.index"
    index = wrapper(faiss.IndexFlatIP(DIM))
    index.add_with_ids(VECTORS, np.arange(N) * 1_000_000_000_000)
    faiss.write_index(index, str(path))
    same(nv.load_embeddings(path), ids=[str(row * 1_000_000_000_000) for row in range(N)])
    content = path.read_bytes()
    for end in (3, 20, 40, 100, len(content) - 8, len(content) - 1):
        path.write_bytes(content[:end])
        fails(path, "damaged|not a known")
    path.write_bytes(content + b"1")
    fails(path, "is damaged")


@pytest.mark.parametrize(
    ("factory", "name"),
    [("HNSW8,Flat", "IndexHNSWFlat"), ("IVF2,Flat", "IndexIVFFlat"), ("SQ8", "ScalarQuantizer")],
)
def test_other_faiss_indexes_are_refused_by_name(tmp_path, factory, name):
    index = faiss.index_factory(DIM, factory)
    index.train(VECTORS)
    index.add(VECTORS)
    faiss.write_index(index, str(tmp_path / "v.faiss"))
    fails(tmp_path / "v.faiss", rf"is an index \w*{name}, not a flat index")


def test_datasets_writes_parquet_and_csv(tmp_path):
    data = datasets.Dataset.from_dict({"id": IDS, "embedding": ROWS})
    data.to_parquet(tmp_path / "v.parquet")
    data.to_json(tmp_path / "v.jsonl")
    data.to_csv(tmp_path / "v.csv", index=False)
    for suffix in ("parquet", "jsonl"):
        same(nv.load_embeddings(tmp_path / f"v.{suffix}"))
    loaded = nv.load_embeddings(tmp_path / "v.csv")  # the text of NumPy, with 8 decimals
    same(loaded, loaded.values)
    np.testing.assert_allclose(loaded.values, VECTORS, atol=1e-8)
