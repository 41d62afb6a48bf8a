"""Settings of a folder that affect vectors: saved truncation, missing pooling, padding side."""

import json
import shutil

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from nestvec.errors import ModelError
from nestvec.models.load import as_encoder, load_model
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.models.transformer import TransformerEncoder

TEXTS = ["read", "a table " * 5, "read a csv file"]


def truncated_by(messages):
    return [message for message in messages if "truncate_dim=16" in message]


@pytest.fixture
def saved_truncated(bert_folder, tmp_path):
    """A folder that Sentence Transformers saved with truncate_dim; its config.json names dims."""
    model = SentenceTransformer(str(bert_folder), device="cpu", truncate_dim=16)
    model.save(str(tmp_path / "saved"))
    config = tmp_path / "saved" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "matryoshka_dimensions": [64, 32, 16]}))
    return tmp_path / "saved"


@pytest.mark.parametrize("cached", [False, True])
def test_a_saved_truncate_dim_is_reported_and_not_applied(
    saved_truncated, bert_folder, tmp_path, caplog, cached
):
    for _ in range(2):  # the second time from the numbers in the cache
        caplog.clear()
        model = load_model(saved_truncated, cache=tmp_path / "cache" if cached else None)
        assert (model.info.full_dim, model.info.dims) == (64, (64, 32, 16))
        assert len(truncated_by(caplog.messages)) == 1
    expected = load_model(bert_folder).encode(TEXTS, kind="query")
    np.testing.assert_allclose(model.encode(TEXTS, kind="query"), expected, atol=1e-6)


def test_a_static_folder_with_truncate_dim_follows_the_same_rule(static_folder, caplog):
    file = static_folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncate_dim": 4}))
    assert load_model(static_folder).info.full_dim == 8
    assert any("truncate_dim=4" in message for message in caplog.messages)


def test_a_model_in_memory_with_truncate_dim_follows_the_same_rule(bert_folder, caplog):
    library_model = SentenceTransformer(str(bert_folder), device="cpu", truncate_dim=16)
    model = as_encoder(library_model)
    assert model.info == load_model(bert_folder).info
    assert model.encode(TEXTS, kind="document").shape == (3, 64)
    assert library_model.truncate_dim == 16  # the user's own model is unchanged
    assert len(truncated_by(caplog.messages)) == 1


def test_a_folder_without_modules_json_is_mean_pooled_with_a_warning(bert_folder, tmp_path, caplog):
    assert load_model(bert_folder).info.pooling == "mean"
    assert not caplog.records
    bare = shutil.copytree(bert_folder, tmp_path / "bare")
    (bare / "modules.json").unlink()
    assert load_model(bare).info.pooling == "mean"
    assert any("no modules.json" in message for message in caplog.messages)


@pytest.fixture(scope="module")
def left_padded(bert_folder, tmp_path_factory):
    """A model with learned positions whose tokenizer pads on the left."""
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, GPT2Config, GPT2Model

    base = tmp_path_factory.mktemp("left")
    tokenizer = AutoTokenizer.from_pretrained(bert_folder, padding_side="left")
    tokenizer.save_pretrained(base)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=32)
    GPT2Model(config).save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=16)
    model = SentenceTransformer(modules=[transformer, Pooling(32, "lasttoken")], device="cpu")
    # Random weights hardly use the positions; trained ones do.
    model[0].model.wpe.weight.data.mul_(50)
    folder = tmp_path_factory.mktemp("models") / "left-padded"
    model.save(str(folder))
    assert SentenceTransformer(str(folder), device="cpu").tokenizer.padding_side == "left"
    return folder


def test_a_left_padded_model_encodes_a_text_equally_alone_in_a_batch_and_from_tokens(left_padded):
    model = load_model(left_padded, device="cpu")
    assert isinstance(model, TransformerEncoder)
    alone = np.concatenate([model.encode([text], kind="document") for text in TEXTS])
    together = model.encode(TEXTS, kind="document")
    served = model.encode_tokens(model.tokenize(TEXTS, kind="document"))
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(served, alone, atol=1e-4)
    library_model = model.library_model
    shifted = library_model.encode(TEXTS, show_progress_bar=False)  # as the library pads it
    assert not np.allclose(shifted, alone, atol=1e-2)
    assert library_model.tokenizer.padding_side == "left"


def test_a_model_with_its_own_length_for_queries_shows_no_tokens(bert_folder):
    library_model = SentenceTransformer(str(bert_folder), device="cpu")
    library_model[0].query_length = 4
    assert not isinstance(as_encoder(library_model), TransformerEncoder)


def test_a_model_without_a_padding_token_is_one_line(bert_folder):
    library_model = SentenceTransformer(str(bert_folder), device="cpu")
    library_model.tokenizer.pad_token = None
    model = SentenceTransformerEncoder(as_encoder(library_model).info, library_model)
    with pytest.raises(ModelError, match=r"has no padding token\. Set tokenizer\.") as raised:
        model.encode(TEXTS, kind="document")
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_plain_model_without_a_padding_token_encodes_texts_of_different_lengths(bert_folder):
    library_model = SentenceTransformer(str(bert_folder), device="cpu")
    library_model.tokenizer.pad_token = None
    model = as_encoder(library_model)
    texts = ["csv", "read a csv file"]
    each = np.stack([model.encode(text, kind="document") for text in texts])
    np.testing.assert_allclose(model.encode(texts, kind="document"), each, atol=1e-6)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nstack"), "not enough memory"),
        (MemoryError(), "not enough memory"),
        (IndexError("index out of range in self"), "IndexError: index out of range in self"),
    ],
)
def test_an_error_while_encoding_is_one_line_with_its_cause(
    bert_folder, monkeypatch, error, message
):
    model = load_model(bert_folder, device="cpu")

    def fail(*_, **__):
        raise error

    ids = model.tokenize(TEXTS, kind="query")
    monkeypatch.setattr(model.library_model, "encode_query", fail)
    monkeypatch.setattr(model.library_model[0], "forward", fail)
    for encode in (lambda: model.encode(TEXTS, kind="query"), lambda: model.encode_tokens(ids)):
        with pytest.raises(ModelError, match=f"cannot encode texts: .*{message}") as raised:
            encode()
        assert "\n" not in str(raised.value)
        assert raised.value.__cause__ is error
