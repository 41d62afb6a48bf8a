"""Measure an engine on temporary indexes, which are deleted afterwards.

The vectors of a corpus are loaded once for each stored precision that a point uses. Each point then
builds its own search structures, as ``Engine.use`` does for a deployed index.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from nestvec.codec.prefix import as_stored
from nestvec.engines.engine import Engine, Search
from nestvec.engines.filters.condition import Condition
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest, Settings, Stored, stored_for
from nestvec.engines.results import PointBytes
from nestvec.errors import NestvecError
from nestvec.types import Document, Embeddings, Hits, ModelInfo, OperatingPoint

BATCH = 2_000
"""Documents that are loaded at a time."""
_NO_DOCUMENT = Document("")


class ScratchIndex(Engine, Protocol):
    """An index that can delete itself."""

    def drop(self) -> None:
        """Delete the index and close the connection."""
        ...


class ScratchTrial:
    """The search of an engine over the vectors of a corpus, in temporary indexes."""

    def __init__(
        self,
        create: Callable[[Manifest, str], ScratchIndex],
        corpus: Representations,
        ids: Sequence[str],
        documents: Mapping[str, Document],
    ) -> None:
        """Prepare a trial, as ``Engine.trial`` does. Indexes are created when they are needed.

        Args:
            create: A function that creates an empty index from a manifest and the suffix of its
                name, which no other index has.
            corpus: As in ``Engine.trial``.
            ids: As in ``Engine.trial``.
            documents: As in ``Engine.trial``.
        """
        self._create = create
        self._corpus, self._ids, self._documents = corpus, ids, documents
        self._indexes: dict[Stored, ScratchIndex] = {}
        self._load_s: dict[Stored, float] = {}
        self._build_s: dict[OperatingPoint, float] = {}
        self._random = np.random.default_rng(0)

    def searcher(self, point: OperatingPoint) -> Search:
        """Return the engine's search by a point, whose search structures are built first."""
        index = self._using(point)

        def search(embeddings: Embeddings, k: int, where: Condition | None = None, /) -> Hits:
            return index.search(embeddings, k, where=where)

        return search

    def settings(self, point: OperatingPoint) -> Settings:
        """Return the settings of the search structures that were built for a point."""
        return self._using(point).manifest.settings

    def scanned_share(self, point: OperatingPoint) -> float:
        """Return 1: the engine searches the whole corpus."""
        return 1.0

    def cold_searcher(self, point: OperatingPoint) -> Search | None:
        """Return None: the caches of a database cannot be emptied from outside."""
        return None

    def bytes(self, point: OperatingPoint) -> PointBytes:
        """Return the bytes that the engine reports for the point."""
        return self._using(point).bytes()

    def build_s(self, point: OperatingPoint) -> float:
        """Return the seconds to build the search structures of a point."""
        self._using(point)
        return self._build_s[point]

    def load_s(self, point: OperatingPoint) -> float:
        """Return the seconds to load the vectors that the point searches."""
        self._using(point)
        return self._load_s[stored_for(point)]

    def lookup_ms(self, k: int) -> float:
        """Time one lookup of ``k`` documents by id."""
        if not self._ids or not self._indexes:
            return 0.0
        index = next(iter(self._indexes.values()))
        drawn = self._random.choice(len(self._ids), min(k, len(self._ids)), replace=False)
        start = time.perf_counter()
        index.get([self._ids[row] for row in drawn.tolist()])
        return (time.perf_counter() - start) * 1000

    def close(self) -> None:
        """Delete the temporary indexes."""
        for index in self._indexes.values():
            with suppress(NestvecError):  # the others are deleted all the same
                index.drop()
        self._indexes = {}

    def _using(self, point: OperatingPoint) -> ScratchIndex:
        """Return the loaded index that searches by a point."""
        stored = stored_for(point)
        if stored not in self._indexes:
            self._load(stored, point)
        index = self._indexes[stored]
        if point not in self._build_s or index.manifest.point != point:
            start = time.perf_counter()
            index.use(point)
            self._build_s.setdefault(point, time.perf_counter() - start)
        return index

    def _load(self, stored: Stored, point: OperatingPoint) -> None:
        full_dim = self._corpus.full_dim
        model = ModelInfo("vectors", "", full_dim, (full_dim,), "", True)
        index = self._create(Manifest(model, stored, point), f"_scratch_{secrets.token_hex(4)}")
        self._indexes[stored] = index
        start = time.perf_counter()
        for first in range(0, len(self._ids), BATCH):
            rows = slice(first, first + BATCH)
            vectors = as_stored(self._corpus.embeddings(rows), layer_norm=self._corpus.layer_norm)
            ids = self._ids[rows]
            batch = {id_: self._documents.get(id_, _NO_DOCUMENT) for id_ in ids}
            index.add(batch, vectors, build_codes=False)
        self._load_s[stored] = time.perf_counter() - start
