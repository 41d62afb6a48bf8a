"""BERT without padding: the vectors of the library; other models are not packed."""

import numpy as np
import pytest
import torch

from nestvec.models import packed_bert
from nestvec.models.load import load_model
from nestvec.models.packed_bert import PackedBert, pack

IDS = [[2, 5, 6, 3], [2, 7, 3], [2, *[5, 6, 7] * 4, 3], [2, 6, 3], [2, 3], [2, *[7] * 9, 3]]


@pytest.fixture
def bert(bert_folder):
    return load_model(bert_folder, device="cpu")


def test_vectors_equal_those_of_the_library(bert):
    expected = bert.encode_tokens(IDS)
    assert bert.pack()
    np.testing.assert_allclose(bert.encode_tokens(IDS), expected, atol=2e-6)


def test_the_first_token_is_pooled_if_the_model_does_so(bert):
    bert.library_model[1].pooling_mode = "cls"
    expected = bert.encode_tokens(IDS)
    assert bert.pack()
    np.testing.assert_allclose(bert.encode_tokens(IDS), expected, atol=2e-6)


def test_modules_after_the_pooling_are_applied(bert):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    bert.library_model.append(Dense(64, 16))
    bert.library_model.append(Normalize())
    expected = bert.encode_tokens(IDS)
    assert expected.shape == (len(IDS), 16)
    assert bert.pack()
    np.testing.assert_allclose(bert.encode_tokens(IDS), expected, atol=2e-6)


def test_the_vector_of_a_text_does_not_depend_on_its_batch(bert):
    assert bert.pack()
    alone = np.concatenate([bert.encode_tokens([each]) for each in IDS])
    np.testing.assert_allclose(bert.encode_tokens(IDS), alone, atol=2e-6)


def test_only_texts_of_similar_length_share_a_group(bert):
    lengths = np.array([1, 2, 2, 3, 9, 9, 16])
    groups = packed_bert._groups(lengths)
    assert [(group.n, group.length) for group in groups] == [(3, 2), (1, 3), (3, 16)]
    assert [(group.first, group.last) for group in groups] == [(0, 5), (5, 8), (8, 42)]


def test_bfloat16_is_closer_to_float32_than_the_library(bert_folder, bert):
    model = load_model(bert_folder, device="cpu", dtype="bfloat16")
    expected, library = bert.encode_tokens(IDS), model.encode_tokens(IDS)
    if not model.pack():
        pytest.skip("oneDNN does not support bfloat16 on this processor")
    packed = model.encode_tokens(IDS)
    assert np.abs(packed - expected).mean() < np.abs(library - expected).mean()


def test_a_text_without_tokens_is_encoded_by_the_library(bert):
    expected = bert.encode_tokens([[2, 5, 3], []])
    assert bert.pack()
    np.testing.assert_allclose(bert.encode_tokens([[2, 5, 3], []]), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [("config", "hidden_act", "relu"), ("config", "is_decoder", True), ("pooling", "", "max")],
)
def test_other_models_are_not_packed(bert, place, name, value):
    if place == "config":
        setattr(bert.library_model[0].model.config, name, value)
    else:
        bert.library_model[1].pooling_mode = value
    before = bert.encode_tokens(IDS)
    assert not bert.pack()
    np.testing.assert_array_equal(bert.encode_tokens(IDS), before)


def test_a_model_whose_packed_vectors_differ_is_not_packed(bert, monkeypatch):
    encode = PackedBert.encode
    monkeypatch.setattr(PackedBert, "encode", lambda self, ids: encode(self, ids)[::-1])
    assert not bert.pack()


def test_a_processor_without_the_data_type_keeps_the_library(bert, monkeypatch):
    def refuse(*_):
        raise RuntimeError("the CPU does not support this")

    monkeypatch.setattr(packed_bert._Linear, "of", refuse)
    assert pack(bert.library_model, "float32") is None


def test_positions_of_roberta_start_after_the_padding_token(bert):
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    roberta = XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=bert.vocabulary,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=34,
            pad_token_id=0,
        )
    ).eval()
    bert.library_model[0].model = roberta
    expected = bert.encode_tokens(IDS)
    assert bert.pack()
    np.testing.assert_allclose(bert.encode_tokens(IDS), expected, atol=2e-6)
