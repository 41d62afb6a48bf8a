"""Load a model only when a text must be encoded.

If all texts are in the embedding cache, PyTorch is not imported. The model's full_dim and
max_tokens are stored in the cache when the model is first loaded. Their key is a hash of the
model's files and the library versions.
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
    """An encoder that loads its model on first use; ``info`` does not load it."""

    def __init__(
        self, info: ModelInfo, settings: Settings, load: Callable[[], Encoder], known_from: Path
    ) -> None:
        """Store how to load the model.

        Args:
            info: The expected info of the model.
            settings: The settings that affect its vectors.
            load: Loads the model.
            known_from: The cache file that ``info`` is based on, for an error message.
        """
        self._info = info
        self._settings = settings
        self._load = load
        self._known_from = known_from

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self._info

    @property
    def settings(self) -> Settings:
        """Settings that affect vectors and are not in ``info``."""
        return self._settings

    @cached_property
    def _model(self) -> Encoder:
        model = self._load()
        if model.info != self._info:
            problem = f"contradicts the model {self._info.name}"
            raise DamagedFile(self._known_from, f"{problem}. Delete this file and run again.")
        return model

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode texts, float32 [n, full_dim], neither normalized nor truncated."""
        return self._model.encode(texts, kind=kind, on_progress=on_progress)

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length."""
        return self._model.count_truncated(texts, kind=kind)


def load_cached(
    folder: Path,
    options: ModelOptions,
    settings: Settings,
    load: Callable[[], ConfiguredEncoder],
    *,
    cache: Path,
    device: str | None = None,
) -> CachedEncoder:
    """Return a cached encoder for a model folder; the model is loaded now only if it is new.

    Args:
        folder: The model folder.
        options: What the user sets for the model.
        settings: The settings of the model that affect its vectors.
        load: Loads the model.
        cache: Folder of the caches of all models.
        device: The device that the model runs on, if the caller chose one.

    Raises:
        InvalidArgument: If a requested dim is larger than full_dim.
        ModelError: If the model cannot be described or loaded.
        DataError: If the cache cannot be written.
    """
    # Earlier versions stored truncate_dim as full_dim; another key makes their files unused.
    files = fingerprint_folder(folder, {}).files
    parts = json.dumps([files, dict(settings), "full width"], sort_keys=True)
    file = cache / f"{hashlib.sha256(parts.encode()).hexdigest()}.model.json"
    numbers = read_numbers(file, _NUMBERS)
    if numbers is None or numbers["full_dim"] is None:
        model = load()
        write_numbers(file, {"full_dim": model.info.full_dim, "max_tokens": model.info.max_tokens})
        return CachedEncoder(model, cache, device=device)
    info = describe(folder, options, full_dim=numbers["full_dim"], max_tokens=numbers["max_tokens"])
    info = replace(info, dtype=settings["dtype"])
    return CachedEncoder(LazyEncoder(info, settings, load, file), cache, device=device)
