"""Folders of model2vec: the vectors of model2vec 0.10.0, which leaves unknown tokens out."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.errors import ModelError
from nestvec.models.load import load_model
from nestvec.models.static import StaticEncoder, replace_table

WORDS = ["[UNK]", "read", "a", "csv", "file"]
TEXTS = ["read zzz csv", "a file", "zzz", "", "read " * 600 + "csv"]


def write(folder, tensors, *, normalize=False, tokenizer=None, **config):
    if tokenizer is None:
        vocabulary = {word: number for number, word in enumerate(WORDS)}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"model_type": "model2vec", "normalize": normalize, **config}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def table():
    return np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)


def test_unknown_tokens_are_left_out_and_texts_are_truncated_to_512_tokens(tmp_path, table, caplog):
    model = load_model(write(tmp_path / "m", {"embeddings": table}))
    assert isinstance(model, StaticEncoder)
    expected = [(table[1] + table[3]) / 2, (table[2] + table[4]) / 2, 0 * table[0], 0 * table[0]]
    got = model.encode(TEXTS, kind="document")
    np.testing.assert_allclose(got, [*expected, table[1]], atol=1e-5)
    assert model.tokenize(["read zzz csv"], kind="query") == [[1, 3]]
    assert model.info.max_tokens == 512
    assert model.count_truncated(TEXTS, kind="document") == 1
    assert not caplog.records  # such a folder needs no modules.json


def test_rows_and_weights_of_a_reduced_vocabulary_are_applied(tmp_path, table):
    rows, weights = np.array([0, 1, 1, 2, 0]), np.array([1, 2, 3, 0.5, 0.1], dtype=np.float32)
    tensors = {"embeddings": table[:3].astype(np.float16), "mapping": rows, "weights": weights}
    model = load_model(write(tmp_path / "m", tensors, normalize=True))
    mean = (2 * table[1] + 0.5 * table[2]) / 2  # of "read" and "csv"
    got = model.encode(["read zzz csv"], kind="document")[0]
    np.testing.assert_allclose(got, mean / np.linalg.norm(mean), atol=1e-2)
    assert abs(np.linalg.norm(got) - 1) < 1e-5


def test_a_replaced_table_stays_a_folder_of_model2vec(tmp_path, table):
    folder = write(tmp_path / "m", {"embeddings": table})
    replace_table(folder, 2 * table)
    got = load_model(folder).encode(["read zzz"], kind="query")[0]
    np.testing.assert_allclose(got, 2 * table[1], atol=1e-6)


def test_a_unigram_tokenizer_and_no_limit(tmp_path, table):
    pieces = [(word, -1.0) for word in WORDS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = write(tmp_path / "m", {"embeddings": table}, tokenizer=tokenizer, max_length=None)
    model = load_model(folder)
    np.testing.assert_allclose(
        model.encode(["read ζ csv"], kind="query")[0], (table[1] + table[3]) / 2, atol=1e-6
    )
    assert model.info.max_tokens is None


def test_tensors_that_do_not_fit_are_one_line(tmp_path, table):
    tensors = {"embeddings": table, "mapping": np.array([0, 1, 2, 3, 9])}
    with pytest.raises(ModelError, match="its tensors do not fit each other") as raised:
        load_model(write(tmp_path / "m", tensors))
    assert "\n" not in str(raised.value)
