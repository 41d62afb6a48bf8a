import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.models.static import save_static_model

WORDS = ["[UNK]", "read", "a", "csv", "file", "into", "table", "what", "is", "nested", "find:"]


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
    save_static_model(table, tokenizer, folder, matryoshka_dims=(8, 4), extra={})
    return folder


@pytest.fixture
def with_normalize(static_folder):
    modules = json.loads((static_folder / "modules.json").read_text())
    kind = "sentence_transformers.models.Normalize"
    modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": kind})
    (static_folder / "modules.json").write_text(json.dumps(modules))
    (static_folder / "1_Normalize").mkdir()
    return static_folder
