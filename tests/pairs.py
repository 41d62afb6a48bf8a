"""Two static models that share a space: the smaller one of queries is a noisy copy of the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.models.static import save_static_model
from ten_documents import WORDS

FULL_DIM = 32
DIMS = (32, 16, 8)


def save_model(
    folder: Path, *, noise: float = 0.0, seed: int = 0, dims: tuple[int, ...] = DIMS
) -> Path:
    """Save a static model. Without another seed, models differ only in noise of their vectors."""
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(seed).standard_normal((len(vocabulary), dims[0]))
    table += noise * np.random.default_rng(1).standard_normal(table.shape)
    save_static_model(table.astype(np.float32), tokenizer, folder, matryoshka_dims=dims, extra={})
    return folder


def save_pair(folder: Path) -> tuple[Path, Path]:
    """Save a model of documents and a model of queries that share a space."""
    return save_model(folder / "large"), save_model(folder / "nano", noise=0.05)
