"""A model behind an adapter: it encodes as the model does, and turns what comes out.

For adapters that no plain model folder can hold, and for trying one out. A model that is to be
kept, or used by other tools, is better written as a folder (``adapted_files``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nestvec.errors import ModelMismatch
from nestvec.models.adapter import Adapter, adapted_info
from nestvec.models.adapter_file import load_adapter
from nestvec.models.base import BaseEncoder
from nestvec.models.cache import CachedEncoder
from nestvec.models.load import as_encoder
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Embeddings, Encoder, Kind, ModelInfo, OnProgress, TimedEncoder

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike


class AdaptedEncoder(BaseEncoder):
    """An encoder whose vectors have gone through an adapter."""

    def __init__(self, base: ModelLike, adapter: Adapter) -> None:
        """Put an adapter behind a model.

        Raises:
            ModelMismatch: If the adapter is for another model, or there is none but a folder of
                vectors, which is turned as a whole.
        """
        base = as_encoder(base)
        if isinstance(base, PrecomputedVectors):
            problem = "holds vectors: turn them all with `nestvec apply`"
            raise ModelMismatch(f"{base.info.name} {problem}, and name that folder")
        self._info = adapted_info(base.info, adapter)
        self.base = base
        self.adapter = adapter

    @property
    def info(self) -> ModelInfo:
        """What is known of the adapted model."""
        return self._info

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts and turn them, float32 [n, full_dim], not normalized."""
        found = self.base.encode(texts, kind=kind, on_progress=on_progress)
        return self.adapter.apply(np.asarray(found, dtype=np.float32), kind)

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float | None:
        """Return what its model remembers; one product with a matrix adds nothing to speak of."""
        base = self.base
        return base.encode_ms(texts, kind=kind) if isinstance(base, TimedEncoder) else None

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        return self.base.count_truncated(texts, kind=kind)


def unadapted(model: Encoder) -> Encoder:
    """Return what encodes, without the adapter that it may be behind."""
    return model.base if isinstance(model, AdaptedEncoder) else model


def uncached(model: Encoder) -> Encoder:
    """Return what computes, without an embedding cache: texts that come once need none."""
    if isinstance(model, AdaptedEncoder):
        return AdaptedEncoder(uncached(model.base), model.adapter)
    return model.uncached if isinstance(model, CachedEncoder) else model


def behind(model: Encoder, adapter: Path | None) -> Encoder:
    """Put the adapter of a file behind a model; None leaves the model as it is.

    Raises:
        DataError: If there is no adapter in the file.
        ModelMismatch: If it is for another model.
    """
    return model if adapter is None else AdaptedEncoder(model, load_adapter(adapter))
