"""The base class of nestvec's encoders: input checks and Sentence Transformers' method names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import get_args

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, Kind, ModelInfo, OnProgress


class BaseEncoder(ABC):
    """An ``Encoder`` that checks its input; subclasses encode lists of strings.

    A subclass sets ``_info``, or overrides ``info``.
    """

    _info: ModelInfo

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info

    @abstractmethod
    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode checked texts, float32 [n, full_dim]."""

    def encode(
        self, texts: str | Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> Embeddings:
        """Encode texts at full width, neither normalized nor truncated.

        Args:
            texts: A list of strings, or one string.
            kind: "query" or "document"; each may have its own prompt.
            on_progress: Called with the number of encoded texts and the number of all texts.

        Returns:
            float32 [n, full_dim] for a list; [full_dim] for one string, as in Sentence
            Transformers.

        Raises:
            InvalidArgument: If a text is not a string, or ``kind`` is unknown.
            ModelError: If the model cannot encode texts.
        """
        if kind not in get_args(Kind):
            raise InvalidArgument(f"kind={kind!r:.40} is unknown. Choose 'query' or 'document'.")
        found = self._encode(as_texts(texts), kind=kind, on_progress=on_progress)
        return found[0] if isinstance(texts, str) else found

    def encode_query(
        self, texts: str | Sequence[str], *, on_progress: OnProgress | None = None
    ) -> Embeddings:
        """Encode queries: ``encode`` with ``kind="query"``."""
        return self.encode(texts, kind="query", on_progress=on_progress)

    def encode_document(
        self, texts: str | Sequence[str], *, on_progress: OnProgress | None = None
    ) -> Embeddings:
        """Encode documents: ``encode`` with ``kind="document"``."""
        return self.encode(texts, kind="document", on_progress=on_progress)

    def __repr__(self) -> str:
        """Show the model and the settings that affect its vectors."""
        info = self.info
        parts = [repr(info.name), f"full_dim={info.full_dim}"]
        if info.max_tokens is not None:
            parts.append(f"max_tokens={info.max_tokens}")
        if info.dtype:
            parts.append(f"dtype={info.dtype!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def as_texts(texts: object, *, name: str = "texts") -> list[str]:
    """Return strings as a list; one string becomes a list of one.

    Args:
        texts: A string, or a list, tuple, array or series of strings.
        name: Name of the argument, for messages.

    Raises:
        InvalidArgument: If a text is not a string.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | Mapping | Set) or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise InvalidArgument(f"{name} has the type {kind}. Pass a list of strings.")
    as_list = list(texts)
    for number, text in enumerate(as_list):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InvalidArgument(f"{name}[{number}] has the type {kind}. Pass strings only.")
    return as_list
