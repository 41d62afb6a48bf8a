"""``nestvec models``, files of known models, and the model of stored vectors."""

import json

import numpy as np
import pytest

from nestvec.curve.curve import Curve
from nestvec.models.adapter_file import load_adapter
from nestvec.models.known import known_models
from nestvec.models.precomputed import save_vectors


@pytest.fixture(autouse=True)
def no_file_of_the_developer(monkeypatch):
    monkeypatch.delenv("NESTVEC_MODELS", raising=False)


def test_the_table_has_every_model_and_fits_the_terminal(nestvec):
    ended = nestvec("models")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) == 1 + len(known_models())
    assert max(map(len, lines)) <= 80
    assert any("Qwen3-Embedding-0.6B" in line and "any from 32" in line for line in lines)


def test_models_are_listed_as_json(nestvec):
    listed = json.loads(nestvec("models", "--json").out)["models"]
    assert {row["names"][0] for row in listed} == {row.name for row in known_models()}
    row = json.loads(nestvec("models", "Qwen3-Embedding-4B", "--json").out)
    assert (row["full_dim"], row["min_dim"], row["warnings"]) == (2560, 32, [])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("stella_en_400M_v5", ["must not be truncated", "separate layer", "--trust-remote-code"]),
        ("jina-embeddings-v3", ["'retrieval.query' for queries", "CC-BY-NC-4.0"]),
        ("embeddinggemma-300m", ["'task: search result | query: '", "types: float16"]),
        ("pplx-embed-v1-4b", ["Use the model without prompts", "dims are not published"]),
        ("voyage-4", ["Embedding space: voyage-4", "through an API only"]),
        ("jina-colbert-v2", ["vector for each token (multi-vector), so nestvec refuses it"]),
        ("bge-m3", ["was not trained for truncation"]),
    ],
)
def test_a_model_is_explained_in_sentences(nestvec, name, parts):
    ended = nestvec("models", name)
    text = " ".join(ended.out.split())
    assert ended.code == 0
    for part in parts:
        assert part in text
    assert "Source: https://" in text
    assert ("nestvec evaluate" in text) == (name not in ("voyage-4", "jina-colbert-v2"))


def test_an_unknown_name_is_one_line_with_similar_names(nestvec):
    ended = nestvec("models", "embeddinggema-300m")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "Similar names: google/embeddinggemma-300m" in ended.err


def test_a_file_of_models_is_used_by_commands(nestvec, place, monkeypatch):
    file = place / "mine.toml"
    file.write_text('[[model]]\nnames = ["model"]\nfull_dim = 32\nquery_prompt = "q: "\n')
    assert "Prompt of queries: 'q: '" in nestvec("models", "model", "--models", "mine.toml").out
    evaluate = ["evaluate", "model", "data", "--keeps", "10", "--out", "new.json"]
    (place / "model" / "config_sentence_transformers.json").unlink(missing_ok=True)
    ended = nestvec(*evaluate, "--models", "mine.toml")
    assert ended.code == 0, ended.err
    assert Curve.load(place / "new.json").model.query_prompt == "q: "
    monkeypatch.setenv("NESTVEC_MODELS", str(file))
    assert nestvec(*evaluate).code == 0
    assert Curve.load(place / "new.json").model.query_prompt == "q: "
    file.write_text("[[model]]\nfull_dim = 32\n")
    ended = nestvec(*evaluate)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "model 1: names is missing" in ended.err


def test_the_model_of_vectors_is_stated(nestvec, place):
    values = np.random.default_rng(0).standard_normal((1100, 256)).astype(np.float32)
    save_vectors([f"d{i}" for i in range(1100)], values, place / "v", kind="document")
    typed = ["adapt", "v", "--dims", "64", "--out", "a.st", "--model", "text-embedding-3-large"]
    ended = nestvec(*typed)
    assert ended.code == 0, ended.err
    assert "text-embedding-3-large was trained with Matryoshka" in ended.err
    adapter = load_adapter(place / "a.st")
    assert (adapter.method, adapter.base_name) == ("none", "text-embedding-3-large")
