"""The cache before a fake model that remembers what it was asked for."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestvec.errors import DataError, ModelError
from nestvec.models import cache as cache_module
from nestvec.models.cache import CachedEncoder, default_cache_folder
from nestvec.models.encoding import embed
from nestvec.types import Encoder, ModelInfo

DIM = 8
INFO = ModelInfo(
    name="fake",
    fingerprint="f" * 64,
    full_dim=DIM,
    dims=(8, 4),
    dims_source="requested",
    dims_trained=False,
    query_prompt="find: ",
    max_tokens=3,
)


class Fake:
    """A vector is a function of kind, prompt and text."""

    def __init__(self, info=INFO, settings=None):
        self.info = info
        self.settings = settings or {"dtype": "float32", "torch": "2.13"}
        self.encoded = []
        self.counted = 0

    def encode(self, texts, *, kind, on_progress=None):
        self.encoded += texts
        prompt = self.info.query_prompt if kind == "query" else self.info.document_prompt
        rows = [hashlib.sha256(f"{kind}{prompt}{text}".encode()).digest() for text in texts]
        numbers = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, 32)[:, :DIM]
        return numbers.astype(np.float32)

    def count_truncated(self, texts, *, kind):
        self.counted += 1
        return sum(len(text.split()) > self.info.max_tokens for text in texts)


def encode(texts, folder, model=None, kind="document"):
    model = model or Fake()
    got = CachedEncoder(model, folder).encode(texts, kind=kind)
    np.testing.assert_array_equal(got, Fake(model.info).encode(texts, kind=kind))
    assert got.dtype == np.float32
    return model.encoded


def test_it_is_an_encoder_and_shows_the_one_beneath(tmp_path):
    model = Fake()
    cached = CachedEncoder(model, tmp_path)
    assert isinstance(cached, Encoder)
    assert cached.info is INFO
    assert cached.uncached is model


def test_the_time_of_a_text_is_the_model_s_own_and_kept(tmp_path, monkeypatch):
    texts = [f"text {number}" for number in range(40)]
    first = CachedEncoder(Fake(), tmp_path)
    first.encode(texts, kind="query")
    first.uncached.encoded.clear()
    took = first.encode_ms(texts, kind="query")
    assert took > 0
    assert first.uncached.encoded == texts[:32]
    again = CachedEncoder(Fake(), tmp_path)
    assert again.encode_ms(texts, kind="query") == pytest.approx(took, abs=1e-6)
    assert again.uncached.encoded == []
    again.encode_ms(texts, kind="document")
    assert again.uncached.encoded == texts[:32]
    monkeypatch.setattr(cache_module.platform, "node", lambda: "another computer")
    elsewhere = CachedEncoder(Fake(), tmp_path)
    elsewhere.encode_ms(texts, kind="query")
    assert elsewhere.uncached.encoded == texts[:32]


def test_each_text_is_encoded_once_within_a_call_and_over_all(tmp_path):
    assert encode(["a", "b", "a", "a"], tmp_path) == ["a", "b"]
    assert encode(["c", "a", "c", "b"], tmp_path) == ["c"]
    assert encode(["a", "b", "c"], tmp_path) == []
    assert encode([], tmp_path) == []


def test_queries_and_documents_are_kept_apart_even_without_prompts(tmp_path):
    info = replace(INFO, query_prompt="")
    assert encode(["a"], tmp_path, Fake(info), kind="query") == ["a"]
    assert encode(["a"], tmp_path, Fake(info), kind="document") == ["a"]
    assert encode(["a"], tmp_path, Fake(info), kind="query") == []


@pytest.mark.parametrize(
    "model",
    [
        Fake(replace(INFO, fingerprint="e" * 64)),
        Fake(replace(INFO, max_tokens=4)),
        Fake(replace(INFO, max_tokens=None)),
        Fake(replace(INFO, query_prompt="search: ")),
        Fake(settings={"dtype": "bfloat16", "torch": "2.13"}),
        Fake(settings={"dtype": "float32", "torch": "2.14"}),
    ],
    ids=["weights", "max_seq_length", "no limit", "prompt", "dtype", "library"],
)
def test_what_vectors_depend_on_is_part_of_the_key(tmp_path, model):
    encode(["a", "b"], tmp_path, kind="query")
    assert encode(["a", "b"], tmp_path, model, kind="query") == ["a", "b"]
    assert encode(["a", "b"], tmp_path, kind="query") == []


@pytest.mark.parametrize(
    ("prompt", "text"), [("find: a", "b"), ("find", ": ab"), ("", "find: ab"), ("find: ", "ab ")]
)
def test_a_prompt_and_a_text_are_not_taken_for_others_that_read_alike(tmp_path, prompt, text):
    encode(["ab"], tmp_path, kind="query")
    assert encode([text], tmp_path, Fake(replace(INFO, query_prompt=prompt)), kind="query") == [
        text
    ]


def test_what_no_vector_depends_on_is_not(tmp_path):
    encode(["a"], tmp_path)
    assert encode(["a"], tmp_path, Fake(replace(INFO, name="elsewhere", dims=(8, 2)))) == []


@pytest.mark.parametrize("text", ["", "a\0b", "a\n", "é", "e\u0301", "\ud800"])
def test_odd_texts_are_texts(tmp_path, text):
    first = CachedEncoder(Fake(), tmp_path)
    first.uncached.encode = lambda texts, **_: np.full((len(texts), DIM), 3, dtype=np.float32)
    first.encode([text, "a"], kind="document")
    again = CachedEncoder(Fake(), tmp_path)
    assert (again.encode([text], kind="document") == 3).all()


def test_progress_counts_cached_texts_at_once_and_twins_together(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    encode(["a", "b"], tmp_path)
    seen = []
    CachedEncoder(Fake(), tmp_path).encode(
        ["a", "c", "b", "d", "c", "e"],
        kind="document",
        on_progress=lambda *now: seen.append(now),
    )
    assert seen == [(2, 6), (5, 6), (6, 6)]


def test_the_count_of_cut_texts_is_kept_for_these_texts_only(tmp_path):
    model, texts = Fake(), ["a", "a b c d", "a b c"]
    for _ in range(2):
        assert CachedEncoder(model, tmp_path).count_truncated(texts, kind="document") == 1
    assert model.counted == 1
    assert CachedEncoder(model, tmp_path).count_truncated(texts[1:], kind="document") == 1
    assert model.counted == 2
    assert CachedEncoder(Fake(replace(INFO, max_tokens=2)), tmp_path).count_truncated(
        texts, kind="document"
    ) == 2  # fmt: skip


@pytest.mark.parametrize("content", ["", "{}", '{"cut": 9, "texts": 1}', '{"cut": 1, "texts": 2}'])
def test_a_damaged_count_is_counted_again(tmp_path, content):
    cached = CachedEncoder(Fake(), tmp_path)
    cached.count_truncated(["a"], kind="document")
    (file,) = tmp_path.rglob("*.cut.json")
    file.write_text(content)
    assert CachedEncoder(Fake(), tmp_path).count_truncated(["a"], kind="document") == 0


def test_what_was_encoded_before_an_interruption_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    model = Fake()
    plain = model.encode

    def interrupted(texts, *, kind, on_progress=None):
        if "e" in texts:
            raise KeyboardInterrupt
        return plain(texts, kind=kind)

    model.encode = interrupted
    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(model, tmp_path).encode(list("abcdef"), kind="document")
    assert encode(list("abcdef"), tmp_path) == ["e", "f"]


def test_nan_is_never_kept_and_the_text_is_named(tmp_path):
    model = Fake()
    model.encode = lambda texts, **_: np.full((len(texts), DIM), np.nan)
    with pytest.raises(ModelError, match="NaN or infinite values for 2 of 2 texts"):
        embed(CachedEncoder(model, tmp_path), ["1", "2"], ["a", "b"], kind="document")
    assert encode(["a", "b"], tmp_path) == ["a", "b"]


def test_embeddings_of_another_shape_raise_and_are_not_stored(tmp_path):
    model = Fake()
    model.encode = lambda texts, **_: np.zeros((len(texts), DIM - 1))
    with pytest.raises(ModelError, match=r"fake: returned .* shape \[1, 7\], not \[1, 8\]"):
        CachedEncoder(model, tmp_path).encode(["a"], kind="document")
    assert encode(["a"], tmp_path) == ["a"]


def test_a_cache_that_cannot_be_written_is_one_line_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Set NESTVEC_CACHE") as raised:
        CachedEncoder(Fake(), tmp_path / "file").encode(["a"], kind="document")
    assert "\n" not in str(raised.value)


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from nestvec.models import cache
from test_embedding_cache import Fake
cache.CHUNK = 4

class Slow(Fake):
    def encode(self, texts, *, kind, on_progress=None):
        time.sleep(0.02)
        return super().encode(texts, kind=kind)

encoder = cache.CachedEncoder(Slow(), Path({folder!r}))
encoder.encode([str(i) for i in range(200)], kind="document")
"""


def start(folder):
    program = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", program])


def wait_for_shards(folder, count, process):
    limit = time.monotonic() + 30
    while len(list(folder.rglob("*.shard"))) < count:
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    process = start(tmp_path)
    wait_for_shards(tmp_path, 5, process)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    shards = len(list(tmp_path.rglob("*.shard")))
    texts = [str(i) for i in range(200)]
    assert encode(texts, tmp_path) == texts[4 * shards :]
    assert encode(texts, tmp_path) == []


def test_two_processes_write_at_once(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert encode([str(i) for i in range(200)], tmp_path) == []


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path))
    assert default_cache_folder() == tmp_path


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "/caches/nestvec/embeddings"),
        ("win32", "LOCALAPPDATA", "/caches/nestvec/embeddings"),
        ("linux", "", "/home/me/.cache/nestvec/embeddings"),
        ("darwin", "", "/home/me/Library/Caches/nestvec/embeddings"),
        ("win32", "", "/home/me/AppData/Local/nestvec/embeddings"),
    ],
)
def test_else_it_lies_in_the_system_s_place(monkeypatch, platform, variable, expected):
    for name in ("NESTVEC_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "/caches")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert default_cache_folder() == Path(expected)
