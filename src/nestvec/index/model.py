"""The model of an index: found also when both have moved, and behind an adapter if it has one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from nestvec.data.corpus import Corpus
from nestvec.engines.engine import Engine
from nestvec.engines.registry import engine_at
from nestvec.errors import ModelError, ModelMismatch
from nestvec.models.adapted import AdaptedEncoder, uncached
from nestvec.models.adapter import Adapter, adapted_info
from nestvec.models.encoding import encoded, encoded_batches
from nestvec.models.load import load_model
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.models.sentence_transformer import DTYPES, DType
from nestvec.types import Document, Embeddings, Encoder, Kind, ModelInfo, OnProgress

_logger = logging.getLogger(__name__)


def findable_anywhere(model: ModelInfo) -> ModelInfo:
    """Name a local model by its whole path, so that the index finds it from any folder."""
    folder = Path(model.name)
    return replace(model, name=str(folder.resolve())) if folder.exists() else model


def load_named(
    info: ModelInfo,
    place: str,
    *,
    dtype: DType | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    cache: Path | Literal[True] | None = None,
) -> Encoder:
    """Load the model that an index names; a folder that moved with the index is found next to it.

    Args:
        info: The model, as the index records it.
        place: The place of the index.
        dtype: What the model computes in; None for the dtype that the index records.
        device: As in ``load_model``.
        trust_remote_code: As in ``load_model``.
        cache: As in ``load_model``.

    Raises:
        ModelError: If the model is missing, or cannot be loaded.
        InvalidArgument: If the device is not available.
    """
    name = info.name
    if Path(name).is_absolute() and not Path(name).exists():
        moved = Path(place).resolve().parent / Path(name).name
        if not moved.exists():
            raise ModelError(f"{name}, the model of {place}, is not there: name it when opening")
        name = str(moved)
    return load_model(
        name,
        dtype=dtype or recorded_dtype(info),
        device=device,
        trust_remote_code=trust_remote_code,
        cache=cache,
    )


def load_for_index(
    name: str | None,
    place: str,
    *,
    dtype: DType | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    cache: Path | Literal[True] | None = None,
) -> Encoder:
    """Load the model of an index from where it is now.

    Args:
        name: A model folder or hub id; None for the model that the index names.
        place: The place of the index.
        dtype: What the model computes in; None for the dtype that the index records.
        device: As in ``load_model``.
        trust_remote_code: As in ``load_model``.
        cache: As in ``load_model``.

    Raises:
        DataError: If there is no index.
        ModelError: If there is no such model, or it cannot be loaded.
        InvalidArgument: If the device is not available.
    """
    info = engine_at(place).read_manifest(place).model
    options: Any = {"device": device, "trust_remote_code": trust_remote_code, "cache": cache}
    if name is None:
        return load_named(info, place, dtype=dtype, **options)
    return load_model(name, dtype=dtype or recorded_dtype(info), **options)


def recorded_dtype(info: ModelInfo) -> DType:
    """Return what a model computed in when an index was built: float32 where none is recorded."""
    return next((each for each in DTYPES if each == info.dtype), "float32")


def encoder_for(engine: Engine, model: Encoder) -> Encoder:
    """Return what gives vectors as an index holds them: its model, behind the adapter it may have.

    Args:
        engine: The index.
        model: Its model, behind that adapter or not.

    Returns:
        Such an encoder. Another model than the index's, and a folder of vectors, come back as they
        are: the index refuses the former, and transforms vectors that are given with the latter.

    Raises:
        DataError: If its adapter is missing.
    """
    plain = not (model.info.adapter or isinstance(model, PrecomputedVectors))
    adapter = engine.adapter
    if adapter is not None and plain:
        with suppress(ModelMismatch):
            return AdaptedEncoder(model, adapter)
    return model


class IndexModel:
    """Makes the vectors that an index holds: of texts, or of its model's own vectors.

    Behind an adapter, the model is one whose vectors are adapted already.
    """

    def __init__(
        self, engine: Engine, model: Encoder | None, *, cache: Path | Literal[True] | None = None
    ) -> None:
        """Join an index to its model; None loads the one that it was built with when needed.

        Args:
            engine: The index.
            model: Its model, or None.
            cache: As in ``load_model``, for a model that is loaded when needed.

        Raises:
            ModelMismatch: If the index holds another model's vectors.
            DataError: If its adapter is missing or another one.
        """
        self._engine, self._cache = engine, cache
        self._adapter: Adapter | None = None
        if model is None or not model.info.adapter:
            self._adapter = engine.adapter
        self._model = None if model is None else self._checked(model)

    @property
    def encoder(self) -> Encoder:
        """The model, loaded now if it was not yet; then what it gives is not adapted yet.

        Raises:
            ModelError: If the model that the index names is not there.
            ModelMismatch: If there is another one in its place.
        """
        if self._model is None:
            engine = self._engine
            self._model = self._checked(
                load_named(engine.manifest.model, engine.place, cache=self._cache)
            )
        return self._model

    def adapt(self, embeddings: Embeddings, kind: Kind) -> Embeddings:
        """Turn vectors of the model, [n, full_dim]; those of another width others will refuse."""
        full_dim = self._engine.manifest.model.full_dim
        fits = embeddings.ndim == 2 and embeddings.shape[1] == full_dim
        return self._adapter.apply(embeddings, kind) if self._adapter and fits else embeddings

    def queries(self, queries: list[str] | Embeddings) -> Embeddings:
        """Return the vectors to search with, of texts or of the model's vectors."""
        if isinstance(queries, list):
            # Not embed: precomputed vectors have none for a new text.
            queries = uncached(self.encoder).encode(queries, kind="query")
        return self.adapt(queries, "query")

    def documents(self, added: Mapping[str, Document]) -> Embeddings:
        """Encode documents."""
        return self.adapt(encoded(self.encoder, added), "document")

    def batches(
        self, added: Corpus, *, on_progress: OnProgress | None
    ) -> Iterator[tuple[dict[str, Document], Embeddings]]:
        """Yield documents, a batch at a time, and what is stored of them."""
        batches = encoded_batches(self.encoder, added, length=added.length, on_progress=on_progress)
        for batch, found in batches:
            yield batch, self.adapt(found, "document")

    def _checked(self, model: Encoder) -> Encoder:
        info = model.info
        if self._adapter is not None:
            with suppress(ModelMismatch):  # of another model: the index says whose vectors it holds
                info = adapted_info(info, self._adapter)
        self._check(info)
        return model

    def _check(self, info: ModelInfo) -> None:
        stored = self._engine.manifest.model
        if info.fingerprint != stored.fingerprint:
            raise ModelMismatch(
                f"{self._engine.place} holds vectors of {stored.identity}, not of {info.identity}: "
                "open it with the former, or re-embed it with the latter"
            )
        if info.dtype and stored.dtype and info.dtype != stored.dtype:
            _logger.warning(
                "%s was encoded in %s, and this model computes in %s: scores differ slightly; "
                "load the model with dtype %s",
                *(self._engine.place, stored.dtype, info.dtype, stored.dtype),
            )
