"""What all routes share: what is served, how, and the threads that do the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nestvec.errors import InvalidArgument
from nestvec.index.index import Index
from nestvec.serve.embedder import Embedder
from nestvec.serve.errors import ApiError, refused
from nestvec.serve.metrics import Metrics
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.serve.threads import Threads

_OF_ENCODER = {
    "nestvec_queued_items": "Texts waiting or being encoded.",
    "nestvec_cached_vectors": "Vectors kept.",
    "nestvec_cache_hits": "Vectors that were known.",
    "nestvec_cache_misses": "Vectors that were not.",
}


@dataclass(frozen=True, eq=False)
class Serving:
    """A server's parts.

    Attributes:
        served: The model and the index.
        settings: How it behaves.
        metrics: What it has done.
        encoder: Turns texts into vectors; None where no model is served.
        searches: Threads that search and read documents.
        changes: The one thread that changes the index.
    """

    served: Served
    settings: Settings
    metrics: Metrics
    encoder: Embedder | None
    searches: Threads
    changes: Threads

    @classmethod
    def start(cls, served: Served, settings: Settings) -> Serving:
        """Start the threads, and take the index for writing where it is to be changed.

        Raises:
            InvalidArgument: If there is none to change.
            IndexLocked: If another process changes it.
        """
        if settings.writable:
            if served.index is None:
                raise InvalidArgument("--writable: there is no index to write to")
            served.index.lock()
        metrics = Metrics()
        limits = settings.limits
        encoder = None
        if served.model is not None:
            threads, on_batch = settings.encoders, metrics.on_batch
            encoder = Embedder(served.model, limits, threads=threads, on_batch=on_batch)
        serving = cls(
            served,
            settings,
            metrics,
            encoder,
            Threads("search", limit=limits.queued_searches),
            Threads("change", limit=limits.queued_searches, n=1),
        )
        serving._watch()
        return serving

    def _watch(self) -> None:
        """Let the metrics read what the parts count themselves."""
        watch, index, encoder = self.metrics.watch, self.served.index, self.encoder
        watch("nestvec_searches_running", "Searches running or waiting.", self._running)
        watch("nestvec_documents", "Documents in the index.", lambda: len(index) if index else 0)
        if encoder is None:
            for name, words in _OF_ENCODER.items():
                watch(name, words, lambda: 0)
            return
        cache = encoder.cache
        counts: tuple[Callable[[], float], ...] = (
            lambda: encoder.waiting.n,
            lambda: len(cache),
            lambda: cache.hits,
            lambda: cache.misses,
        )
        for (name, words), count in zip(_OF_ENCODER.items(), counts, strict=True):
            watch(name, words, count)

    def _running(self) -> float:
        return self.searches.running

    def close(self) -> None:
        """Finish what was taken, then close the index."""
        if self.encoder is not None:
            self.encoder.close()
        self.searches.close()
        self.changes.close()
        self.served.close()

    @property
    def embedder(self) -> Embedder:
        """The encoder.

        Raises:
            ApiError: 400 if no model is served.
        """
        if self.encoder is None:
            raise refused(
                "this server has vectors but no model that encodes texts: send an embedding, or "
                "serve the model's folder beside the index"
            )
        return self.encoder

    @property
    def index(self) -> Index:
        """The index.

        Raises:
            ApiError: 404 if none is served.
        """
        if self.served.index is None:
            raise ApiError(
                404, "this server has a model but no index: serve an index folder", code="no_index"
            )
        return self.served.index
