"""What tests serve: an index of few documents, its model, two tiers and example queries."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from fakes import NestedHashEncoder
from nestvec.index.building import build_index
from nestvec.models.load import load_model
from nestvec.models.static import StaticEncoder, save_static_model
from nestvec.serve.served import ExampleQuery, Served
from nestvec.types import Embeddings, Encoder, Kind, OnProgress, OperatingPoint
from ten_documents import CORPUS, WORDS

POINT = "16:binary@8>64:int8"
TIERS = {
    "fast": OperatingPoint.parse("16:int8"),
    "best": OperatingPoint.parse("32:int8@9>64:float16"),
}
NAME = "tiny"


class HeldEncoder(NestedHashEncoder):
    """Encodes nothing until it is let.

    Attributes:
        go: Lets it.
        batches: The texts that were encoded together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[str]] = []

    def encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> Embeddings:
        self.begun.set()
        assert self.go.wait(30)
        self.batches.append(list(texts))
        return super().encode(texts, kind=kind)


def static_model(folder: Path) -> StaticEncoder:
    """Make a static model of nine words."""
    vocabulary = {word: number for number, word in enumerate(["[UNK]", *WORDS[:8]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = np.random.default_rng(0).standard_normal((len(vocabulary), 32)).astype(np.float32)
    save_static_model(table, tokenizer, folder, matryoshka_dims=(32, 16, 8), extra={})
    return load_model(folder)


def demo_like(model: Encoder, index: Path) -> Served:
    """Build an index and serve it with its model."""
    examples = (ExampleQuery("q1", "read a csv file", ("d1",)),)
    opened = build_index(model, CORPUS, POINT, index)
    return Served(NAME, model, opened, tiers=TIERS, examples=examples)
