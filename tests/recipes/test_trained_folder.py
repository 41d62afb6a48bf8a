"""The folder of a trained model: other tools load it, and it is written completely or not."""

import json

import numpy as np
import pytest

from nestvec.data.training import TrainingPairs
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.load import load_model
from nestvec.recipes import trained
from nestvec.recipes.trained import default_settings, train_and_save
from nestvec.train.static import StaticConfig, tokenize

CONFIG = StaticConfig(dims=(8, 24, 16), epochs=3, batch_size=8, vocab_size=200, seed=7)
PAIRS = TrainingPairs(
    [f"how do I openFile number{i}" for i in range(30)],
    [f"open_file{i} opens the file number{i}, Éclair" for i in range(30)],
    [[] for _ in range(30)],
)
TEXTS = [*PAIRS.anchors[:3], *PAIRS.positives[:3], "", "never seen: 漢字 zebra", "naïve " * 400]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    losses = train_and_save(PAIRS, CONFIG, folder)
    assert list(losses) == [8, 16, 24]
    return folder


@pytest.mark.parametrize("kind", ["query", "document"])
def test_sentence_transformers_gives_the_same_vectors(folder, kind):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    encode = {"query": model.encode_query, "document": model.encode_document}[kind]
    reference = encode(TEXTS, show_progress_bar=False)
    actual = load_model(folder).encode(TEXTS, kind=kind)
    np.testing.assert_allclose(actual, reference, atol=1e-5)
    assert np.abs(actual).max() > 0.1


def test_the_config_contains_the_widths_and_the_settings(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["matryoshka_dimensions"] == [24, 16, 8]
    settings = config["nestvec"]["train"]
    settings |= {name: tuple(each) for name, each in settings.items() if isinstance(each, list)}
    assert StaticConfig(**settings) == CONFIG
    info = load_model(folder).info
    assert (info.full_dim, info.dims, info.dims_trained) == (24, (24, 16, 8), True)


def test_texts_and_their_tokens_train_the_same_model(folder, tmp_path):
    train_and_save(tokenize(PAIRS, CONFIG), CONFIG, tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name
    assert load_model(tmp_path / "again").info.fingerprint == load_model(folder).info.fingerprint


def test_a_folder_with_other_files_is_rejected_before_training(tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.setattr(trained, "train_static", lambda *_, **__: pytest.fail("was trained"))
    with pytest.raises(DataError, match="has no modules"):
        train_and_save(PAIRS, CONFIG, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_older_model_is_replaced_after_training(tmp_path):
    path = tmp_path / "model"
    train_and_save(PAIRS, CONFIG, path)
    train_and_save(PAIRS, StaticConfig(dims=(4,), epochs=1, batch_size=8), path)
    assert load_model(path).info.full_dim == 4
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_training_continues_from_a_static_model_with_its_tokenizer(folder, tmp_path):
    start = load_model(folder)
    config = StaticConfig(dims=(16, 8), epochs=1, batch_size=8, learning_rate=1e-6)
    train_and_save(PAIRS, config, tmp_path / "next", start=start)
    written = load_model(tmp_path / "next")
    before, after = (model.encode(TEXTS[:6], kind="query") for model in (start, written))
    scale = np.linalg.norm(after) / np.linalg.norm(before[:, :16])
    np.testing.assert_allclose(after, before[:, :16] * scale, atol=1e-3)
    assert (tmp_path / "next" / "tokenizer.json").read_text() == (
        folder / "tokenizer.json"
    ).read_text()
    config = json.loads((tmp_path / "next" / "config.json").read_text())
    assert config["nestvec"]["start"] == {
        "model": str(folder),
        "fingerprint": start.info.fingerprint,
        "origin": "table",
    }
    assert config["nestvec"]["train"]["learning_rate"] == 1e-6


def test_other_tools_load_a_model_distilled_from_a_transformer(bert_folder, tmp_path):
    from sentence_transformers import SentenceTransformer

    pairs = TrainingPairs(
        ["read a csv", "find a table"] * 4, ["file", "table csv"] * 4, [[] for _ in range(8)]
    )
    teacher = load_model(bert_folder)
    config = StaticConfig(**{**default_settings(teacher), "epochs": 1})
    assert (config.dims, config.learning_rate) == ((64, 32), 0.1)
    train_and_save(pairs, config, tmp_path / "model", start=teacher)
    texts = ["read a table", "file csv " * 40, "nothing known"]
    actual = load_model(tmp_path / "model").encode(texts, kind="document")
    reference = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(texts)
    np.testing.assert_allclose(actual, reference, atol=1e-5)
    assert np.abs(actual[0]).max() > 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["nestvec"]["start"]["origin"] == "teacher"


def test_dims_larger_than_the_initial_model_are_rejected_first(bert_folder, tmp_path):
    with pytest.raises(
        InvalidArgument, match=r"dim 128 is larger than 64, the width of .*tiny-bert"
    ):
        train_and_save(
            PAIRS,
            StaticConfig(dims=(32, 128)),
            tmp_path / "model",
            start=load_model(bert_folder),
            on_progress=lambda done, total: pytest.fail("was read"),
        )
    assert not (tmp_path / "model").exists()
