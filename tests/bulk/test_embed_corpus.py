"""Embed a corpus in shards: the vectors, the files, and what a later run continues or refuses."""

import json

import numpy as np
import polars
import pyarrow.parquet as pq
import pytest

from nestvec.bulk.embedding import count_embedded, embed_corpus
from nestvec.bulk.job import EmbedSettings
from nestvec.bulk.texts import TextSource, split_texts
from nestvec.codec.prefix import prefix
from nestvec.data.corpus import Corpus
from nestvec.errors import DataError, InvalidArgument, ModelError
from nestvec.models.load import load_model
from nestvec.sources.manifest import read_manifest
from nestvec.types import PRECISIONS, Document


def vectors_of(folder):
    """Return the ids and the stored vectors of all shards, in the order of the manifest."""
    manifest = read_manifest(folder)
    tables = [pq.read_table(folder / shard.file) for shard in manifest.shards]
    ids = [id_ for table in tables for id_ in table["id"].to_pylist()]
    blocks = [np.stack(table["vector"].to_numpy(zero_copy_only=False)) for table in tables]
    return ids, np.concatenate(blocks)


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_vectors_are_truncated_renormalized_prefixes_in_the_order_of_the_corpus(
    word_model, documents, tmp_path, precision
):
    done = embed_corpus(
        str(word_model), documents, tmp_path, dim=16, precision=precision, shard_rows=30
    )
    ids, vectors = vectors_of(tmp_path / "corpus")
    texts = [each.content for each in documents.values()]
    expected = prefix(load_model(word_model).encode(texts, kind="document"), 16)
    assert ids == list(documents)
    assert vectors.dtype == precision
    np.testing.assert_allclose(vectors, expected, atol=1e-6 if precision == "float32" else 1e-3)
    assert [shard.rows for shard in done.manifest.shards] == [30, 30, 30, 10]
    assert done.encoded == 100 and done.manifest.complete


@pytest.mark.parametrize("shard_rows", [30, 1_000])
@pytest.mark.parametrize("precision", sorted(set(PRECISIONS) - {"float32", "float16"}))
def test_the_manifest_contains_the_codec_that_decodes_the_vectors(
    word_model, documents, tmp_path, precision, shard_rows
):
    texts = {id_: each for id_, each in documents.items() if each.text}
    embed_corpus(str(word_model), texts, tmp_path, precision=precision, shard_rows=shard_rows)
    codec = read_manifest(tmp_path / "corpus").codec
    _, codes = vectors_of(tmp_path / "corpus")
    embeddings = load_model(word_model).encode(
        [each.content for each in texts.values()], kind="document"
    )
    np.testing.assert_array_equal(codes, codec.encode(embeddings))
    cosines = np.sum(codec.decode(codes) * codec.prepare(embeddings), axis=1)
    assert cosines.mean() > (0.7 if precision == "binary" else 0.85)


def test_polars_reads_a_shard_as_arrays(word_model, documents, tmp_path):
    embed_corpus(str(word_model), documents, tmp_path)
    frame = polars.read_parquet(tmp_path / "corpus" / "00000.parquet")
    assert frame.schema["vector"] == polars.Array(polars.Float16, 32)


def test_a_finished_run_encodes_nothing_again(word_model, documents, tmp_path, monkeypatch):
    embed_corpus(str(word_model), documents, tmp_path, shard_rows=30)
    before = files_of(tmp_path / "corpus")
    model = load_model(word_model)
    monkeypatch.setattr(type(model), "encode", lambda *_, **__: pytest.fail("encoded"))
    assert embed_corpus(model, documents, tmp_path, shard_rows=30).encoded == 0
    assert files_of(tmp_path / "corpus") == before


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_missing_or_damaged_shard_is_embedded_again(
    word_model, documents, tmp_path, caplog, precision
):
    def embed():
        return embed_corpus(
            str(word_model), documents, tmp_path, precision=precision, shard_rows=30
        )

    embed()
    before = files_of(tmp_path / "corpus")
    (tmp_path / "corpus" / "00001.parquet").unlink()
    damaged = tmp_path / "corpus" / "00002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert embed().encoded == 60
    assert files_of(tmp_path / "corpus") == before
    assert "00002.parquet: differs from its checksum" in caplog.text


def test_a_shard_is_recognized_without_an_entry_in_the_manifest(word_model, documents, tmp_path):
    """A run may be killed after the rename of a shard and before that of the manifest."""
    embed_corpus(str(word_model), documents, tmp_path, shard_rows=30)
    manifest = tmp_path / "corpus" / "embeddings.json"
    before = manifest.read_text()
    values = json.loads(before)
    manifest.write_text(json.dumps(values | {"shards": values["shards"][:1], "complete": False}))
    assert embed_corpus(str(word_model), documents, tmp_path, shard_rows=30).encoded == 0
    assert manifest.read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 8}, r"dim \(32 before, 8 now\)"),
        ({"precision": "float32"}, r"precision \(float16 before, float32 now\)"),
        ({"shard_rows": 31}, r"shard_rows \(30 before, 31 now\)"),
    ],
)
def test_a_job_with_another_setting_is_refused(word_model, documents, tmp_path, change, message):
    embed_corpus(str(word_model), documents, tmp_path, shard_rows=30)
    before = files_of(tmp_path / "corpus")
    with pytest.raises(DataError, match=message):
        embed_corpus(str(word_model), documents, tmp_path, **{"shard_rows": 30, **change})
    assert files_of(tmp_path / "corpus") == before


