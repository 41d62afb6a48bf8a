"""`load_model` with a cache, on a small transformer that Sentence Transformers runs."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.models.cache import CachedEncoder
from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from nestvec.models.sentence_transformer import SentenceTransformerEncoder

TEXTS = ["read a csv file", "a table " * 20, "read a csv file"]


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a model is loaded."""
    counted = []
    load = SentenceTransformerEncoder.load.__func__

    def counting(cls, *given, **options):
        counted.append(options["dtype"])
        return load(cls, *given, **options)

    monkeypatch.setattr(SentenceTransformerEncoder, "load", classmethod(counting))
    return counted


@pytest.fixture
def model(bert_folder, tmp_path):
    return shutil.copytree(bert_folder, tmp_path / "model")


def run(model, cache, **options):
    encoder = load_model(model, device="cpu", cache=cache, **options)
    assert isinstance(encoder, CachedEncoder)
    cut = encoder.count_truncated(TEXTS, kind="query")
    return encoder.info, encoder.encode(TEXTS, kind="query"), cut


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_second_run_gives_the_same_without_the_model(model, tmp_path, loads, dtype):
    info, first, cut = run(model, tmp_path / "cache", dtype=dtype)
    again, second, cut_again = run(model, tmp_path / "cache", dtype=dtype)
    assert loads == [dtype]
    assert again == info
    assert cut == cut_again == 1
    np.testing.assert_array_equal(first, second)
    plain = load_model(model, device="cpu", dtype=dtype)
    np.testing.assert_allclose(first, plain.encode(TEXTS, kind="query"), atol=0.02)


def test_the_model_is_loaded_when_a_text_is_new(model, tmp_path, loads):
    run(model, tmp_path / "cache")
    encoder = load_model(model, device="cpu", cache=tmp_path / "cache")
    assert len(loads) == 1
    got = encoder.encode(["find a file", TEXTS[0]], kind="query")
    expected = load_model(model, device="cpu").encode(["find a file", TEXTS[0]], kind="query")
    np.testing.assert_allclose(got, expected, atol=1e-5)
    encoder.encode(["file"], kind="document")
    assert len(loads) == 3


def test_pytorch_is_not_imported_where_every_text_is_known(model, tmp_path):
    run(model, tmp_path / "cache")
    program = f"""
import sys
from pathlib import Path
from nestvec.models.load import load_model
model = load_model({str(model)!r}, cache=Path({str(tmp_path / "cache")!r}))
model.count_truncated({TEXTS!r}, kind="query")
model.encode({TEXTS!r}, kind="query")
print(sorted({{"torch", "sentence_transformers", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def other_weights(model):
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name] = weights[name] * 2
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def other_limit(model):
    file = model / "sentence_bert_config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "max_seq_length": 8}))
    tokenizer = model / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "model_max_length": 8}))


@pytest.mark.parametrize("change", [other_weights, other_limit])
def test_a_folder_that_changed_is_another_model(model, tmp_path, loads, change):
    run(model, tmp_path / "cache")
    change(model)
    _, got, _ = run(model, tmp_path / "cache")
    assert len(loads) == 2
    plain = load_model(model, device="cpu").encode(TEXTS, kind="query")
    np.testing.assert_allclose(got, plain, atol=1e-5)


def test_another_prompt_or_dtype_or_library_gives_other_vectors(
    model, tmp_path, loads, monkeypatch
):
    _, first, _ = run(model, tmp_path / "cache")
    _, prompted, _ = run(model, tmp_path / "cache", prompts={"query": "table "})
    _, half, _ = run(model, tmp_path / "cache", dtype="bfloat16")
    assert loads == ["float32", "float32", "bfloat16"]
    assert not np.allclose(first, prompted, atol=1e-3)
    assert not np.array_equal(first, half)
    versions = "nestvec.models.sentence_transformer.metadata.version"
    monkeypatch.setattr(versions, lambda name: "99")
    run(model, tmp_path / "cache")
    assert len(loads) == 4


def test_widths_that_are_asked_for_do_not_encode_again(model, tmp_path, loads):
    run(model, tmp_path / "cache")
    info, _, _ = run(model, tmp_path / "cache", dims=[16])
    assert info.dims == (64, 16)
    assert len(loads) == 1
    with pytest.raises(InvalidArgument, match="dim=65 is larger than full_dim=64"):
        run(model, tmp_path / "cache", dims=[65])


@pytest.mark.parametrize("content", ["", "[]", '{"full_dim": "64", "max_tokens": 16}', "{}"])
def test_what_is_known_of_the_model_is_found_out_again_if_it_cannot_be_read(
    model, tmp_path, loads, content
):
    run(model, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.model.json")
    file.write_text(content)
    run(model, tmp_path / "cache")
    assert len(loads) == 2


def test_wrong_stored_numbers_of_a_model_raise(model, tmp_path):
    run(model, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.model.json")
    file.write_text('{"full_dim": 32, "max_tokens": 16}')
    with pytest.raises(DamagedFile, match=r"model\.json: .* Delete this file and run again"):
        run(model, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_raises_early(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Set NESTVEC_CACHE") as raised:
        load_model(model, device="cpu", cache=tmp_path / "file")
    assert "\n" not in str(raised.value)


def test_static_models_and_vectors_are_not_cached(static_folder, tmp_path):
    save_vectors(["d1"], np.ones((1, 8), dtype=np.float32), tmp_path / "vectors", kind="document")
    for folder in (static_folder, tmp_path / "vectors"):
        model = load_model(folder, cache=tmp_path / "cache")
        assert not isinstance(model, CachedEncoder)
    assert not (tmp_path / "cache").exists()
