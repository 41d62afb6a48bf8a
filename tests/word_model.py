"""A static model of few words, for tests that embed texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.models.static import save_static_model

WORDS = ["[UNK]", *(f"w{number}" for number in range(40))]


def save_word_model(folder: Path) -> Path:
    """Save a static model of 32 dims whose vocabulary is ``WORDS``."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(0).standard_normal((len(WORDS), 32)).astype(np.float32)
    save_static_model(table, tokenizer, folder, matryoshka_dims=(32, 16, 8), extra={})
    return folder
