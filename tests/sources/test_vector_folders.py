"""Folders of shards and folders with documents and queries, as other programs write them."""

import hashlib
import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nestvec as nv
from nestvec.codec.codec import Codec
from nestvec.models.precomputed import PrecomputedVectors, has_vectors
from nestvec.sources.manifest import EmbeddingsManifest, Shard, write_manifest
from vector_files import fails

N, DIM = 60, 16
IDS = [f"d{row}" for row in range(N)]
VECTORS = np.random.default_rng(5).standard_normal((N, DIM)).astype(np.float32)
ROWS = VECTORS.tolist()
PARTS = [slice(0, 25), slice(25, 50), slice(50, N)]


def table(part=slice(None), values=VECTORS, kind=None):
    kind = kind or pa.list_(pa.float32(), DIM)
    return pa.table({"id": IDS[part], "vector": pa.array(values[part].tolist(), kind)})


def write_shards(folder, kinds=(None, None, None), name="part-{}.parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (part, kind) in enumerate(zip(PARTS, kinds, strict=True)):
        pq.write_table(table(part, kind=kind), folder / name.format(number))


def same(loaded, values=VECTORS):
    assert list(loaded.ids) == IDS
    np.testing.assert_array_equal(loaded.values, values)


def test_shards_are_read_in_the_order_of_their_names(tmp_path):
    kinds = (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), DIM))
    write_shards(tmp_path / "v", kinds)
    (tmp_path / "v" / "_SUCCESS").touch()  # Spark
    same(nv.load_embeddings(tmp_path / "v"))
    assert has_vectors(tmp_path / "v")


def test_float16_stays_if_all_shards_are_float16(tmp_path):
    half = VECTORS.astype(np.float16)
    for number, part in enumerate(PARTS):
        pq.write_table(table(part, half, pa.list_(pa.float16())), tmp_path / f"{number}.parquet")
    loaded = nv.load_embeddings(tmp_path)
    same(loaded, half)
    assert loaded.values.dtype == np.float16
    pq.write_table(table(PARTS[0], half.astype(np.float32)), tmp_path / "0.parquet")
    assert nv.load_embeddings(tmp_path).values.dtype == np.float32


def test_a_bad_shard_is_named_with_its_row(tmp_path):
    write_shards(tmp_path)
    narrow = VECTORS[PARTS[1], :8]
    pq.write_table(
        pa.table({"id": IDS[PARTS[1]], "vector": narrow.tolist()}), tmp_path / "part-1.parquet"
    )
    fails(tmp_path, r"part-1.parquet: .*'d25' \(row 0\) has 8 numbers, but the first has 16")
    half = (tmp_path / "part-2.parquet").read_bytes()[:300]
    (tmp_path / "part-1.parquet").write_bytes(half)
    fails(tmp_path, r"part-1.parquet: is damaged or not a Parquet file")
    pq.write_table(table(PARTS[0]), tmp_path / "part-1.parquet")
    fails(tmp_path, r"id 'd0' appears twice \(rows 0 and 25\)")


def test_a_missing_shard_of_a_numbered_set_is_named(tmp_path):
    write_shards(tmp_path, name="train-0000{}-of-00003.parquet")
    same(nv.load_embeddings(tmp_path))
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    fails(tmp_path, "contains 2 shards of 3")


@pytest.mark.parametrize("shards", [1, 3])
def test_folders_of_datasets(tmp_path, shards):
    rows = {"id": IDS, "embedding": VECTORS.tolist(), "text": ["t"] * N}
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "embedding": datasets.Sequence(datasets.Value("float32"), length=DIM),
            "text": datasets.Value("string"),
        }
    )
    data = datasets.Dataset.from_dict(rows, features=features)
    data.save_to_disk(tmp_path / "saved", num_shards=shards)
    same(nv.load_embeddings(tmp_path / "saved"))
    datasets.DatasetDict({"train": data}).save_to_disk(tmp_path / "dict")
    same(nv.load_embeddings(tmp_path / "dict"))
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "two")
    fails(tmp_path / "two", r"contains 2 splits \(train, test\)")
    picked = data.select(range(N - 1, -1, -1))
    picked.save_to_disk(tmp_path / "picked")
    assert list(nv.load_embeddings(tmp_path / "picked").ids) == IDS[::-1]


def test_a_missing_file_of_datasets_is_named(tmp_path):
    data = datasets.Dataset.from_dict({"id": IDS, "embedding": VECTORS.tolist()})
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()
    fails(tmp_path / "saved", "lists the file 'data-00001-of-00002.arrow', which is missing")
    state = tmp_path / "saved" / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../other.arrow"}]}))
    fails(tmp_path / "saved", "lists the file")


def test_documents_and_queries_in_any_format(tmp_path):
    write_shards(tmp_path / "corpus")
    nv.save_embeddings(["q1"], VECTORS[:1], tmp_path / "queries.jsonl")
    same(nv.load_embeddings(tmp_path))
    assert list(nv.load_embeddings(tmp_path, kind="query").ids) == ["q1"]
    model = nv.load_model(tmp_path)
    assert model.ids("query") == ["q1"]
    np.testing.assert_array_equal(model.take(["d7"], kind="document"), VECTORS[[7]])


