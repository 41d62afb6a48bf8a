"""Inputs of the encoder: texts, or tokens if the model exposes its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, get_args

import numpy as np

from nestvec.errors import ModelError
from nestvec.models.adapted import AdaptedEncoder
from nestvec.models.adapter import Adapter
from nestvec.models.paired import PairedEncoder
from nestvec.types import Embeddings, Encoder, Kind, TokenEncoder


class Input(NamedTuple):
    """One text to encode.

    Attributes:
        kind: Query or document.
        text: The text, or "" if the client sent tokens.
        ids: Its token ids, or () if the model does not expose its tokenizer.
        length: Number of tokens, or of characters without tokens; batches are sorted by length.
    """

    kind: Kind
    text: str
    ids: Sequence[int]
    length: int


class InputEncoder(Protocol):
    """Converts texts to inputs, and inputs to vectors."""

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Convert texts to inputs."""
        ...

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim]."""
        ...


class TokenInputEncoder:
    """Tokenizes texts first, and encodes tokens later."""

    def __init__(self, model: TokenEncoder) -> None:
        """Wrap a model."""
        self._model = model

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Convert texts to inputs."""
        tokenized = self._model.tokenize(texts, kind=kind)
        return [
            Input(kind, text, ids, len(ids)) for text, ids in zip(texts, tokenized, strict=True)
        ]

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim]."""
        vectors = self._model.encode_tokens([each.ids for each in inputs])
        return _checked(vectors, len(inputs), self._model.info.full_dim)


class TextInputEncoder:
    """Encodes texts with a model that does not expose tokens; their number counts as 0."""

    def __init__(self, model: Encoder) -> None:
        """Wrap a model."""
        self._model = model

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Convert texts to inputs."""
        return [Input(kind, text, (), len(text)) for text in texts]

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim]."""
        full_dim = self._model.info.full_dim
        vectors = np.empty((len(inputs), full_dim), dtype=np.float32)
        for kind, lines in _by_kind(inputs):
            texts = [inputs[line].text for line in lines]
            found = self._model.encode(texts, kind=kind)
            vectors[lines] = _checked(found, len(lines), full_dim)
        return vectors


class PairedInputEncoder:
    """Passes queries and documents to the input encoders of two models."""

    def __init__(self, model: PairedEncoder) -> None:
        """Wrap both models."""
        self._by_kind = {kind: input_encoder(each) for kind, each in model.by_kind.items()}
        self._full_dim = model.info.full_dim

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Convert texts to inputs."""
        return self._by_kind[kind].prepare(texts, kind)

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the vectors of inputs, [n, full_dim]."""
        vectors = np.empty((len(inputs), self._full_dim), dtype=np.float32)
        for kind, lines in _by_kind(inputs):
            vectors[lines] = self._by_kind[kind].encode([inputs[line] for line in lines])
        return vectors


class AdaptedInputEncoder:
    """Applies an adapter to the vectors of another input encoder."""

    def __init__(self, base: InputEncoder, adapter: Adapter) -> None:
        """Wrap an input encoder."""
        self._base = base
        self._adapter = adapter

    def prepare(self, texts: Sequence[str], kind: Kind) -> list[Input]:
        """Convert texts to inputs."""
        return self._base.prepare(texts, kind)

    def encode(self, inputs: Sequence[Input]) -> Embeddings:
        """Return the adapted vectors of inputs, [n, full_dim]; queries have their own head.

        The zero vector of a text without known tokens remains zero.
        """
        vectors = self._base.encode(inputs)
        adapted = np.empty_like(vectors)
        for kind, lines in _by_kind(inputs):
            adapted[lines] = self._adapter.apply(vectors[lines], kind)
        adapted[~vectors.any(axis=1)] = 0
        return adapted


def input_encoder(model: Encoder) -> InputEncoder:
    """Return the input encoder for a model."""
    if isinstance(model, AdaptedEncoder):
        return AdaptedInputEncoder(input_encoder(model.base), model.adapter)
    if isinstance(model, PairedEncoder):
        return PairedInputEncoder(model)
    if isinstance(model, TokenEncoder):
        return TokenInputEncoder(model)
    return TextInputEncoder(model)


def _by_kind(inputs: Sequence[Input]) -> Iterator[tuple[Kind, list[int]]]:
    for kind in get_args(Kind):
        lines = [line for line, each in enumerate(inputs) if each.kind == kind]
        if lines:
            yield kind, lines


def _checked(vectors: Embeddings, n: int, full_dim: int) -> Embeddings:
    if vectors.shape != (n, full_dim) or not np.isfinite(vectors).all():
        raise ModelError("the model returned NaN, infinite values or vectors of another shape")
    return vectors
