"""A model that is loaded only when it must compute.

Where every text is in the embedding cache, PyTorch is never imported. What must be known of the
model without it, its width and its longest text, is kept in the cache from the first time it was
loaded, under all of the model's files and the versions of the libraries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from nestvec.errors import DamagedFile
from nestvec.models.base import BaseEncoder
from nestvec.models.cache import CachedEncoder, ConfiguredEncoder, Settings
from nestvec.models.fingerprint import fingerprint_folder
from nestvec.models.info import ModelOptions, describe
from nestvec.models.vector_store import read_numbers, write_numbers
from nestvec.types import Embeddings, Encoder, Kind, ModelInfo, OnProgress

_NUMBERS = ("full_dim", "max_tokens")


class LazyEncoder(BaseEncoder):
    """Stands for a model, and loads it when it is first asked for more than its ``info``."""

    def __init__(
        self, info: ModelInfo, settings: Settings, load: Callable[[], Encoder], known_from: Path
    ) -> None:
        """Wait.

        Args:
            info: What ``load`` will say of the model.
            settings: What else decides its vectors.
            load: Loads it.
            known_from: The file that ``info`` rests on, to be named if it was wrong.
        """
        self._info = info
        self._settings = settings
        self._load = load
        self._known_from = known_from

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self._info

    @property
    def settings(self) -> Settings:
        """What else decides its vectors."""
        return self._settings

    @cached_property
    def _model(self) -> Encoder:
        model = self._load()
        if model.info != self._info:
            problem = f"says other things of {self._info.name} than the model itself"
            raise DamagedFile(self._known_from, f"{problem}: delete this file and start again")
        return model

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts as the model gives them, float32 [n, full_dim]."""
        return self._model.encode(texts, kind=kind, on_progress=on_progress)

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        return self._model.count_truncated(texts, kind=kind)


def cached(
    folder: Path,
    options: ModelOptions,
    settings: Settings,
    load: Callable[[], ConfiguredEncoder],
    *,
    cache: Path,
    device: str | None = None,
) -> CachedEncoder:
    """Put a cache before the model of a folder, which is loaded now only if it is new.

    Args:
        folder: The model's folder.
        options: What the user sets for the model.
        settings: What the model will say when it is loaded.
        load: Loads the model.
        cache: The folder of all models' caches.
        device: The device that the model runs on, if the caller chose one.

    Raises:
        InvalidArgument: If a width that is asked for is above the model's.
        ModelError: If the model cannot be described or loaded.
        DataError: If the cache cannot be written.
    """
    parts = json.dumps([fingerprint_folder(folder, {}), dict(settings)], sort_keys=True)
    file = cache / f"{hashlib.sha256(parts.encode()).hexdigest()}.model.json"
    numbers = read_numbers(file, _NUMBERS)
    if numbers is None or numbers["full_dim"] is None:
        model = load()
        write_numbers(file, {"full_dim": model.info.full_dim, "max_tokens": model.info.max_tokens})
        return CachedEncoder(model, cache, device=device)
    info = describe(folder, options, full_dim=numbers["full_dim"], max_tokens=numbers["max_tokens"])
    info = replace(info, dtype=settings["dtype"])
    return CachedEncoder(LazyEncoder(info, settings, load, file), cache, device=device)