def test_texts_next_to_vectors_are_no_vectors(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d0", "text": "t"}\n')
    (tmp_path / "queries").mkdir()
    pd.DataFrame({"_id": ["q"], "text": ["t"]}).to_parquet(tmp_path / "queries" / "test-0.parquet")
    assert not has_vectors(tmp_path)
    fails(tmp_path, "contains no vectors of documents")
    nv.save_embeddings(IDS, VECTORS, tmp_path / "corpus.npy")
    same(nv.load_embeddings(tmp_path))
    pd.DataFrame({"_id": IDS, "text": IDS}).to_parquet(tmp_path / "corpus.parquet")
    same(nv.load_embeddings(tmp_path))
    nv.save_embeddings(IDS, VECTORS, tmp_path / "corpus.parquet")
    fails(tmp_path, r"contains both corpus\.npy and corpus\.parquet")


def test_a_model_folder_with_parquet_files_contains_no_vectors(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert not has_vectors(tmp_path)


def embedded(folder, *, precision="float16", complete=True, values=VECTORS, codec=None):
    """Write shards as ``nestvec embed`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, part in enumerate(PARTS):
        name = f"{number:05}.parquet"
        pq.write_table(pa.table({"id": IDS[part], "vector": values[part]}), folder / name)
        checksum = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        shards.append(Shard(name, part.stop - part.start, checksum))
    info = nv.ModelInfo("owner/own", "1" * 64, DIM, (DIM, 4), "config.json", True)
    manifest = EmbeddingsManifest(
        info, "document", DIM, precision, tuple(shards), codec=codec, complete=complete
    )
    write_manifest(manifest, folder)
    return manifest


def lists(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def test_shards_of_nestvec_name_their_model(tmp_path):
    half = VECTORS.astype(np.float16)
    embedded(tmp_path / "corpus", values=lists(half))
    pq.write_table(table(PARTS[0]), tmp_path / "corpus" / "00009.parquet")  # not listed
    loaded = nv.load_embeddings(tmp_path)
    same(loaded, half)
    assert (loaded.model, loaded.values.dtype) == ("owner/own", np.float16)
    same(nv.load_embeddings(tmp_path / "corpus"), half)
    assert nv.load_model(tmp_path).info.dims == (DIM, 4)


@pytest.mark.parametrize("as_lists", [True, False])
def test_codes_are_decoded(tmp_path, as_lists):
    codec = Codec.fit(VECTORS, DIM, "int8")
    codes = codec.encode(VECTORS)
    column = lists(codes) if as_lists else pa.array([row.tobytes() for row in codes])
    embedded(tmp_path, precision="int8", values=column, codec=codec)
    same(nv.load_embeddings(tmp_path), codec.decode(codes))


def test_unfinished_missing_and_shorter_shards_are_named(tmp_path):
    embedded(tmp_path, values=lists(VECTORS), complete=False)
    fails(tmp_path, r"unfinished run \(3 shards with 60 vectors are complete\)")
    embedded(tmp_path, values=lists(VECTORS))
    pq.write_table(table(slice(25, 49)), tmp_path / "00001.parquet")
    fails(tmp_path, r"00001.parquet: has 24 vectors, but embeddings.json states 25")
    embedded(tmp_path, values=lists(VECTORS))
    pq.write_table(table(PARTS[1], VECTORS + 1), tmp_path / "00001.parquet")
    fails(tmp_path, r"00001.parquet: differs from its checksum in embeddings.json\. Run the same")
    (tmp_path / "00001.parquet").unlink()
    fails(tmp_path, r"00001.parquet: is missing, but embeddings.json lists it")


def test_zero_vectors_are_allowed_only_where_nestvec_wrote_them(tmp_path):
    zero = VECTORS.copy()
    zero[3] = 0
    embedded(tmp_path / "own", values=lists(zero))
    same(nv.load_embeddings(tmp_path / "own"), zero)
    (tmp_path / "own" / "embeddings.json").unlink()
    fails(tmp_path / "own", r"'d3' \(row 3\) is all zeros")


def test_answers_of_a_batch_can_be_the_vectors_of_a_folder(tmp_path):
    vectors = ({"data": [{"index": 0, "embedding": row}], "model": "a-model"} for row in ROWS)
    answers = (
        {"custom_id": name, "response": {"status_code": 200, "body": body}}
        for name, body in zip(IDS, vectors, strict=True)
    )
    lines = (json.dumps(answer) + "\n" for answer in answers)
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    loaded = nv.load_embeddings(tmp_path / "corpus.jsonl")
    same(loaded)
    assert loaded.model == "a-model"
    assert nv.load_model(tmp_path).ids("document") == IDS


def test_the_recorded_model_of_a_folder_is_read(tmp_path):
    nv.save_embeddings(IDS, VECTORS, tmp_path / "corpus.npy")
    assert nv.load_embeddings(tmp_path).model == ""
    (tmp_path / "vectors.json").write_text('{"version": 1, "model": "owner/name"}')
    assert nv.load_embeddings(tmp_path).model == "owner/name"
    wide = np.ones((1, 768), dtype=np.float32)
    nv.save_embeddings(["d"], wide, tmp_path / "corpus.npy")
    (tmp_path / "vectors.json").write_text('{"version": 1, "model": "nomic-embed-text-v1.5"}')
    assert PrecomputedVectors.load(tmp_path).info.dims == (768, 512, 256, 128, 64)
    (tmp_path / "vectors.json").write_text('{"version": 1}')
    fails(tmp_path, "has no name of a model")
