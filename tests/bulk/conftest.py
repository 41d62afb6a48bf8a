import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.models.static import save_static_model
from nestvec.types import Document

WORDS = ["[UNK]", *(f"w{number}" for number in range(40))]


@pytest.fixture(scope="session")
def word_model(tmp_path_factory):
    """The folder of a static model of 32 dims."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(0).standard_normal((len(WORDS), 32)).astype(np.float32)
    folder = tmp_path_factory.mktemp("models") / "words"
    save_static_model(table, tokenizer, folder, matryoshka_dims=(32, 16, 8), extra={})
    return folder


@pytest.fixture(scope="session")
def documents():
    """100 documents of different lengths, the last without words."""
    rng = np.random.default_rng(1)
    found = {
        f"d{number}": Document(" ".join(rng.choice(WORDS[1:], int(rng.integers(1, 30)))))
        for number in range(99)
    }
    return {**found, "empty": Document("")}


@pytest.fixture(scope="session")
def corpus_file(documents, tmp_path_factory):
    """The documents as a JSONL file."""
    file = tmp_path_factory.mktemp("texts") / "corpus.jsonl"
    rows = ({"_id": id_, "text": each.text} for id_, each in documents.items())
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
