"""Canaries: a few texts of an index, with the vectors that the model returned for these texts.

The manifest stores the canaries. If the model is later encoded with again, the cosines to these
vectors show whether the model still returns the same vectors. The vectors are those of the model,
before the index applies an adapter, a layer normalization or a precision.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings

MOST_TEXTS = 32
MOST_BYTES = 60_000
"""Largest size of the canaries in a manifest. Databases read their manifest every few seconds."""
_Packed = Literal["float32", "float16"]


@dataclass(frozen=True)
class CanarySummary:
    """What ``nestvec index stats`` prints about canaries.

    Attributes:
        texts: Number of texts.
        precision: The precision of the stored vectors.
        recorded_at: When the vectors were recorded, ISO 8601, UTC.
    """

    texts: int
    precision: str
    recorded_at: str


@dataclass(frozen=True)
class Canaries:
    """Texts and their vectors.

    Create canaries with ``Canaries.pack``.

    Attributes:
        texts: The texts, as the model encodes documents: title and text.
        precision: The precision of ``packed``: float32 if everything fits into ``MOST_BYTES``,
            else float16, which changes a cosine by less than 1e-6.
        packed: The vectors, [n, full_dim], as base64 of little-endian numbers.
        recorded_at: When the vectors were recorded, ISO 8601, UTC.
    """

    texts: tuple[str, ...]
    precision: _Packed
    packed: str = field(repr=False)
    recorded_at: str

    @classmethod
    def pack(cls, texts: Sequence[str], embeddings: Embeddings) -> Canaries | None:
        """Store the first texts that fit into ``MOST_BYTES``.

        Args:
            texts: At least one text.
            embeddings: Their vectors, as the model returns them, [n, full_dim], none of them zero.

        Returns:
            The canaries, of at most ``MOST_TEXTS`` texts; None if no text fits.
        """
        own, full_dim = tuple(texts)[:MOST_TEXTS], embeddings.shape[1]
        precision: _Packed = "float32"
        if _fitting(own, full_dim * 4) < len(own):
            precision = "float16"
            own = own[: _fitting(own, full_dim * 2)]
        if not own:
            return None
        vectors = embeddings[: len(own)]
        # Values of a model can exceed the largest float16. Values of unit vectors cannot.
        scaled = vectors if precision == "float32" else _unit(vectors)
        numbers = np.ascontiguousarray(scaled, dtype=np.dtype(precision).newbyteorder("<"))
        packed = base64.b64encode(numbers.tobytes()).decode("ascii")
        return cls(own, precision, packed, datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def vectors(self) -> Embeddings:
        """The vectors, float32 [n, full_dim]; of unit length if the precision is float16."""
        numbers = np.frombuffer(
            base64.b64decode(self.packed), dtype=np.dtype(self.precision).newbyteorder("<")
        )
        return numbers.reshape(len(self.texts), -1).astype(np.float32)

    def cosines(self, embeddings: Embeddings) -> NDArray[np.float64]:
        """Return the cosine between each stored vector and another vector of its text, [n].

        Args:
            embeddings: The vectors that the model returns now, [n, full_dim].

        Raises:
            InvalidArgument: If the shape differs.
        """
        stored = self.vectors
        if embeddings.shape != stored.shape:
            given, expected = list(embeddings.shape), list(stored.shape)
            problem = f"the canaries have vectors of shape {expected}, not {given}."
            raise InvalidArgument(f"{problem} Pass one vector of full_dim for each text.")
        found: NDArray[np.float64] = np.einsum("nd,nd->n", _unit(stored), _unit(embeddings))
        return found

    @property
    def summary(self) -> CanarySummary:
        """The number of texts, and when they were recorded."""
        return CanarySummary(len(self.texts), self.precision, self.recorded_at)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a manifest."""
        return {
            "texts": list(self.texts),
            "precision": self.precision,
            "vectors": self.packed,
            "recorded_at": self.recorded_at,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Canaries:
        """Read the values of ``to_json``."""
        texts, packed = tuple(values["texts"]), values["vectors"]
        return cls(texts, values["precision"], packed, values["recorded_at"])


def _fitting(texts: Sequence[str], vector_bytes: int) -> int:
    """Return how many of the first texts fit into ``MOST_BYTES`` with their vectors."""
    sizes = [len(json.dumps(text)) + 2 + vector_bytes * 4 / 3 for text in texts]
    return int(np.count_nonzero(np.cumsum(sizes) <= MOST_BYTES))


def _unit(vectors: Embeddings) -> NDArray[np.float64]:
    """Return vectors of unit length; a zero vector remains zero."""
    values = vectors.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float64] = values / np.where(lengths > 0, lengths, 1.0)
    return unit
