"""Initial tables of static models: their rows, the embedded tokens, and the weights."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.load import load_model
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.sentence_transformer import SentenceTransformerEncoder
from nestvec.models.static import save_static_model
from nestvec.train.first_table import start_from, weight_by_frequency
from nestvec.train.static import StaticConfig, tokenize
from nestvec.train.tokenizer import train_tokenizer

CONFIG = StaticConfig(dims=(8,))


@pytest.fixture(scope="module")
def teacher(bert_folder):
    return load_model(bert_folder)


@pytest.fixture(scope="module")
def distilled(teacher):
    return start_from(teacher)


def test_a_distilled_table_is_on_principal_axes(teacher, distilled):
    vocabulary = distilled.tokenizer.get_vocab()
    words = ["read", "a", "csv", "file", "table", "find"]
    texts = teacher.library_model.encode(words, normalize_embeddings=True)
    rows = distilled.table[[vocabulary[word] for word in words]]
    centered = texts - texts.mean(axis=0)
    np.testing.assert_allclose(rows @ rows.T, centered @ centered.T, atol=1e-5)
    products = rows.T @ rows
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-5)
    assert (np.diff(np.diag(products)) <= 1e-6).all()


def test_special_and_unused_tokens_are_zero(distilled):
    vocabulary = distilled.tokenizer.get_vocab()
    for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
        assert not distilled.table[vocabulary[token]].any()


def test_a_teachers_tokenizer_neither_truncates_nor_pads(teacher, distilled):
    assert teacher.library_model.max_seq_length == 16
    encoding = distilled.tokenizer.encode("read a csv " * 30, add_special_tokens=False)
    assert len(encoding.ids) == 90
    assert distilled.tokenizer.padding is None


def test_progress_ends_with_all_embedded_tokens(teacher):
    calls = []
    start_from(teacher, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(6, 6)]


def test_the_table_of_a_static_model_is_not_changed(tmp_path):
    tokenizer = train_tokenizer(["read a csv file"] * 3, vocab_size=60)
    vocab = tokenizer.get_vocab_size()
    table = np.random.default_rng(0).standard_normal((vocab + 3, 8)).astype(np.float32)
    save_static_model(table, tokenizer, tmp_path / "m", matryoshka_dims=(8,), extra={})
    start = start_from(load_model(tmp_path / "m"))
    np.testing.assert_array_equal(start.table, table[:vocab])  # rows without a token are left
    pairs = tokenize(PAIRS, CONFIG, tokenizer=start.tokenizer)
    assert start.table_for(pairs) is start.table


def test_a_static_model_that_sentence_transformers_loads_gives_its_table(tmp_path):
    tokenizer = train_tokenizer(["read a csv file"] * 3, vocab_size=60)
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 8))
    folder = tmp_path / "m"
    save_static_model(table.astype(np.float32), tokenizer, folder, matryoshka_dims=(8,), extra={})
    weights = {"embedding.weight": torch.tensor(table, dtype=torch.bfloat16)}
    save_file(weights, folder / "model.safetensors")
    model = load_model(folder)
    assert isinstance(model, SentenceTransformerEncoder)
    start = start_from(model)
    assert start.origin == "table"
    np.testing.assert_allclose(start.table, table, rtol=0.01)


PAIRS = TrainingPairs(
    ["read a csv"] * 3 + ["a"], ["find a table"] * 3 + ["a file"], [[] for _ in range(4)]
)


def test_frequent_tokens_get_a_lower_weight(distilled):
    pairs = tokenize(PAIRS, CONFIG, tokenizer=distilled.tokenizer)
    weighed = weight_by_frequency(distilled.table, pairs)
    vocabulary = distilled.tokenizer.get_vocab()
    # "read" is a third of 3 of 8 texts; "a" a third of 6, one whole and a half of one.
    for word, share in (("read", 1 / 8), ("a", (6 / 3 + 1.5) / 8)):
        row = vocabulary[word]
        expected = distilled.table[row] * 0.001 / (0.001 + share)
        np.testing.assert_allclose(weighed[row], expected, rtol=1e-5)
    np.testing.assert_array_equal(
        distilled.table_for(pairs), weight_by_frequency(distilled.table, pairs)
    )


def test_a_transformer_without_a_fast_tokenizer_is_rejected(teacher):
    class Slow(list):
        tokenizer = object()

    slow = SentenceTransformerEncoder(teacher.info, Slow())
    with pytest.raises(ModelError, match="has no fast tokenizer"):
        start_from(slow)


def test_training_cannot_start_from_a_folder_of_vectors(tmp_path):
    np.save(tmp_path / "corpus.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "corpus.ids.txt").write_text("a\nb\nc\n")
    with pytest.raises(InvalidArgument, match="has no tokenizer, so training cannot start from it"):
        start_from(PrecomputedVectors.load(tmp_path, dims=None))
