import json

import numpy as np
import pytest

from nestvec.types import Document
from word_model import WORDS, save_word_model


@pytest.fixture(scope="session")
def word_model(tmp_path_factory):
    """The folder of a static model of 32 dims."""
    return save_word_model(tmp_path_factory.mktemp("models") / "words")


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
