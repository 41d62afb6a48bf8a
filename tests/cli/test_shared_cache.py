"""Embeddings are made once: evaluate, index build, add, adapt and reembed share one cache."""

from __future__ import annotations

import itertools
import json
import logging

import numpy as np
import pytest

from nestvec.engines.manifest import Manifest, _checksum
from nestvec.index.index import Index
from nestvec.models import sentence_transformer
from nestvec.models.load import load_model

N_TEXTS = 6 + 6**2 + 6**3  # an adapter needs 4 for each of the 64 dims


@pytest.fixture
def place(tmp_path, bert_folder, monkeypatch):
    """A folder with a small data set and a link to a transformer, and a cache of its own."""
    monkeypatch.setenv("NESTVEC_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    words = ["read", "a", "csv", "file", "table", "find"]
    texts = [" ".join(some) for n in (1, 2, 3) for some in itertools.product(words, repeat=n)]
    rows = [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": f"q{n}", "text": words[n]} for n in range(6)]
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = itertools.product(range(6), range(N_TEXTS))  # no model can miss all of them
    lines = "".join(f"q{query}\td{number}\t1\n" for query, number in pairs)
    (data / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    (tmp_path / "model").symlink_to(bert_folder)
    return tmp_path


@pytest.fixture
def encoded(monkeypatch):
    """The texts that a transformer encodes, by kind."""
    seen = {"document": [], "query": []}
    encode = sentence_transformer.SentenceTransformerEncoder.encode

    def watched(self, texts, *, kind, on_progress=None):
        seen[kind] += texts
        return encode(self, texts, kind=kind, on_progress=on_progress)

    monkeypatch.setattr(sentence_transformer.SentenceTransformerEncoder, "encode", watched)
    return seen


@pytest.fixture
def typed(nestvec):
    """Type a command that has to succeed."""

    def run(*arguments):
        ended = nestvec(*arguments)
        assert ended.code == 0, ended.err
        return ended

    return run


def test_what_evaluate_encoded_no_other_command_encodes_again(place, typed, encoded):
    typed("evaluate", "model", "data", "--out", "curve.json")
    assert len(encoded["document"]) == N_TEXTS
    encoded["document"].clear()
    typed("index", "build", "model", "data", "--point", "32:int8", "--out", "index")
    typed("index", "reembed", "index", "model", "--point", "16:int8")
    typed("adapt", "model", "data", "--method", "svd", "--dims", "32")
    assert encoded["document"] == []
    more = [{"_id": f"d{n}", "text": "read a csv file"} for n in range(N_TEXTS, N_TEXTS + 2)]
    (place / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more))
    typed("index", "add", "index", "more.jsonl")
    assert encoded["document"] == ["read a csv file"]


def test_without_the_cache_each_command_encodes(place, typed, encoded):
    build = ("index", "build", "model", "data", "--point", "32:int8", "--no-cache")
    for out in ("one", "two"):
        typed(*build, "--out", out)
    assert len(encoded["document"]) == 2 * N_TEXTS
    assert not (place / "cache").exists()


def test_what_is_searched_for_is_not_stored(place, typed, encoded):
    typed("index", "build", "model", "data", "--point", "32:int8", "--out", "index")
    model = load_model(place / "model", cache=True)
    before = sorted((place / "cache").rglob("*"))
    with Index.open(place / "index", model) as index:
        index.search(["find a table"], 3)
    assert encoded["query"][-1] == "find a table"
    assert sorted((place / "cache").rglob("*")) == before


def test_the_dtype_of_an_index_is_recorded_and_used_from_then_on(place, typed, caplog):
    build = ("index", "build", "model", "data", "--point", "32:int8", "--dtype", "bfloat16")
    typed(*build, "--out", "index")
    with Index.open(place / "index") as index:
        assert index.info.dtype == "bfloat16"
        assert index.model.info.dtype == "bfloat16"
        index.add(["new"], ["read a csv file"])
        expected = load_model(place / "model", dtype="bfloat16").encode(
            ["read a csv file"], kind="query"
        )
        assert index.search(["read a csv file"], 5) == index.search(expected, 5)
        assert not np.array_equal(
            expected, load_model(place / "model").encode(["read a csv file"], kind="query")
        )
    with caplog.at_level(logging.WARNING), Index.open(place / "index", load_model(place / "model")):
        assert "was encoded in bfloat16, but the model is loaded in float32" in caplog.text


def test_an_index_without_a_recorded_dtype_is_searched_in_float32(place, typed):
    typed("index", "build", "model", "data", "--point", "32:int8", "--out", "index")
    with Index.open(place / "index") as index:
        manifest = index._engine.manifest
    values = manifest.to_json()
    assert values["model"].pop("dtype") == "float32"  # as indexes were written before
    del values["sha256"]
    text = json.dumps(values | {"sha256": _checksum(values)})
    (place / "index" / "manifest.json").write_text(text)
    assert Manifest.from_json(text, "here").model.dtype == ""
    with Index.open(place / "index") as index:
        assert index.model.info.dtype == "float32"
        assert index.search(["find a table"], 3).ids
