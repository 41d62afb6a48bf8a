"""Embed a corpus from and to a real S3 server: SeaweedFS, on the loopback interface."""

import pytest
from s3_server import s3_server

from nestvec.bulk.embedding import count_embedded, embed_corpus, embed_texts
from nestvec.bulk.job import EmbedSettings
from nestvec.bulk.texts import TextSource
from nestvec.data.corpus import open_corpus
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.object_storage import Bucket
from nestvec.models.load import load_model
from nestvec.sources.manifest import EmbeddingsManifest


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """The URL of an empty bucket; the environment names its server."""
    with s3_server(tmp_path_factory.mktemp("s3"), "embeddings") as url:
        yield url


def contents(url):
    found = Bucket(url)
    return {name: found.read(name) for name in found.names()}


def test_objects_equal_the_files_of_a_local_run(bucket, word_model, corpus_file, tmp_path):
    Bucket(f"{bucket}/texts").write("corpus.jsonl", corpus_file.read_bytes())
    with TextSource(f"{bucket}/texts/corpus.jsonl").opened() as texts:
        done = embed_texts(
            load_model(word_model), texts, f"{bucket}/equal", EmbedSettings(shard_rows=90)
        )
    assert (done.place, done.encoded) == ("s3://embeddings/equal/corpus", 400)
    embed_corpus(str(word_model), open_corpus(corpus_file), tmp_path, shard_rows=90)
    local = {path.name: path.read_bytes() for path in (tmp_path / "corpus").iterdir()}
    assert contents(f"{bucket}/equal/corpus") == local
    assert EmbeddingsManifest.from_text(local["embeddings.json"].decode(), "x").rows == 400


def test_a_prefix_is_read_as_a_folder(bucket, corpus_file):
    Bucket(f"{bucket}/folder").write("corpus.jsonl", corpus_file.read_bytes())
    Bucket(f"{bucket}/folder").write("image.png", b"no text")
    with TextSource(f"{bucket}/folder").opened() as texts:
        assert dict(texts) == dict(open_corpus(corpus_file))


def test_an_interrupted_run_continues(bucket, word_model, corpus_file):
    out, texts = f"{bucket}/continued", open_corpus(corpus_file)

    def interrupt(done, _total):
        if done >= 180:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_corpus(str(word_model), texts, out, shard_rows=90, on_progress=interrupt)
    stored = count_embedded(out)
    assert 90 <= stored < 400
    again = embed_corpus(str(word_model), texts, out, shard_rows=90)
    assert again.encoded == 400 - stored
    assert embed_corpus(str(word_model), texts, out, shard_rows=90).encoded == 0


def test_failures_are_one_line_without_credentials(bucket, monkeypatch):
    with pytest.raises(InvalidArgument, match="names no bucket"):
        Bucket("s3://")
    with (
        pytest.raises(DataError, match="has no object with a suffix"),
        TextSource(f"{bucket}/nothing").opened(),
    ):
        pass
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-value")
    with pytest.raises(DataError, match=r"s3://embeddings/x/y: cannot be written") as raised:
        Bucket(f"{bucket}/x").write("y", b"z")
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
