"""Cache embeddings on disk, so that each text is encoded once for each model.

The cache is in ``$NESTVEC_CACHE``, or in ``nestvec/embeddings`` in the system's folder for caches.
Deleting all or part of it is always safe.

Each model configuration has its own folder. The configuration consists of the fingerprint,
full_dim, max_tokens, dtype and library versions. The key of a text is a hash of prompt, kind and
text. The kind is included because models with two towers or task adapters encode queries and
documents differently, even with equal prompts. Two things are not included: the device, whose
effect is smaller than the difference between two runs, and remote code in another repository,
which runs only with ``trust_remote_code``.

Static models and precomputed vectors are not cached: they are faster than a disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from nestvec.errors import ModelError
from nestvec.files.mapped import new_embeddings
from nestvec.models.base import BaseEncoder
from nestvec.models.encoding import TIMED, encode_each
from nestvec.models.vector_store import VectorStore, read_numbers, write_numbers
from nestvec.types import Embeddings, Encoder, Kind, ModelInfo, OnProgress

CHUNK = 1024  # texts between two writes; a killed process loses at most this many

_NS_PER_MS = 1_000_000

Settings = Mapping[str, str]


class EncodedRows(NamedTuple):
    """The vectors of some of the texts that are encoded.

    Attributes:
        rows: Positions of the texts, [n].
        vectors: float32 [n, full_dim].
    """

    rows: list[int]
    vectors: Embeddings


class ConfiguredEncoder(Encoder, Protocol):
    """An encoder with the settings that affect its vectors."""

    @property
    def settings(self) -> Settings:
        """Settings that affect vectors and are not in ``info``: dtype, library versions."""
        ...


class CachedEncoder(BaseEncoder):
    """An encoder that caches the embeddings of another encoder.

    Attributes:
        uncached: The other encoder.
    """

    def __init__(
        self, model: ConfiguredEncoder, folder: Path, *, device: str | None = None
    ) -> None:
        """Create a cache for a model.

        Args:
            model: The encoder.
            folder: Folder of the caches of all models, such as ``default_cache_folder()``.
            device: The device that the model runs on, if the caller chose one. Each device has
                its own encoding time.
        """
        self._device = device
        self.uncached: Encoder = model
        self._folder = folder / model_key(model.info, model.settings)
        self._store = VectorStore(self._folder, model.info.full_dim)

    @property
    def info(self) -> ModelInfo:
        """Information about the model."""
        return self.uncached.info

    def _encode(
        self, texts: Sequence[str], *, kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        """Encode the texts that are not in the cache, each once; read the others.

        Returns:
            float32 [n, full_dim]; above 1 GiB, mapped from a temporary file in the cache folder.

        Raises:
            ModelError: If the model returns another shape.
            DataError: If the cache cannot be written.
        """
        keys = self._keys(texts, kind)
        embeddings = new_embeddings(len(texts), self.info.full_dim, folder=self._folder)
        missing: dict[bytes, list[int]] = defaultdict(list)
        for row in self._store.fill(keys, embeddings):
            missing[keys[row]].append(row)
        done = len(texts) - sum(map(len, missing.values()))
        report = on_progress or _ignore
        if done:
            report(done, len(texts))
        unseen = list(missing)

        def within(done_in_batch: int, n_batch: int) -> None:
            if done_in_batch < n_batch:
                report(done + done_in_batch, len(texts))

        new = [texts[missing[key][0]] for key in unseen]
        for rows, vectors in self._batches(new, kind, within if on_progress else None):
            batch = [unseen[row] for row in rows]
            if np.isfinite(vectors).all():  # callers report vectors that are not finite
                self._add(batch, vectors)
            for key, vector in zip(batch, vectors, strict=True):
                embeddings[missing[key]] = vector
                done += len(missing[key])
            report(done, len(texts))
        return embeddings

    def count_truncated(self, texts: Sequence[str], *, kind: Kind) -> int:
        """Count the texts that are longer than the model's maximum length.

        The count of the same texts is cached, so that no tokenizer is loaded for it.
        """
        if self.info.max_tokens is None or not texts:
            return 0
        digest = hashlib.sha256(b"".join(self._keys(texts, kind))).hexdigest()
        file = self._folder / f"{digest}.cut.json"
        stored = read_numbers(file, ("cut", "texts"))
        known = None if stored is None or stored["texts"] != len(texts) else stored["cut"]
        if known is not None and 0 <= known <= len(texts):
            return known
        truncated = self.uncached.count_truncated(texts, kind=kind)
        write_numbers(file, {"cut": truncated, "texts": len(texts)})
        return truncated

    def encode_ms(self, texts: Sequence[str], *, kind: Kind) -> float:
        """Return the milliseconds for encoding one text without the cache.

        The time is measured once for each machine and kind, and stored.
        """
        measured_on = f"{platform.node()} {kind}{f' {self._device}' if self._device else ''}"
        name = hashlib.sha256(measured_on.encode()).hexdigest()
        file = self._folder / f"{name}.time.json"
        stored = (read_numbers(file, ("nanoseconds",)) or {}).get("nanoseconds")
        if stored is not None and stored > 0:
            return stored / _NS_PER_MS
        milliseconds = self._measure_ms(texts, kind)
        write_numbers(file, {"nanoseconds": round(milliseconds * _NS_PER_MS)})
        return milliseconds

    def missing(self, texts: Sequence[str], *, kind: Kind) -> list[str]:
        """Return the texts that are not in the cache, each once."""
        unique = list(dict.fromkeys(texts))
        return [unique[row] for row in self._store.unknown(self._keys(unique, kind))]

    def _add(self, keys: Sequence[bytes], vectors: Embeddings) -> None:
        self._store.add(keys, vectors)

    def _measure_ms(self, texts: Sequence[str], kind: Kind) -> float:
        return encode_each(
            min(TIMED, len(texts)), lambda rows: self.uncached.encode(texts[rows], kind=kind)
        )[1]

    def _keys(self, texts: Sequence[str], kind: Kind) -> list[bytes]:
        prompt = self.info.prompts[kind]
        # The length of the prompt makes the hashed bytes unambiguous.
        before = hashlib.sha256(f"{kind} {len(prompt)} {prompt}".encode())
        keys = []
        for text in texts:
            key = before.copy()
            key.update(text.encode(errors="surrogatepass"))
            keys.append(key.digest())
        return keys

    def _batches(
        self, texts: Sequence[str], kind: Kind, on_progress: OnProgress | None
    ) -> Iterator[EncodedRows]:
        """Yield the vectors of all texts in batches; each batch is stored before the next one."""
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            vectors = self._compute(chunk, kind, on_progress)
            yield EncodedRows(list(range(start, start + len(chunk))), vectors)

    def _compute(
        self, texts: Sequence[str], kind: Kind, on_progress: OnProgress | None
    ) -> Embeddings:
        found = self.uncached.encode(texts, kind=kind, on_progress=on_progress)
        vectors = np.asarray(found, dtype=np.float32)
        expected = (len(texts), self.info.full_dim)
        if vectors.shape != expected:
            shape = f"{list(vectors.shape)}, not {list(expected)}"
            raise ModelError(f"{self.info.name}: returned embeddings of shape {shape}.")
        return vectors


def _ignore(done: int, total: int) -> None:
    """Report no progress."""


def model_key(info: ModelInfo, settings: Settings) -> str:
    """Return the folder name of a model configuration: a sha256 of all that affects vectors."""
    parts = [info.fingerprint, info.full_dim, info.max_tokens, dict(settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def default_cache_folder() -> Path:
    """Return ``$NESTVEC_CACHE``, or the default folder in the system's folder for caches."""
    named = os.environ.get("NESTVEC_CACHE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    else:
        place = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(place) / "nestvec" / "embeddings"
