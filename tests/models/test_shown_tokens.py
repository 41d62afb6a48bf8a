"""Models whose tokens are shown encode them as they encode the texts."""

from copy import deepcopy

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.codec.prefix import prefix
from nestvec.models.load import load_model
from nestvec.models.static import save_static_model
from nestvec.models.transformer import TransformerEncoder, fast_dtype
from nestvec.types import TokenEncoder

TEXTS = ["read a csv file", "find", "a table " * 20, "read read"]
WORDS = ["[UNK]", "read", "a", "csv", "file", "find", "table"]


@pytest.fixture(scope="module")
def transformer(bert_folder):
    return load_model(bert_folder, device="cpu")


@pytest.fixture
def static(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(0).standard_normal((len(WORDS), 8)).astype(np.float32)
    save_static_model(table, tokenizer, tmp_path / "static", matryoshka_dims=(8,), extra={})
    return load_model(tmp_path / "static")


@pytest.mark.parametrize("kind", ["query", "document"])
def test_a_transformer_s_tokens_are_encoded_as_its_texts_are(transformer, kind):
    assert isinstance(transformer, TokenEncoder)
    ids = transformer.tokenize(TEXTS, kind=kind)
    expected = transformer.encode(TEXTS, kind=kind)
    np.testing.assert_allclose(transformer.encode_tokens(ids), expected, atol=1e-5)


def test_tokens_hold_the_prompt_and_the_marks_and_are_cut(transformer):
    (query,) = transformer.tokenize(["csv"], kind="query")
    (document,) = transformer.tokenize(["csv"], kind="document")
    assert (len(query), len(document)) == (4, 3)  # [CLS] find csv [SEP]
    (long,) = transformer.tokenize(["csv " * 100], kind="document")
    assert len(long) == transformer.info.max_tokens == 16


def test_tokenizing_leaves_the_library_s_own_tokenizer_alone(transformer):
    before = transformer.encode(TEXTS, kind="document")
    transformer.tokenize(TEXTS, kind="document")
    np.testing.assert_array_equal(transformer.encode(TEXTS, kind="document"), before)


def test_ids_end_below_the_vocabulary(transformer, static):
    for model in (transformer, static):
        assert max(map(max, model.tokenize(TEXTS, kind="document"))) < model.vocabulary
    assert static.vocabulary == len(WORDS)


def test_a_static_model_s_tokens_are_encoded_as_its_texts_are(static):
    assert isinstance(static, TokenEncoder)
    ids = static.tokenize([*TEXTS, ""], kind="query")
    np.testing.assert_array_equal(
        static.encode_tokens(ids), static.encode([*TEXTS, ""], kind="query")
    )


def test_a_model_whose_pooling_leaves_the_prompt_out_shows_no_tokens(bert_folder, tmp_path):
    model = SentenceTransformer(str(bert_folder), device="cpu")
    model[1].include_prompt = False
    model.save(str(tmp_path / "model"))
    loaded = load_model(tmp_path / "model", device="cpu")
    assert not isinstance(loaded, TransformerEncoder | TokenEncoder)


def test_without_a_dtype_the_fast_one_is_taken_and_is_near(bert_folder, transformer):
    fast = load_model(bert_folder, device="cpu", dtype=None)
    assert fast.dtype == fast_dtype()
    vectors = [model.encode(TEXTS, kind="document") for model in (fast, transformer)]
    left, right = (prefix(each, 64) for each in vectors)
    assert np.einsum("nd,nd->n", left, right).min() > 0.999


def test_special_tokens_are_those_that_the_tokenizer_adds(transformer, static):
    (ids,) = transformer.tokenize(["read csv"], kind="document")
    before, after = transformer.special_tokens
    assert (before, after) == ([ids[0]], [ids[-1]]) == ([2], [3])  # [CLS] and [SEP]
    assert static.special_tokens == ((), ())


def test_special_tokens_at_one_end_only_are_reported_at_that_end(transformer, monkeypatch):
    from tokenizers.processors import TemplateProcessing

    tokenizer = deepcopy(transformer._tokenizer)
    monkeypatch.setattr(transformer, "_tokenizer", tokenizer)
    for template, expected in (
        ("$A [SEP]", ([], [3])),
        ("[CLS] $A", ([2], [])),
        ("[CLS] [MASK] $A [SEP]", ([2, 4], [3])),
    ):
        tokenizer.post_processor = TemplateProcessing(
            single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3), ("[MASK]", 4)]
        )
        assert transformer.special_tokens == expected
