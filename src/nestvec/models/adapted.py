"""An encoder that applies an adapter to the embeddings of a model.

Use it to try an adapter, and for adapters that a plain model folder cannot represent. For use by
other tools, save the adapted model as a folder (``recipes.adapted_files``).
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
from nestvec.models.paired import PairedEncoder, stores_documents
from nestvec.models.transformer import TransformerEncoder
from nestvec.types import Embeddings, Encoder, Kind, OnProgress, TimedEncoder

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike


class AdaptedEncoder(BaseEncoder):
    """An encoder that transforms the vectors of a model with an adapter."""

    def __init__(self, base: ModelLike, adapter: Adapter) -> None:
        """Combine a model with an adapter.

        Raises:
            ModelMismatch: If the adapter was fitted for another model, or ``base`` is a folder of
                vectors, also with a query model.
        """
        base = as_encoder(base)
        if stores_documents(base):
            advice = "Transform them with `nestvec apply` and pass the new folder."
            if isinstance(base, PairedEncoder):
                advice = "Build an index of them, and adapt it with `nestvec index adapt`."
            raise ModelMismatch(f"{base.info.name} contains vectors, not a model. {advice}")
        self._info = adapted_info(base.info, adapter)
        self.base = base
        self.adapter = adapter

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode and transform texts, float32 [n, full_dim], not normalized."""
        found = self.base.encode(texts, kind=kind, on_progress=on_progress)
        return self.adapter.apply(np.asarray(found, dtype=np.float32), kind)

    def encode_counted(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
    ) -> tuple[Embeddings, int]:
        """Return the result of ``encode``, and the number of texts that are truncated."""
        found, truncated = encode_counted(self.base, texts, kind=kind, on_progress=on_progress)
        return self.adapter.apply(np.asarray(found, dtype=np.float32), kind), truncated

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float | None:
        """Return the stored time of the base model; the adapter adds a negligible time."""
        base = self.base
        return base.encode_ms(texts, kind=kind) if isinstance(base, TimedEncoder) else None

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        return self.base.count_truncated(texts, kind=kind)


def encode_counted(
    model: Encoder, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None = None
) -> tuple[Embeddings, int]:
    """Return embeddings [n, full_dim], and the number of texts that the model truncates.

    Transformers tokenize each text once for both.
    """
    if isinstance(model, AdaptedEncoder | TransformerEncoder):
        return model.encode_counted(texts, kind=kind, on_progress=on_progress)
    embeddings = model.encode(texts, kind=kind, on_progress=on_progress)
    return embeddings, model.count_truncated(texts, kind=kind)


def unadapted(model: Encoder) -> Encoder:
    """Return the encoder without its adapter, if it has one."""
    return model.base if isinstance(model, AdaptedEncoder) else model


def uncached(model: Encoder) -> Encoder:
    """Return the encoder without its embedding cache, if it has one."""
    if isinstance(model, AdaptedEncoder):
        return AdaptedEncoder(uncached(model.base), model.adapter)
    if isinstance(model, PairedEncoder):
        return PairedEncoder(*(uncached(model.by_kind[kind]) for kind in ("document", "query")))
    return model.uncached if isinstance(model, CachedEncoder) else model


def with_adapter(model: Encoder, adapter: Path | None) -> Encoder:
    """Combine a model with the adapter in a file; with None return the model unchanged.

    Raises:
        DataError: If the file does not contain an adapter.
        ModelMismatch: If the adapter was fitted for another model.
    """
    return model if adapter is None else AdaptedEncoder(model, load_adapter(adapter))
