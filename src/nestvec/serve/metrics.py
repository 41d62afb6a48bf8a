"""What a server has done, as Prometheus reads it. No text and no id ever stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from nestvec.serve.serving import Serving

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "nestvec_requests", "Requests answered.", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "nestvec_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self._batch = Histogram(
            "nestvec_batch_items", "Texts encoded together.", buckets=_ITEMS, registry=own
        )
        self._encoding = Histogram(
            "nestvec_batch_seconds", "Time to encode a batch.", buckets=_SECONDS, registry=own
        )
        self._tokens = Counter("nestvec_tokens", "Tokens of answered requests.", registry=own)

    def watch(self, serving: Serving) -> None:
        """Read from a server's parts what they count themselves."""
        gauges = {
            "nestvec_searches_running": ("Searches running or waiting.", _searches),
            "nestvec_documents": ("Documents in the index.", _documents),
            "nestvec_queued_items": ("Texts waiting or being encoded.", _waiting),
            "nestvec_cached_vectors": ("Vectors kept.", _cached),
            "nestvec_cache_hits": ("Vectors that were known.", _hits),
            "nestvec_cache_misses": ("Vectors that were not.", _misses),
        }
        for name, (words, value) in gauges.items():
            gauge = Gauge(name, words, registry=self._registry)
            gauge.set_function(lambda value=value: value(serving))  # type: ignore[misc]

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def on_tokens(self, n: int) -> None:
        """Count tokens."""
        self._tokens.inc(n)

    def on_batch(self, items: int, seconds: float) -> None:
        """Count a batch of texts that was encoded."""
        self._batch.observe(items)
        self._encoding.observe(seconds)

    def text(self) -> bytes:
        """Write all of it in Prometheus's text form."""
        return generate_latest(self._registry)


def _searches(serving: Serving) -> float:
    return serving.searches.running


def _documents(serving: Serving) -> float:
    return 0 if serving.served.index is None else len(serving.served.index)


def _waiting(serving: Serving) -> float:
    return 0 if serving.encoder is None else serving.encoder.waiting.n


def _cached(serving: Serving) -> float:
    return 0 if serving.encoder is None else len(serving.encoder.cache)


def _hits(serving: Serving) -> float:
    return 0 if serving.encoder is None else serving.encoder.cache.hits


def _misses(serving: Serving) -> float:
    return 0 if serving.encoder is None else serving.encoder.cache.misses
