"""What waits for the encoder: texts, or tokens where the model shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, get_args

import numpy as np

from nestvec.errors import ModelError
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter
from nestvec.types import Embeddings, Encoder, Kind, TokenEncoder


class Input(NamedTuple):
    """One text that waits.

    Attributes:
        kind: Query or document.
        text: The text; "" where only its tokens are known.
        ids: Its tokens; () where the model does not show them.
        length: What it is sorted by: tokens, or characters.
    """

    kind: Kind
    text: str
    ids: Sequence[int]
    length: int


class Encoding(Protocol):
    """How texts become inputs, and inputs vectors."""

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Make inputs of texts."""
        ...

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Encode inputs as the model gives them, [n, full_dim]."""
        ...


class TokenEncoding:
    """Texts are cut into tokens first, apart from the encoding."""

    def __init__(self, model: TokenEncoder) -> None:
        """Take the model."""
        self._model = model

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Make inputs of texts."""
        tokenized = self._model.tokenize(texts, kind=kind)
        return [
            Input(kind, text, ids, len(ids)) for text, ids in zip(texts, tokenized, strict=True)
        ]

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Encode inputs as the model gives them, [n, full_dim]."""
        vectors = self._model.encode_tokens([each.ids for each in inputs])
        return _checked(vectors, len(inputs), self._model.info.full_dim)


class TextEncoding:
    """The model takes texts and shows no tokens: they count as none."""

    def __init__(self, model: Encoder) -> None:
        """Take the model."""
        self._model = model

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Make inputs of texts."""
        return [Input(kind, text, (), len(text)) for text in texts]

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Encode inputs as the model gives them, [n, full_dim]."""
        full_dim = self._model.info.full_dim
        vectors = np.empty((len(inputs), full_dim), dtype=np.float32)
        for kind, lines in _by_kind(inputs):
            texts = [inputs[line].text for line in lines]
            found = self._model.encode(texts, kind=kind)
            vectors[lines] = _checked(found, len(lines), full_dim)
        return vectors


class AdaptedEncoding:
    """What comes out goes through an adapter; how it is encoded is its model's business."""

    def __init__(self, encoding: Encoding, adapter: Adapter) -> None:
        """Take how the model encodes."""
        self._encoding = encoding
        self._adapter = adapter

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Make inputs of texts."""
        return self._encoding.prepare(texts, kind)

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Encode inputs and turn them, [n, full_dim], queries by their own head."""
        vectors = self._encoding.encode(inputs)
        turned = np.empty_like(vectors)
        for kind, lines in _by_kind(inputs):
            turned[lines] = self._adapter.apply(vectors[lines], kind)
        return turned


def encoding_of(model: Encoder) -> Encoding:
    """Return how a model encodes best."""
    if isinstance(model, AdaptedEncoder):
        return AdaptedEncoding(encoding_of(model.base), model.adapter)
    return TokenEncoding(model) if isinstance(model, TokenEncoder) else TextEncoding(model)


def _by_kind(inputs: Sequence[Input]) -> Iterator[tuple[Kind, list[int]]]:
    for kind in get_args(Kind):
        lines = [line for line, each in enumerate(inputs) if each.kind == kind]
        if lines:
            yield kind, lines


def _checked(vectors: Embeddings, n: int, full_dim: int) -> Embeddings:
    if vectors.shape != (n, full_dim) or not np.isfinite(vectors).all():
        raise ModelError("the model gave NaN, infinite numbers or another shape")
    return vectors
