import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.models.static import save_static_model

WORDS = ["[UNK]", "read", "a", "csv", "file", "into", "table", "what", "is", "nested", "find:"]
BERT_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BERT_WORDS += ["read", "a", "csv", "file", "table", "find"]


@pytest.fixture
def tokenizer():
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


@pytest.fixture
def table():
    return np.random.default_rng(0).standard_normal((len(WORDS), 8)).astype(np.float32)


@pytest.fixture
def static_folder(tmp_path, tokenizer, table):
    folder = tmp_path / "static-model"
    save_static_model(
        folder, tokenizer_json=tokenizer, table=table, matryoshka_dims=(8, 4), extra={}
    )
    return folder


@pytest.fixture
def with_normalize(static_folder):
    modules = json.loads((static_folder / "modules.json").read_text())
    kind = "sentence_transformers.models.Normalize"
    modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": kind})
    (static_folder / "modules.json").write_text(json.dumps(modules))
    (static_folder / "1_Normalize").mkdir()
    return static_folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A two-layer random transformer with a prompt for queries. Tests must not write to it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    base = tmp_path_factory.mktemp("base")
    (base / "vocab.txt").write_text("\n".join(BERT_WORDS))
    BertTokenizerFast(vocab=str(base / "vocab.txt"), model_max_length=16).save_pretrained(base)
    BertModel(
        BertConfig(
            vocab_size=len(BERT_WORDS),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=32,
        )
    ).save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=16)
    model = SentenceTransformer(
        modules=[transformer, Pooling(64)], prompts={"query": "find ", "document": ""}, device="cpu"
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    model.save(str(folder))
    return folder
