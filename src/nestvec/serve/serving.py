"""The state that all routes share: the served model and index, settings, metrics and threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nestvec.errors import InvalidArgument
from nestvec.index.index import Index
from nestvec.serve.embedder import Embedder
from nestvec.serve.errors import ApiError, bad_request
from nestvec.serve.metrics import Metrics
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.serve.shadow import Shadow
from nestvec.serve.threads import Threads
from nestvec.types import OperatingPoint

_OF_ENCODER = {
    "nestvec_queued_items": "Texts waiting or being encoded.",
    "nestvec_cached_vectors": "Vectors in the cache.",
    "nestvec_cache_hits": "Texts found in the cache.",
    "nestvec_cache_misses": "Texts not found in the cache.",
}


@dataclass(frozen=True, eq=False)
class Serving:
    """The shared state of a running server.

    Attributes:
        served: The model and the index.
        settings: The settings.
        metrics: The metrics.
        encoder: Encodes texts; None if no model is served.
        searches: Threads that search and read documents.
        changes: The single thread that changes the index.
        shadow: A second index that a share of the searches is sent to as well; None for none.
    """

    served: Served
    settings: Settings
    metrics: Metrics
    encoder: Embedder | None
    searches: Threads
    changes: Threads
    shadow: Shadow | None = None

    @classmethod
    def start(cls, served: Served, settings: Settings, shadow: Shadow | None = None) -> Serving:
        """Start the threads; lock the index if the server is writable.

        Raises:
            InvalidArgument: If the server is writable and there is no index, or the settings of
                token ids or the default dims do not fit the model.
            MissingExtra: If token ids should be decoded and tiktoken is not installed.
            IndexLocked: If another process has locked the index.
        """
        _check_default_dimensions(served, settings)
        if settings.writable:
            if served.index is None:
                raise InvalidArgument("--writable requires an index. Pass an index folder.")
            served.index.lock()
        metrics = Metrics()
        limits = settings.limits
        encoder = None
        if served.model is not None:
            encoder = Embedder(served.model, settings, on_batch=metrics.on_batch)
        elif settings.accept_token_ids or settings.decode_token_ids is not None:
            option = "--accept-token-ids" if settings.accept_token_ids else "--decode-token-ids"
            raise InvalidArgument(f"{option} requires a model that encodes texts. Pass one.")
        serving = cls(
            served,
            settings,
            metrics,
            encoder,
            Threads("search", limit=limits.queued_searches),
            Threads("change", limit=limits.queued_searches, n=1),
            shadow,
        )
        serving._watch()
        return serving

    def _watch(self) -> None:
        """Add gauges for the values that other objects count."""
        watch, index, encoder = self.metrics.watch, self.served.index, self.encoder
        watch("nestvec_searches_running", "Searches running or waiting.", self._running)
        watch("nestvec_documents", "Documents in the index.", lambda: len(index) if index else 0)
        if encoder is None:
            for name, help_text in _OF_ENCODER.items():
                watch(name, help_text, lambda: 0)
            return
        cache = encoder.cache
        counts: tuple[Callable[[], float], ...] = (
            lambda: encoder.waiting.n,
            lambda: len(cache),
            lambda: cache.hits,
            lambda: cache.misses,
        )
        for (name, help_text), count in zip(_OF_ENCODER.items(), counts, strict=True):
            watch(name, help_text, count)

    def default_dim(self, tier: str | None) -> int:
        """Return the dims of vectors in responses to requests that name no dims.

        A tier takes precedence over ``default_dimensions``, because the request names the tier.
        """
        if tier is not None:
            return max(stage.dim for stage in self.served.tiers[tier].stages)
        return self.settings.default_dimensions or self.served.info.full_dim

    def accepts_dim(self, dim: int) -> bool:
        """Return whether requests may name a dim of at most ``full_dim``."""
        settings = self.settings
        if settings.allow_any_dimension or dim == settings.default_dimensions:
            return True
        return self.served.info.is_trained_for(dim)

    @property
    def offers_any_point(self) -> bool:
        """Whether searches may use points of any dims and precision, without a change of the index.

        Some engines search only by points whose columns or codes ``nestvec index use`` has built.
        """
        return self.settings.allow_any_point and self.index.capabilities.any_point

    def _running(self) -> float:
        return self.searches.running

    def close(self) -> None:
        """Finish all accepted work except shadow reads, then close the index."""
        if self.shadow is not None:
            self.shadow.close()
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
            raise bad_request(
                "this server has no model that encodes texts. Send an embedding, or serve the "
                "model folder with the index."
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
                404, "this server has no index. Start it with an index folder.", code="no_index"
            )
        return self.served.index


def _check_default_dimensions(served: Served, settings: Settings) -> None:
    """Check that the served model can have the default dims.

    Dims of a tier, of the plan and of the index's point are accepted: they were chosen for this
    server.
    """
    dim, info = settings.default_dimensions, served.info
    if dim is None:
        return
    option = f"--default-dimensions {dim}"
    if not 1 <= dim <= info.full_dim:
        problem = f"{option} is not from 1 to full_dim={info.full_dim} of {served.name}."
        raise InvalidArgument(f"{problem} Choose {served.trained_dims_text}.")
    served.check_truncation(OperatingPoint.single(dim, "float32"))
    allowed = info.is_trained_for(dim) or dim in served.chosen_dims
    if not (allowed or settings.allow_any_dimension):
        raise InvalidArgument(
            f"{option} is not a trained width of {served.name}. Choose {served.trained_dims_text}, "
            "or pass --allow-any-dimension."
        )