def test_a_job_with_another_prompt_or_corpus_is_refused(word_model, documents, tmp_path):
    embed_corpus(str(word_model), documents, tmp_path, shard_rows=30)
    before = files_of(tmp_path / "corpus")
    prompted = load_model(word_model, prompts={"document": "w1 "})
    with pytest.raises(DataError, match="document prompt"):
        embed_corpus(prompted, documents, tmp_path, shard_rows=30)
    with pytest.raises(DataError, match=r"corpus \(100 texts before, 101 now\)"):
        embed_corpus(str(word_model), {**documents, "new": Document("w1")}, tmp_path, shard_rows=30)
    changed = {**documents, "d40": Document("other words")}
    with pytest.raises(DataError, match=r"00001\.parquet: was embedded from other texts"):
        embed_corpus(str(word_model), changed, tmp_path, shard_rows=30)
    assert files_of(tmp_path / "corpus") == before


def test_a_folder_with_other_files_is_not_touched(word_model, documents, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"contains 'mine\.txt' and no embeddings\.json"):
        embed_corpus(str(word_model), documents, tmp_path)
    assert files_of(tmp_path / "corpus") == {"mine.txt": b"mine"}


def test_two_runs_do_not_write_to_one_folder(word_model, documents, tmp_path):
    def again(_done, _total):
        with pytest.raises(DataError, match="another process embeds texts into this folder"):
            embed_corpus(str(word_model), documents, tmp_path)

    embed_corpus(str(word_model), documents, tmp_path, on_progress=again)


def test_zero_vectors_are_counted_and_named(word_model, documents, tmp_path, caplog):
    manifest = embed_corpus(str(word_model), documents, tmp_path, shard_rows=30).manifest
    assert [shard.zero_vectors for shard in manifest.shards] == [0, 0, 0, 1]
    assert "1 text with a zero vector, such as 'empty'" in caplog.text


def test_truncated_texts_are_counted(bert_folder, tmp_path, caplog):
    texts = {str(n): Document("read " * n) for n in (1, 20, 3, 40)}
    manifest = embed_corpus(str(bert_folder), texts, tmp_path, shard_rows=2).manifest
    assert [shard.truncated for shard in manifest.shards] == [1, 1]
    assert "2 texts truncated" in caplog.text


def test_an_empty_corpus_is_a_complete_job(word_model, tmp_path, caplog):
    manifest = embed_corpus(str(word_model), {}, tmp_path).manifest
    assert manifest.complete and manifest.shards == ()
    assert "the corpus is empty" in caplog.text


def test_an_untrained_dim_is_named(word_model, documents, tmp_path, caplog):
    embed_corpus(str(word_model), documents, tmp_path, dim=12)
    assert "not known to be trained for 12 dims" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 33}, "dim=33 is not from 1 to full_dim=32"),
        ({"dim": 15, "precision": "pq4"}, "dim=15 is odd"),
        ({"precision": "int9"}, "precision 'int9' is not one of"),
        ({"shard_rows": 0}, "shard_rows=0 is below 1"),
    ],
)
def test_impossible_settings_are_refused_before_a_file_is_written(
    word_model, documents, tmp_path, settings, message
):
    with pytest.raises(InvalidArgument, match=message):
        embed_corpus(str(word_model), documents, tmp_path, **settings)
    assert not (tmp_path / "corpus").exists()


def test_vectors_that_are_not_finite_are_refused(word_model, documents, tmp_path, monkeypatch):
    model = load_model(word_model)
    nan = np.full((30, 32), np.nan, np.float32)
    monkeypatch.setattr(type(model), "encode", lambda *_, **__: nan)
    with pytest.raises(ModelError, match="NaN or infinite values for 30 of 30 texts"):
        embed_corpus(model, documents, tmp_path, shard_rows=30)
    assert count_embedded(tmp_path) == 0


def test_queries_of_a_folder_are_embedded_with_their_prompt(word_model, tmp_path):
    for name, text in (("corpus", "w2"), ("queries", "w1")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"_id": name, "text": text}) + "\n")
    model = load_model(word_model, prompts={"query": "w3 "})
    with TextSource(str(tmp_path), "query").opened() as texts:
        embed_corpus(model, texts, tmp_path / "out", kind="query", precision="float32")
    ids, vectors = vectors_of(tmp_path / "out" / "queries")
    expected = prefix(load_model(word_model).encode(["w3 w1"], kind="document"), 32)
    assert ids == ["queries"]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_passage_words_without_text_files_are_refused(corpus_file):
    with (
        pytest.raises(InvalidArgument, match="applies to documents in a folder of text files"),
        TextSource(str(corpus_file), passage_words=50).opened(),
    ):
        pass


def test_only_one_shard_of_texts_is_read_at_a_time():
    read = []

    def documents():
        for number in range(10):
            read.append(number)
            yield str(number), Document("w1")

    shards = split_texts(Corpus(documents, 10), 3)
    first = next(shards)
    assert (first.number, first.ids, len(read)) == (0, ("0", "1", "2"), 3)
    assert [each.number for each in shards] == [1, 2, 3]


def test_settings_have_limits():
    with pytest.raises(InvalidArgument, match="shard_rows"):
        EmbedSettings(shard_rows=0)
